"""Episodes: messages in, a decision, everything that follows from it in one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence

from local.durable.core import statuses
from local.durable.core.active import Active, ActiveSet
from local.durable.core.decision import Decider, Deciders, Decision
from local.durable.core.effects import Effects
from local.durable.core.events import (
    EXECUTION_STARTED,
    EXECUTION_TERMINATED,
    ORCHESTRATOR_COMPLETED,
    ORCHESTRATOR_STARTED,
    RESUMED,
    SUSPENDED,
    Event,
    Message,
)
from local.durable.core.kernel import Kernel
from local.durable.options import DurableOptions, Invocation

SLICE_SECONDS = 0.010  # the loop gets its turn, and what was written its commit, at least this often
THREAD_ABOVE_EVENTS = 400  # a replay of more events (about 13 ms) happens in a thread
REST_FACTOR = 1.5
WIDE_REST_SECONDS = 0.004  # a fan-out of thousands then has a tenth of the episodes, and each result is that much later
LONG_REST_SECONDS = 0.050  # results that have to wait longer than this are written down before
SLOW_SECONDS = 1.0  # an episode runs on the event loop: everything else waits for it


class Orchestrations:
    """Runs the episodes of all instances, one at a time for each."""

    def __init__(
        self,
        kernel: Kernel,
        deciders: Deciders,
        options: DurableOptions,
        effects: Callable[[Orchestrations], Effects],
    ) -> None:
        self.kernel, self._deciders, self._options = kernel, deciders, options
        self.active = ActiveSet(kernel.store, options.live_orchestrators)
        self._queue: deque[Active] = deque()
        self._pumping = False
        self._commit_seconds = 0.0
        self._effects = effects(self)
        self._threads: set[asyncio.Task[None]] = set()

    # -- messages

    def deliver(self, instance_id: str, message: Message) -> None:
        """A message to an orchestration. Its row, if it has one, is deleted when it is taken in, or has no taker."""
        active = self.active.get(instance_id)
        if active is None:
            if message.source == "inbox":
                with self.kernel.unit():
                    self.kernel.store.consume(-1, [message])
            return
        if message.source == "task" and active.held and message.execution == active.row.execution:
            message = self._keep(active, message)
        active.inbox.append(message)
        self.wake(active)

    def wake(self, active: Active) -> None:
        """Give it an episode if it can use one."""
        if active.queued or active.busy or active.rest is not None or not active.ready:
            return
        active.queued = True
        self._queue.append(active)
        if not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def clear(self) -> None:
        """Forget all that is in memory."""
        self._queue.clear()
        self.active.clear()

    async def stop(self) -> None:
        """Wait for replays in threads, and forget all."""
        await asyncio.gather(*self._threads, return_exceptions=True)
        self.clear()

    def _keep(self, active: Active, message: Message) -> Message:
        """A result that has to wait is written down at once: the activity does not run again after a crash."""
        with self.kernel.unit():
            row = self.kernel.store.add_inbox(active.row.id, message)
            active.pending -= self.kernel.store.consume(active.row.key, [message])
        return message._replace(source="inbox", row=row)

    # -- episodes

    def _pump(self) -> None:
        if not self._queue:  # cleared in between; the database may be closed by now
            self._pumping = False
            return
        until = time.perf_counter() + SLICE_SECONDS
        try:
            with self.kernel.unit():
                while self._queue and time.perf_counter() < until:
                    active = self._queue.popleft()
                    active.queued = False
                    if not active.gone:
                        self._episode(active)
        except Exception as error:  # noqa: BLE001 - a full disk, or a fault of ours: memory is ahead of the file now
            self._pumping = False
            self._report_fault(error)
            return
        self._pumping = bool(self._queue)
        if self._pumping:
            asyncio.get_running_loop().call_soon(self._pump)

    def _report_fault(self, error: Exception) -> None:
        if not isinstance(error, sqlite3.Error):  # of those the unit has told already
            self.kernel.log(f"the durable engine failed\n{traceback.format_exc()}")
            self.kernel.lost(error)

    def _episode(self, active: Active) -> None:
        taken, stale = active.take()
        now = self.kernel.now()
        # Rows of activities and timers of an execution before went with it; by now their numbers are another's.
        self.kernel.store.consume(active.row.key, [message for message in stale if message.source == "inbox"])
        if not active.ready and not taken:
            return
        first = taken[0].event.kind if taken else None
        if any(message.event.kind == EXECUTION_TERMINATED for message in taken):
            self._effects.terminate(active, taken, now)
        elif first in (SUSPENDED, RESUMED):
            self._effects.suspend(active, taken, now, suspended=first == SUSPENDED)
            self.wake(active)
        else:
            self._decide(active, taken, now)

    def _decide(self, active: Active, taken: list[Message], now: int) -> None:
        events = [Event(ORCHESTRATOR_STARTED, now)]
        if active.episode == 1:
            events.append(active.started or self.kernel.store.started(active.row.key))
        events.extend(message.event for message in taken)
        decider = active.decider
        if decider is None:
            history = self.kernel.store.history(active.row.key) if active.episode > 1 else []
            decider = active.decider = self._deciders.open(active.execution, history)
            if len(history) > THREAD_ABOVE_EVENTS:
                self._decide_in_thread(active, decider, taken, events)
                return
        began = time.perf_counter()
        decision = self._safely(decider, active, events)
        self._apply(active, decider, taken, events, decision, time.perf_counter() - began)

    def _decide_in_thread(self, active: Active, decider: Decider, taken: list[Message], events: list[Event]) -> None:
        active.busy = True
        generation = self.kernel.generation

        async def work() -> None:
            began = time.perf_counter()
            decision = await asyncio.to_thread(self._safely, decider, active, events)
            active.busy = False
            if generation != self.kernel.generation or active.gone:
                return
            try:
                with self.kernel.unit():
                    self._apply(active, decider, taken, events, decision, time.perf_counter() - began)
            except Exception as error:  # noqa: BLE001 - as in `_pump`
                self._report_fault(error)

        task = asyncio.get_running_loop().create_task(work())
        self._threads.add(task)
        task.add_done_callback(self._threads.discard)

    def _safely(self, decider: Decider, active: Active, events: Sequence[Event]) -> Decision:
        try:
            return decider.decide(events)
        except Exception as error:  # noqa: BLE001 - a fault of the engine must end one instance, not the loop
            self.kernel.log(f"orchestration {active.row.id}: the engine failed\n{traceback.format_exc()}")
            text = f'"the durable engine failed: {type(error).__name__} (see its log)"'
            return Decision([], statuses.FAILED, text)

    def _apply(
        self,
        active: Active,
        decider: Decider,
        taken: list[Message],
        events: list[Event],
        decision: Decision,
        seconds: float,
    ) -> None:
        counters = self.kernel.counters
        counters.episodes += 1
        counters.replayed_events += decision.replayed
        kept = [event for event in events if event.kind != EXECUTION_STARTED]
        completed = Event(ORCHESTRATOR_COMPLETED, self.kernel.now())
        going_on = self._effects.apply(active, taken, [*kept, *decision.effects, completed], decision)
        if going_on:
            decider.recorded([*decision.effects, completed])
            self.active.touch(active)
            if seconds > self._options.coalesce_after_seconds:
                self._rest(active, seconds * REST_FACTOR)
            elif active.wide:
                self._rest(active, self._wide_rest())
            elif active.inbox:
                self.wake(active)
        if seconds > SLOW_SECONDS:
            self.kernel.log(
                f"orchestrator {active.row.name} took {seconds:.1f} s for one episode of {active.row.id}: orchestrators must "
                "only decide, and leave work to activities"
            )
        if self._options.on_invocation is not None:
            failed = decision.output if decision.outcome == statuses.FAILED else None
            self._options.on_invocation(
                Invocation("orchestrator", active.row.name, active.row.id, seconds, failed, decision.replayed)
            )

    def _wide_rest(self) -> float:
        """A moment for results to gather. Where a commit takes long (the loop stands still meanwhile), a longer one."""
        began = time.perf_counter()
        self.kernel.after_commit(lambda: setattr(self, "_commit_seconds", time.perf_counter() - began))
        return min(max(WIDE_REST_SECONDS, 3 * self._commit_seconds), LONG_REST_SECONDS)

    def _rest(self, active: Active, seconds: float) -> None:
        def over() -> None:
            active.rest, active.long_rest = None, False
            if not active.gone:
                self.wake(active)

        active.long_rest = seconds > LONG_REST_SECONDS
        active.rest = asyncio.get_running_loop().call_later(seconds, over)
