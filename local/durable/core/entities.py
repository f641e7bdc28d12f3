"""Entities: operations in the order they came, a batch at a time for each entity."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from local.durable.core.events import Event, Message
from local.durable.core.kernel import Kernel


class Reply(NamedTuple):
    """An answer to an orchestration that called an entity."""

    instance_id: str
    execution: str | None
    event: Event


class BatchResult(NamedTuple):
    """What a batch came to. `state` is the JSON text of the new state; None: the entity does not exist (any more)."""

    state: str | None
    replies: list[Reply]


class Entities:
    """Keeps the queues of entity operations and runs their batches.

    A batch's state, replies and consumed operations are one transaction: an entity's state changes exactly once, though
    its code may run again after a crash.
    """

    def __init__(
        self,
        kernel: Kernel,
        batch: int,
        call: Callable[[str, str | None, list[Event]], Awaitable[BatchResult]],
        deliver: Callable[[str, Message], None],
    ) -> None:
        self._kernel, self._batch, self._call, self._deliver = kernel, batch, call, deliver
        self._queues: dict[str, deque[Message]] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    def send(self, entity_id: str, operation: Event, execution: str | None = None) -> None:
        """An operation for an entity (inside a unit)."""
        del execution  # the request names its sender
        message = Message(operation)
        row = self._kernel.store.add_inbox(entity_id, message)
        message = message._replace(source="inbox", row=row)
        self._kernel.after_commit(lambda: self.enqueue(entity_id, message))

    def enqueue(self, entity_id: str, message: Message) -> None:
        """An operation that is on disk."""
        self._queues.setdefault(entity_id, deque()).append(message)
        if entity_id not in self._running:
            task = asyncio.get_running_loop().create_task(self._run(entity_id, self._kernel.generation))
            self._running[entity_id] = task

    def clear(self) -> None:
        """Forget what waits; what runs comes to nothing."""
        self._queues.clear()
        for task in self._running.values():
            task.cancel()
        self._running.clear()

    async def stop(self) -> None:
        """Abandon everything, and wait until nothing runs."""
        tasks = list(self._running.values())
        self.clear()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, entity_id: str, generation: int) -> None:
        try:
            await self._batches(entity_id, generation)
        except sqlite3.Error as error:
            if generation == self._kernel.generation:  # nobody has told yet
                self._kernel.lost(error)

    async def _batches(self, entity_id: str, generation: int) -> None:
        while queue := self._queues.get(entity_id):
            batch = [queue.popleft() for _ in range(min(len(queue), self._batch))]
            state = self._kernel.store.entity(entity_id)
            result = await self._call(entity_id, state, [message.event for message in batch])
            if generation != self._kernel.generation:
                return
            with self._kernel.unit():
                self._kernel.store.save_entity(entity_id, result.state, self._kernel.now())
                self._kernel.store.consume(-1, batch)
                for reply in result.replies:
                    message = Message(reply.event, reply.execution)
                    row = self._kernel.store.add_inbox(reply.instance_id, message)
                    self._deliver(reply.instance_id, message._replace(source="inbox", row=row))
            self._kernel.counters.entity_operations += len(batch)
            # The next batch starts from this state: it must not run on one that could still be lost.
            await self._kernel.committer.committed()
        self._queues.pop(entity_id, None)
        self._running.pop(entity_id, None)
