"""Creating, changing and deleting queues while links are open on them."""

from __future__ import annotations

import asyncio

from local.servicebus.amqp.performatives import AmqpError
from local.servicebus.broker import Broker
from local.servicebus.entities import FOREVER_MS, QUEUE_LIMIT, QueueProperties
from local.servicebus.queue import Queue
from local.servicebus.sas import segments
from local.servicebus.server import Server

IDLE_CHECK_SECONDS = 1.0


class Conflict(Exception):
    """The entity exists already, or there is no room for it."""


class Provisioner:
    """What the management API does to the broker."""

    def __init__(self, broker: Broker, server: Server) -> None:
        self.broker, self.server = broker, server
        self.started_at = broker.clock.ms()

    async def create(self, name: str, properties: QueueProperties) -> Queue:
        """A new queue, on disk when this returns.

        Raises:
            Conflict: it exists, or the namespace is full.
        """
        broker = self.broker
        if segments(name) in broker.queues:
            raise Conflict(f"'{name}' exists already")
        if len(broker.queues) >= QUEUE_LIMIT:
            raise Conflict(f"the namespace has {QUEUE_LIMIT} queues already")
        queue = Queue(0, name, properties)
        queue.created_at = queue.updated_at = queue.accessed_at = broker.clock.ms()
        broker.store.insert_queue(queue)
        broker.adopt(queue)
        await self._written()
        return queue

    async def update(self, queue: Queue, properties: QueueProperties) -> None:
        """New properties, from now on. A disabled queue lets go of its links."""
        queue.properties = properties
        assert queue.dead_letter is not None
        queue.dead_letter.properties = properties
        queue.updated_at = self.broker.clock.ms()
        self.broker.store.update_queue(queue)
        self.broker.adopt(queue)
        await self._written()
        if properties.status != "Active":
            for link in self.server.links_of(queue):
                if not (link.right == "Send" and properties.status == "ReceiveDisabled") and not (
                    link.right == "Listen" and properties.status == "SendDisabled"
                ):
                    link.fail(AmqpError("com.microsoft:entity-disabled", f"'{queue.name}' is {properties.status}"))

    async def delete(self, queue: Queue) -> None:
        """The queue and all its messages; open links learn that it is gone."""
        for link in self.server.links_of(queue):
            link.fail(AmqpError("amqp:not-found", f"the messaging entity '{queue.name}' was deleted"))
        self.broker.store.delete_queue(queue)
        self.broker.disown(queue)
        await self._written()

    async def delete_idle(self) -> None:
        """For ever: delete the queues that nobody has used for as long as their AutoDeleteOnIdle says."""
        while True:
            await asyncio.sleep(IDLE_CHECK_SECONDS)
            now = self.broker.clock.ms()
            for queue in list(self.broker.queues.values()):
                limit = queue.properties.auto_delete_on_idle_ms
                if limit < FOREVER_MS and now - queue.accessed_at > limit and not self.server.links_of(queue):
                    await self.delete(queue)

    async def _written(self) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.broker.store.after_commit(lambda: _finish(done))
        await done


def _finish(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
