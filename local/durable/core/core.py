"""The whole engine below its protocols: starting up, recovering, taking orders."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable

from local.durable.core import statuses
from local.durable.core.active import Active
from local.durable.core.activities import ActivityRunner, Job
from local.durable.core.decision import Deciders
from local.durable.core.effects import Effects
from local.durable.core.entities import BatchResult, Entities
from local.durable.core.events import GENERIC, TASK_SCHEDULED, Event, Message
from local.durable.core.ids import new_id
from local.durable.core.kernel import Kernel
from local.durable.core.orchestrations import Orchestrations
from local.durable.core.retention import Retention
from local.durable.core.rewind import rewound
from local.durable.core.store import InstanceRow
from local.durable.core.timers import Due, Timers
from local.durable.options import DurableOptions

RETRY_SECONDS = 1.0


class Refused(Exception):
    """An order that cannot be carried out in the instance's state; the text says why."""


class Core:
    """Orchestrations, activities, timers, entities and retention over one database."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        deciders: Deciders,
        call_activity: Callable[[Job], Awaitable[Event]],
        call_entity: Callable[[str, str | None, list[Event]], Awaitable[BatchResult]],
        options: DurableOptions,
    ) -> None:
        self.kernel = Kernel(connection, self._lost, options.log or (lambda _line: None))
        self.store = self.kernel.store
        self.deciders = deciders
        self._effects: Effects | None = None
        self.orchestrations = Orchestrations(self.kernel, deciders, options, self._make_effects)
        deliver = self.orchestrations.deliver
        self.timers = Timers(deliver, self.kernel.lost)
        self.activities = ActivityRunner(self.kernel, options.activity_concurrency, call_activity, deliver)
        self.entities = Entities(self.kernel, options.entity_batch, call_entity, deliver)
        self.retention = Retention(self.kernel, options.retention_seconds)
        self._recovery: asyncio.TimerHandle | None = None
        self.broken: str | None = None
        self.broken_since = 0.0

    @property
    def effects(self) -> Effects:
        """Beginnings, ends and their watchers."""
        assert self._effects is not None
        return self._effects

    def _make_effects(self, hub: Orchestrations) -> Effects:
        self._effects = Effects(
            self.kernel,
            hub,
            submit=lambda jobs: self.activities.submit(jobs),
            add_timer=lambda timer: self.timers.add(timer),
            forget_timers=lambda key: self.timers.forget(key),
            to_entity=lambda entity, event, execution: self.entities.send(entity, event, execution),
        )
        return self._effects

    # -- life

    def start(self) -> None:
        """Take up what the file holds."""
        self._recover()
        self.retention.start()

    async def stop(self) -> None:
        """Stop; what was decided is committed."""
        self.kernel.generation += 1  # what waits for a commit, or comes back from a function, does nothing more
        self.orchestrations.clear()  # no episode any more: what it asked for would begin when the file is closed
        if self._recovery is not None:
            self._recovery.cancel()
        await self.retention.stop()
        self.timers.clear()
        await self.activities.stop()
        await self.entities.stop()
        await self.orchestrations.stop()
        self.kernel.committer.flush()

    def _lost(self, error: Exception) -> None:
        """A commit failed: drop what is in memory, and read the file again after a while."""
        if self.broken is None:
            self.broken_since = time.monotonic()
            self.kernel.log(f"the durable engine could not write ({error}); it tries again every {RETRY_SECONDS:g} s")
        self.broken = f"{type(error).__name__}: {error}"
        self.timers.clear()
        self.activities.clear()
        self.entities.clear()
        self.orchestrations.clear()
        if self._recovery is None:
            self._recovery = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._try_again)

    def _try_again(self) -> None:
        self._recovery = None
        try:
            with self.kernel.unit() as connection:  # a write: reading alone would tell nothing about a full disk
                connection.execute("CREATE TABLE probe (x)")
                connection.execute("DROP TABLE probe")
            self.kernel.committer.flush()
            if self._recovery is None:
                self._recover()
                self.kernel.log("the durable engine writes again")
        except sqlite3.Error as error:
            self.kernel.lost(error)

    def _recover(self) -> None:
        self.broken = None
        store = self.store
        for instance_id in store.pending_instances():
            active = self.orchestrations.active.get(instance_id)
            if active is not None:
                self.orchestrations.wake(active)
        for target, message in store.pending_inbox():
            if target.startswith("@"):
                self.entities.enqueue(target, message)
            else:
                self.orchestrations.deliver(target, message)
        for timer in store.pending_timers():
            self.timers.add(Due(*timer))
        self.timers.start()
        self.activities.submit(self._pending_jobs())

    def _pending_jobs(self) -> list[Job]:
        wanted: dict[int, set[int]] = {}
        for key, task in self.store.pending_tasks():
            wanted.setdefault(key, set()).add(task)
        jobs: list[Job] = []
        for key, tasks in wanted.items():
            row = self.store.by_key(key)
            if row is not None and row.finished is None:
                scheduled = (e for e in self.store.scheduled(key) if e.kind == TASK_SCHEDULED and e.id in tasks)
                jobs.extend(Job(row.id, row.execution, event) for event in scheduled)
        return jobs

    # -- orders

    async def start_instance(
        self, name: str, instance_id: str | None, input_json: str | None, version: str | None = None
    ) -> str:
        """Start an orchestration; it is on disk when this returns. Its id: the one given, or a new one.

        Raises:
            Refused: an instance of that id is running.
        """
        chosen = instance_id or new_id()
        with self.kernel.unit():
            known = self.store.find(instance_id) if instance_id else None
            if known is not None:
                if known.finished is None:
                    raise Refused(
                        f"An Orchestration instance with the status {statuses.NAMES[known.status]} already exists."
                    )
                self.store.delete(known.key)
            self.effects.start(name, chosen, input_json, version)
        await self.kernel.committer.committed()
        return chosen

    async def send(self, instance_id: str, event: Event) -> bool:
        """A message to an unfinished instance; on disk when this returns. False: there is none."""
        active = self.orchestrations.active.get(instance_id)
        if active is None:
            return False
        with self.kernel.unit():
            row = self.store.add_inbox(instance_id, Message(event))
            self.orchestrations.deliver(instance_id, Message(event, None, "inbox", row))
        self.kernel.counters.actions += 1
        await self.kernel.committer.committed()
        return True

    async def signal_entity(self, entity_id: str, operation: Event) -> None:
        """An operation for an entity; on disk when this returns."""
        with self.kernel.unit():
            self.kernel.counters.actions += 1
            self.entities.send(entity_id, operation)
        await self.kernel.committer.committed()

    async def purge(self, keys: list[int]) -> int:
        """Forget finished instances; how many."""
        with self.kernel.unit():
            for key in keys:
                self.store.delete(key)
        self.kernel.counters.purged += len(keys)
        await self.kernel.committer.committed()
        return len(keys)

    async def rewind(self, instance_id: str, reason: str) -> None:
        """Let a failed orchestration, and the failed ones below it, do again what failed.

        Raises:
            Refused: it has not failed.
        """
        row = self.store.find(instance_id)
        if row is None or row.status != statuses.FAILED:
            raise Refused("The rewind operation is only supported on failed orchestration instances.")
        with self.kernel.unit():
            self._rewind(instance_id, reason)
        await self.kernel.committer.committed()

    def _rewind(self, instance_id: str, reason: str) -> None:
        row = self.store.find(instance_id)
        if row is None or row.status != statuses.FAILED:
            return
        history, children = rewound(self.store.history(row.key))
        now = self.kernel.now()
        self.store.delete_execution(row.key)
        started = history.pop(1)
        self.store.add_history(row.key, 0, started.at, [started])
        self.store.add_history(row.key, 1, now, history)
        row.status, row.finished, row.output, row.updated = statuses.RUNNING, None, None, now
        self.store.update(row)
        active = self.orchestrations.active.add(Active(row, 2))
        message = Message(Event(GENERIC, now, name="Rewind", data=reason))
        number = self.store.add_inbox(instance_id, message)
        active.inbox.append(message._replace(source="inbox", row=number))
        self.orchestrations.wake(active)
        for created in children:
            self._rewind_child(row, created, reason)

    def _rewind_child(self, parent: InstanceRow, created: Event, reason: str) -> None:
        """A child that failed is rewound; one that ended otherwise while nobody listened tells its end again."""
        child = self.store.find(created.ref or "")
        if child is not None and child.status == statuses.FAILED:
            self._rewind(child.id, reason)
        elif child is None or child.finished is not None:
            self.effects.tell(child, parent.id, parent.execution, created.id)
