"""The activity runner: so many at once, each at least once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from local.durable.core.events import Event, Message
from local.durable.core.kernel import Kernel


class Job(NamedTuple):
    """An activity to run: `task` is the TaskScheduled event."""

    instance_id: str
    execution: str
    task: Event


class ActivityRunner:
    """Runs jobs whose rows are on disk, and delivers what came of them.

    A job's row is deleted with the episode that takes its result in, so a process that dies in between runs it again.
    """

    def __init__(
        self,
        kernel: Kernel,
        concurrency: int,
        call: Callable[[Job], Awaitable[Event]],
        deliver: Callable[[str, Message], None],
    ) -> None:
        self._kernel, self._concurrency, self._call, self._deliver = kernel, concurrency, call, deliver
        self._queue: deque[Job] = deque()
        self._workers: set[asyncio.Task[None]] = set()

    def submit(self, jobs: list[Job]) -> None:
        """Run these, in this order as far as there are workers."""
        self._queue.extend(jobs)
        for _ in range(min(len(jobs), self._concurrency - len(self._workers))):
            worker = asyncio.create_task(self._work(self._kernel.generation))
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    @property
    def waiting(self) -> int:
        """Jobs without a worker."""
        return len(self._queue)

    def clear(self) -> None:
        """Forget what waits; what runs comes to nothing."""
        self._queue.clear()
        for worker in self._workers:
            worker.cancel()

    async def stop(self) -> None:
        """Abandon everything, and wait until nothing runs."""
        workers = list(self._workers)
        self.clear()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, generation: int) -> None:
        while self._queue and generation == self._kernel.generation:
            job = self._queue.popleft()
            event = await self._call(job)
            if generation != self._kernel.generation:
                return
            self._kernel.counters.activities += 1
            try:
                self._deliver(job.instance_id, Message(event, job.execution, "task", job.task.id))
            except sqlite3.Error as error:  # the result is lost; its row is not, so it runs again
                self._kernel.lost(error)
                return
