"""What follows from an episode, written in one transaction, and set going once it is on disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Protocol

from local.durable.core import statuses
from local.durable.core.active import Active, ActiveSet
from local.durable.core.activities import Job
from local.durable.core.decision import Decision
from local.durable.core.events import (
    EVENT_SENT,
    EXECUTION_COMPLETED,
    EXECUTION_STARTED,
    EXECUTION_TERMINATED,
    ORCHESTRATOR_COMPLETED,
    ORCHESTRATOR_STARTED,
    SUB_COMPLETED,
    SUB_CREATED,
    SUB_FAILED,
    TASK_SCHEDULED,
    TIMER_CREATED,
    Event,
    Message,
)
from local.durable.core.ids import new_id
from local.durable.core.kernel import Kernel
from local.durable.core.store import InstanceRow
from local.durable.core.timers import Due


class Hub(Protocol):
    """Where effects go."""

    active: ActiveSet

    def deliver(self, instance_id: str, message: Message) -> None:
        """A message to an orchestration."""

    def wake(self, active: Active) -> None:
        """Give an instance an episode."""


class Effects:
    """Carries decisions out."""

    def __init__(
        self,
        kernel: Kernel,
        hub: Hub,
        submit: Callable[[list[Job]], None],
        add_timer: Callable[[Due], None],
        forget_timers: Callable[[int], None],
        to_entity: Callable[[str, Event, str | None], None],
    ) -> None:
        self._kernel, self._hub = kernel, hub
        self._submit, self._to_entity = submit, to_entity
        self._add_timer, self._forget_timers = add_timer, forget_timers
        self._watchers: dict[str, list[asyncio.Future[InstanceRow]]] = {}

    # -- beginnings

    def start(
        self,
        name: str,
        instance_id: str,
        input_json: str | None,
        version: str | None = None,
        parent: tuple[str, str, int] | None = None,
    ) -> Active:
        """A new instance (inside a unit). A finished one of the same id must be gone."""
        now = self._kernel.now()
        row = InstanceRow(0, instance_id, new_id(), name, version, statuses.PENDING, now, now)
        if parent is not None:
            row.parent_id, row.parent_execution, row.parent_task = parent
        started = Event(EXECUTION_STARTED, now, -1, name, input_json, row.execution, extra=version)
        self._kernel.store.create(row, started)
        self._kernel.counters.started += 1
        self._kernel.counters.actions += 1
        active = self._hub.active.add(Active(row, 1, started, pending=0))
        self._hub.wake(active)
        return active

    def _start_child(self, parent: Active, created: Event) -> None:
        child_id = created.ref or ""
        known = self._kernel.store.find(child_id)
        if known is not None and known.finished is None:
            reason = f"An Orchestration instance with the status {statuses.NAMES[known.status]} already exists."
            self._send(
                parent.row.id, parent.row.execution, Event(SUB_FAILED, created.at, created.id, ref=reason, data="")
            )
            return
        if known is not None:
            self._kernel.store.delete(known.key)
        back = (parent.row.id, parent.row.execution, created.id)
        self.start(created.name or "", child_id, created.data, created.extra, back)

    # -- episodes

    def apply(self, active: Active, taken: list[Message], history: list[Event], decision: Decision) -> bool:
        """Write an episode and its consequences (inside a unit, as all here); whether the instance still waits for something with this decider."""
        row, store = active.row, self._kernel.store
        now = history[-1].at
        active.pending -= store.consume(row.key, taken)
        active.started = None
        self._schedule(active, decision)
        if decision.outcome is None:
            self._write(active, history)
            if row.status != statuses.RUNNING or row.custom_status != decision.custom_status:
                row.status, row.custom_status = statuses.RUNNING, decision.custom_status
                row.updated = now
                store.update(row)
            row.updated = now
            return True
        row.custom_status = decision.custom_status
        if decision.outcome == statuses.CONTINUED_AS_NEW:
            self._continue_as_new(active, decision.output, now)
        else:
            self._finish(active, history, decision.outcome, decision.output, now)
        return False

    def terminate(self, active: Active, taken: list[Message], now: int) -> None:
        """End an instance from outside; what was taken with the order is lost, as in the extension."""
        order = next(message.event for message in taken if message.event.kind == EXECUTION_TERMINATED)
        history = [Event(ORCHESTRATOR_STARTED, now), order, Event(ORCHESTRATOR_COMPLETED, now)]
        active.pending -= self._kernel.store.consume(active.row.key, taken)
        self._finish(active, history, statuses.TERMINATED, order.data, now)

    def suspend(self, active: Active, taken: list[Message], now: int, *, suspended: bool) -> None:
        """Suspend or resume; no user code runs."""
        row = active.row
        history = [Event(ORCHESTRATOR_STARTED, now), taken[0].event, Event(ORCHESTRATOR_COMPLETED, now)]
        active.forget_decider()  # the pause stands in the history: the next episode replays over it
        self._kernel.store.consume(row.key, taken)
        self._write(active, history)
        row.status = statuses.SUSPENDED if suspended else statuses.RUNNING
        row.updated = now
        self._kernel.store.update(row)

    def watch(self, instance_id: str) -> asyncio.Future[InstanceRow]:
        """The instance, once it has finished, on disk."""
        future: asyncio.Future[InstanceRow] = asyncio.get_running_loop().create_future()
        self._watchers.setdefault(instance_id, []).append(future)
        return future

    def unwatch(self, instance_id: str, future: asyncio.Future[InstanceRow]) -> None:
        """Wait no more."""
        waiting = self._watchers.get(instance_id, [])
        if future in waiting:
            waiting.remove(future)
        if not waiting:
            self._watchers.pop(instance_id, None)

    def _schedule(self, active: Active, decision: Decision) -> None:
        key, row = active.row.key, active.row
        tasks: list[Event] = []
        timers: list[Event] = []
        for event in decision.effects:
            if event.kind == TASK_SCHEDULED:
                tasks.append(event)
            elif event.kind == TIMER_CREATED:
                timers.append(event)
            elif event.kind == SUB_CREATED:
                self._start_child(active, event)
            elif event.kind == EVENT_SENT:
                self._kernel.counters.actions += 1
                self._to_entity(event.ref or "", event, row.execution)
        active.pending += len(tasks) + len(timers)
        if tasks:
            self._kernel.counters.actions += 2 * len(tasks)
            self._kernel.store.add_tasks(key, tasks)
            jobs = [Job(row.id, row.execution, task) for task in tasks]
            self._kernel.after_commit(lambda: self._submit(jobs))
        if timers:
            self._kernel.counters.actions += len(timers)
            self._kernel.store.add_timers(key, timers)
            for timer in timers:
                self._add_timer(Due(timer.due or 0, key, timer.id, row.id, row.execution))

    def _write(self, active: Active, history: list[Event]) -> None:
        size = self._kernel.store.add_history(active.row.key, active.episode, history[-1].at, history)
        active.episode += 1
        self._kernel.counters.history_events += len(history)
        self._kernel.counters.history_bytes += size

    def _finish(self, active: Active, history: list[Event], status: int, output: str | None, now: int) -> None:
        row, store = active.row, self._kernel.store
        history.insert(-1, Event(EXECUTION_COMPLETED, now, status, data=output))
        self._write(active, history)
        row.status, row.output, row.updated, row.finished = status, output, now, now
        store.update(row)
        if active.pending:
            store.delete_pending(row.key)
            self._forget_timers(row.key)
        for message in active.inbox:
            if message.source == "inbox":
                store.consume(row.key, [message])
        self._hub.active.remove(active)
        self._kernel.counters.completed += 1
        if row.parent_id is not None and row.parent_task is not None:
            self.tell(row, row.parent_id, row.parent_execution, row.parent_task)
        watchers = self._watchers.pop(row.id, None)
        if watchers:
            self._kernel.after_commit(lambda: _done(watchers, row))

    def tell(self, child: InstanceRow | None, parent_id: str, execution: str | None, task: int) -> None:
        """Tell a parent how its child ended (inside a unit); None: it is not there any more."""
        now = self._kernel.now()
        if child is not None and child.status == statuses.COMPLETED:
            event = Event(SUB_COMPLETED, now, task, data=child.output)
        else:
            reason = "the child has been purged" if child is None else _reason(child)
            event = Event(SUB_FAILED, now, task, ref=reason, data="")
        self._send(parent_id, execution, event)

    def _send(self, target: str, execution: str | None, event: Event) -> None:
        message = Message(event, execution)
        row = self._kernel.store.add_inbox(target, message)
        self._hub.deliver(target, message._replace(source="inbox", row=row))

    def _continue_as_new(self, active: Active, input_json: str | None, now: int) -> None:
        row, store = active.row, self._kernel.store
        store.delete_execution(row.key)
        row.execution, row.status, row.updated = new_id(), statuses.RUNNING, now
        store.update(row)
        started = Event(EXECUTION_STARTED, now, -1, row.name, input_json, row.execution, extra=row.version)
        store.add_history(row.key, 0, now, [started])
        active.episode, active.started, active.pending = 1, started, 0
        active.forget_decider()
        self._kernel.counters.actions += 1
        self._hub.wake(active)


def _reason(row: InstanceRow) -> str:
    try:
        text = json.loads(row.output or "null")
    except ValueError:
        text = row.output
    return text if isinstance(text, str) else (row.output or "")


def _done(watchers: list[asyncio.Future[InstanceRow]], row: InstanceRow) -> None:
    for future in watchers:
        if not future.done():
            future.set_result(row)
