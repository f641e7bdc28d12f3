"""The broker: queues by name, what happens to their messages, and the order of writing first and telling after.

    event-loop turn n       a sender's transfer is written          a receiver's completion is written
    end of turn n           one COMMIT for both
    then                    the message is shown to receivers       both are acknowledged

Nothing that is not on disk is shown or acknowledged; nothing that was acknowledged is undone by a crash.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from typing import Protocol

from local.servicebus.amqp.message import Parsed
from local.servicebus.amqp.performatives import AmqpError
from local.servicebus.clock import Clock
from local.servicebus.entities import DEAD_LETTER, FOREVER_MS
from local.servicebus.faults import Faults
from local.servicebus.meter import Meter
from local.servicebus.queue import ACTIVE, SCHEDULED, Consumer, Lane, Message, Queue
from local.servicebus.sas import Rule, segments
from local.servicebus.scheduler import Scheduler
from local.servicebus.sessions import Sessions
from local.servicebus.settlement import Settlement
from local.servicebus.store import Store

BODY_CACHE_BYTES = 64 * 1024 * 1024  # beyond this, waiting messages leave their bodies on disk
SEQUENCE_BLOCK = 1024  # numbers reserved at a time, so that not every send writes the queue's row
OVERHEAD_BYTES = 128  # what a stored message counts for beside its bytes


class Flushable(Protocol):
    """A connection, as far as the broker needs to know it."""

    def flush(self) -> None:
        """Send what was written."""


class Broker:
    """All queues of one namespace."""

    def __init__(self, store: Store, clock: Clock, *, rules: Sequence[Rule], hosts: frozenset[str], lax: bool) -> None:
        self.store, self.clock, self.hosts, self.lax = store, clock, hosts, lax
        self.meter, self.faults = Meter(), Faults()
        self.sessions = Sessions(self)
        self.queues: dict[tuple[str, ...], Queue] = {}
        self.rules: dict[tuple[str, ...], Iterable[Rule]] = {(): tuple(rules)}
        self.cached_bytes = 0
        self._written: list[Flushable] = []
        store.after_actions = self.flush
        self.settlement: Settlement = Settlement(self)
        self.scheduler: Scheduler = Scheduler(self)
        for queue in store.load():
            self.adopt(queue)

    # -- output --------------------------------------------------------------------------------------------------

    def wrote(self, connection: Flushable) -> None:
        """A connection has something to send: at the end of this turn, or together with what a commit releases."""
        if not self._written:
            asyncio.get_running_loop().call_soon(self.flush)
        self._written.append(connection)

    def flush(self) -> None:
        """Send what was written."""
        written, self._written = self._written, []
        for connection in written:
            connection.flush()

    # -- entities ------------------------------------------------------------------------------------------------

    def adopt(self, queue: Queue) -> None:
        """Make a queue known."""
        path = segments(queue.name)
        self.queues[path] = queue
        self.rules[path] = queue.properties.rules

    def disown(self, queue: Queue) -> None:
        """Forget a queue; the caller has closed its links."""
        path = segments(queue.name)
        self.queues.pop(path, None)
        self.rules.pop(path, None)
        assert queue.dead_letter is not None
        for box in (queue, queue.dead_letter):
            self.scheduler.forget(box)
            for message in box.messages.values():
                self.uncache(message)
            box.clear()

    def find(self, address: str) -> Queue | None:
        """The queue or dead-letter queue of an address; case does not matter."""
        path = segments(address)
        if path and path[-1] == DEAD_LETTER:
            queue = self.queues.get(path[:-1])
            return queue.dead_letter if queue is not None else None
        return self.queues.get(path)

    def find_base(self, address: str) -> Queue | None:
        """The queue that an address is about: `q`, `q/$management` and `q/$deadletterqueue/$management` are about `q`."""
        path = segments(address)
        while path and path[-1].startswith("$"):
            path = path[:-1]
        return self.queues.get(path)

    # -- sending -------------------------------------------------------------------------------------------------

    def accept(self, queue: Queue, items: Sequence[Parsed]) -> list[Message]:
        """Write messages: all of them or none. They are shown when they are on disk.

        Returns:
            The messages in order; duplicates are left out.

        Raises:
            AmqpError: the queue takes no messages, is full, or wants a session id.
        """
        self.check_open_for_sending(queue)
        if queue.has_sessions and any(item.session_id is None for item in items):
            raise AmqpError("amqp:not-allowed", f"'{queue.name}' requires sessions: the message needs a session id")
        size = sum(len(item.bare) + len(item.annotations) + OVERHEAD_BYTES for item in items)
        limit = queue.properties.max_size_mb << 20
        if queue.size + size > limit:
            raise AmqpError(
                "amqp:resource-limit-exceeded", f"'{queue.name}' holds {queue.size} of {limit} bytes; {size} do not fit"
            )
        queue.accessed_at = now = self.clock.ms()
        accepted = [self._message(queue, item, now) for item in items if not self._seen(queue, item, now)]
        if accepted:
            self.store.insert(queue, accepted)
            for message in accepted:
                queue.add(message)
                self.cached_bytes += len(message.bare or b"")
            self.store.after_commit(lambda: self.show(queue, accepted))
        return accepted

    def check_open_for_sending(self, queue: Queue) -> None:
        """Raises AmqpError if the queue takes nothing from senders."""
        if queue.parent is not None:
            raise AmqpError("amqp:not-allowed", "a dead-letter queue takes no messages from senders")
        if queue.properties.status in ("Disabled", "SendDisabled"):
            raise AmqpError("com.microsoft:entity-disabled", f"'{queue.name}' is {queue.properties.status}")

    def _seen(self, queue: Queue, item: Parsed, now: int) -> bool:
        """Whether the message is a duplicate; if not, its id is remembered."""
        properties = queue.properties
        if not properties.requires_duplicate_detection or item.message_id is None:
            return False
        if queue.is_duplicate(item.message_id, now):
            return True
        until = now + properties.duplicate_window_ms
        queue.remember(item.message_id, until)
        self.store.remember(queue, item.message_id, until)
        forgotten = queue.forget_duplicates(now)
        if forgotten:
            self.store.forget(queue, forgotten)
        return False

    def _message(self, queue: Queue, item: Parsed, now: int) -> Message:
        at, ttl = item.scheduled_at, queue.properties.default_ttl_ms
        visible = at if at is not None and at > now else now
        if item.ttl_ms is not None and item.ttl_ms < ttl:
            ttl = item.ttl_ms
        forever = ttl >= FOREVER_MS
        return Message(
            self.store.next_id(), self.sequence(queue), SCHEDULED if visible > now else ACTIVE, now, visible,
            FOREVER_MS if forever else visible + ttl, None if forever else ttl, 0,
            len(item.bare) + len(item.annotations) + OVERHEAD_BYTES, item.message_id, item.session_id,
            item.annotations, item.annotation_count, item.bare,
        )  # fmt: skip

    def sequence(self, queue: Queue) -> int:
        """The next sequence number of a queue."""
        number = queue.next_sequence
        if number >= queue.reserved_sequence:
            queue.reserved_sequence = number + SEQUENCE_BLOCK
            self.store.reserve_sequences(queue, queue.reserved_sequence)
        queue.next_sequence = number + 1
        return number

    def show(self, queue: Queue, messages: Sequence[Message]) -> None:
        """Let receivers have messages that are on disk and that nobody holds."""
        lanes: dict[Lane, None] = {}
        for message in messages:
            lane = queue.show(message)
            if lane is not None:
                lanes[lane] = None
        for lane in lanes:
            self.dispatch(queue, lane)
        if queue.has_sessions:
            self.sessions.offer(queue)
        if self.cached_bytes > BODY_CACHE_BYTES:
            for message in messages:
                if message.token is None:
                    self.uncache(message)
        self.scheduler.arm(queue)

    def uncache(self, message: Message) -> None:
        """Let go of the bytes in memory."""
        if message.bare is not None:
            self.cached_bytes -= len(message.bare)
            message.bare = None

    def body(self, message: Message) -> bytes:
        """The sender's bytes, from memory or disk."""
        return message.bare if message.bare is not None else self.store.body(message)

    # -- receiving -----------------------------------------------------------------------------------------------

    def dispatch(self, queue: Queue, lane: Lane) -> None:
        """Hand out what is ready to whom has credit, in turn."""
        waiting, now, armed = lane.waiting, self.clock.ms(), False
        if queue.properties.status in ("Disabled", "ReceiveDisabled"):
            return
        while waiting and lane.ready:
            consumer = next(iter(waiting))
            del waiting[consumer]
            if not consumer.wants():
                continue
            message = queue.take(lane, now)
            if message is None:
                waiting[consumer] = None
                break
            self._hand_over(queue, message, consumer, now)
            armed = True
            if consumer.wants():
                waiting[consumer] = None
        if armed:
            self.scheduler.arm(queue)

    def _hand_over(self, queue: Queue, message: Message, consumer: Consumer, now: int) -> None:
        queue.accessed_at = now
        if consumer.settles:
            until = queue.session_lock(message) or now + queue.properties.lock_duration_ms
            queue.lock(message, os.urandom(16), until)
            consumer.claim()
            consumer.deliver(message, self.body(message))
            return
        # Receive-and-delete: gone from the disk before it is on the wire, so that no crash can bring it back.
        consumer.claim()
        body = self.body(message)
        self.drop(queue, message)
        self.store.after_commit(lambda: consumer.deliver(message, body))

    def drop(self, queue: Queue, message: Message) -> None:
        """The message is gone, from memory and disk."""
        queue.remove(message)
        self.uncache(message)
        self.store.delete(message)

    def lock_deferred(self, queue: Queue, message: Message) -> bytes:
        """Lock a deferred message for a receiver that asked for it by number; the token."""
        token = os.urandom(16)
        until = queue.session_lock(message) or self.clock.ms() + queue.properties.lock_duration_ms
        queue.lock(message, token, until)
        self.scheduler.arm(queue)
        return token
