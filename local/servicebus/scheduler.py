"""What comes due: scheduled messages, locks that run out, times to live; one timer a queue, set for the earliest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from local.servicebus.amqp.performatives import AmqpError
from local.servicebus.queue import ACTIVE, SCHEDULED, Message, Queue

if TYPE_CHECKING:
    from local.servicebus.broker import Broker


class Scheduler:
    """The timers of all queues."""

    def __init__(self, broker: Broker) -> None:
        self.broker, self.store, self.clock = broker, broker.store, broker.clock
        self._timers: dict[Queue, tuple[int, asyncio.TimerHandle]] = {}

    def arm(self, queue: Queue) -> None:
        """See to it that `tick` comes when the queue next has something due."""
        due = queue.next_due()
        known = self._timers.get(queue)
        if due is None or (known is not None and known[0] <= due):
            return
        if known is not None:
            known[1].cancel()
        delay = max(0, due - self.clock.ms()) / 1000
        handle = asyncio.get_running_loop().call_later(delay, self.tick, queue)
        self._timers[queue] = (due, handle)

    def arm_all(self) -> None:
        """Arm every queue afresh (after loading, or when the clock was set)."""
        for _, handle in self._timers.values():
            handle.cancel()
        self._timers.clear()
        for queue in self.broker.queues.values():
            self.arm(queue)
            if queue.dead_letter is not None:
                self.arm(queue.dead_letter)

    def tick(self, queue: Queue) -> None:
        """Do what is due."""
        self._timers.pop(queue, None)
        now = self.clock.ms()
        awake = queue.due_schedule(now)
        for message in awake:
            self._activate(queue, message, now)
        if awake:
            self.store.after_commit(lambda: self.broker.show(queue, awake))
        for message in queue.due_locks(now):
            self.broker.settlement.give_back(queue, message, count=True)
        for message in queue.due_expiry(now):
            self.broker.settlement.expire(queue, message)
        self.arm(queue)

    def forget(self, queue: Queue) -> None:
        """The queue is gone."""
        known = self._timers.pop(queue, None)
        if known is not None:
            known[1].cancel()

    def cancel(self, queue: Queue, numbers: Sequence[int]) -> None:
        """Take scheduled messages back: all or none.

        Raises:
            AmqpError: one of them is not scheduled (any more).
        """
        found = [queue.messages.get(number) for number in numbers]
        for number, message in zip(numbers, found, strict=True):
            if message is None or message.state != SCHEDULED:
                raise AmqpError("com.microsoft:message-not-found", f"no scheduled message has the number {number}")
        for message in found:
            if message is not None and message.sequence in queue.messages:
                self.broker.drop(queue, message)

    def _activate(self, queue: Queue, message: Message, now: int) -> None:
        queue.change_state(message, ACTIVE)
        message.enqueued_at = now
        if message.ttl_ms is not None:
            message.expires_at = now + message.ttl_ms
        queue.resequence(message, self.broker.sequence(queue))
        self.store.update(message)
