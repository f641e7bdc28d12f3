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

from local.servicebus.amqp.message import Parsed, with_application_properties
from local.servicebus.amqp.performatives import AmqpError
from local.servicebus.clock import Clock
from local.servicebus.entities import DEAD_LETTER, FOREVER_MS
from local.servicebus.faults import Faults
from local.servicebus.meter import Meter
from local.servicebus.queue import ACTIVE, DEFERRED, SCHEDULED, Consumer, Lane, Message, Queue
from local.servicebus.sas import Rule, segments
from local.servicebus.sessions import Sessions
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
        self._timers: dict[Queue, tuple[int, asyncio.TimerHandle]] = {}
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
        for box in (queue, queue.dead_letter):
            if box is not None and box in self._timers:
                self._timers.pop(box)[1].cancel()
            for message in box.messages.values() if box is not None else ():
                self._uncache(message)

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
            self.store.after_commit(lambda: self._show_all(queue, accepted))
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
            self.store.next_id(), self._sequence(queue), SCHEDULED if visible > now else ACTIVE, now, visible,
            FOREVER_MS if forever else visible + ttl, None if forever else ttl, 0,
            len(item.bare) + len(item.annotations) + OVERHEAD_BYTES, item.message_id, item.session_id,
            item.annotations, item.annotation_count, item.bare,
        )  # fmt: skip

    def _sequence(self, queue: Queue) -> int:
        number = queue.next_sequence
        if number >= queue.reserved_sequence:
            queue.reserved_sequence = number + SEQUENCE_BLOCK
            self.store.reserve_sequences(queue, queue.reserved_sequence)
        queue.next_sequence = number + 1
        return number

    def _show_all(self, queue: Queue, messages: Sequence[Message]) -> None:
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
                    self._uncache(message)
        self.arm(queue)

    def _uncache(self, message: Message) -> None:
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
            self.arm(queue)

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
        self._drop(queue, message)
        self.store.after_commit(lambda: consumer.deliver(message, body))

    def _drop(self, queue: Queue, message: Message) -> None:
        queue.remove(message)
        self._uncache(message)
        self.store.delete(message)

    def lock_deferred(self, queue: Queue, message: Message) -> bytes:
        """Lock a deferred message for a receiver that asked for it by number; the token."""
        token = os.urandom(16)
        until = queue.session_lock(message) or self.clock.ms() + queue.properties.lock_duration_ms
        queue.lock(message, token, until)
        self.arm(queue)
        return token

    # -- settling: each returns whether the lock still stood -------------------------------------------------------

    def complete(self, queue: Queue, token: bytes) -> bool:
        """The message is done with."""
        message = queue.held(token, self.clock.ms())
        if message is None:
            return False
        self._drop(queue, message)
        return True

    def abandon(self, queue: Queue, token: bytes, changes: dict[str, object] | None = None) -> bool:
        """Give it back and count the attempt."""
        message = queue.held(token, self.clock.ms())
        if message is None:
            return False
        self._change(queue, message, changes)
        self.give_back(queue, message, count=True)
        return True

    def release(self, queue: Queue, token: bytes) -> bool:
        """Give it back as if it had not been delivered."""
        message = queue.held(token, self.clock.ms())
        if message is None:
            return False
        self.give_back(queue, message, count=False)
        return True

    def defer(self, queue: Queue, token: bytes, changes: dict[str, object] | None = None) -> bool:
        """Set it aside: from now on it comes only to who asks for it by sequence number."""
        message = queue.held(token, self.clock.ms())
        if message is None:
            return False
        self._change(queue, message, changes)
        queue.unlock(message)
        queue.change_state(message, DEFERRED)
        self.store.update(message)
        return True

    def reject(self, queue: Queue, token: bytes, reason: str, description: str, changes: dict[str, object]) -> bool:
        """Move it to the dead-letter queue.

        Raises:
            AmqpError: it lies there already.
        """
        message = queue.held(token, self.clock.ms())
        if message is None:
            return False
        if queue.parent is not None:
            raise AmqpError("amqp:not-allowed", "a message in a dead-letter queue cannot be dead-lettered again")
        self.bury(queue, message, reason, description, changes)
        return True

    def renew(self, queue: Queue, token: bytes) -> int | None:
        """Let the lock stand for its whole duration from now; the new end, none if it was lost."""
        now = self.clock.ms()
        message = queue.held(token, now)
        if message is None:
            return None
        until = now + queue.properties.lock_duration_ms
        queue.renew(message, until)
        self.arm(queue)
        return until

    def give_back(self, queue: Queue, message: Message, *, count: bool) -> None:
        """Take the lock off and show the message again, bury it, or let it expire."""
        queue.unlock(message)
        if count:
            message.delivery_count += 1
            if queue.parent is None and message.delivery_count >= queue.properties.max_delivery_count:
                tries = queue.properties.max_delivery_count
                self.bury(
                    queue, message, "MaxDeliveryCountExceeded",
                    f"Message could not be consumed after {tries} delivery attempts.", {},
                )  # fmt: skip
                return
            self.store.update(message)
        if queue.parent is None and message.expires_at <= self.clock.ms():
            self._expire(queue, message)
        elif message.state == ACTIVE:
            self.store.after_commit(lambda: self._show_all(queue, (message,)))

    def bury(self, queue: Queue, message: Message, reason: str, text: str, changes: dict[str, object]) -> None:
        """Move to the dead-letter queue, with the reason as application properties."""
        bare = self.body(message)
        queue.remove(message)
        self._uncache(message)
        dead = queue.dead_letter
        assert dead is not None
        told = {"DeadLetterReason": reason, "DeadLetterErrorDescription": text}
        message.bare = with_application_properties(bare, {**changes, **{k: v for k, v in told.items() if v}})
        self.cached_bytes += len(message.bare)
        message.size += len(message.bare) - len(bare)
        message.state, message.token = ACTIVE, None
        dead.add(message)
        self.store.rewrite(message, dead=True)
        self.store.after_commit(lambda: self._show_all(dead, (message,)))

    def _change(self, queue: Queue, message: Message, changes: dict[str, object] | None) -> None:
        if not changes:
            return
        bare = self.body(message)
        self._uncache(message)
        message.bare = with_application_properties(bare, changes)
        self.cached_bytes += len(message.bare)
        queue.size += len(message.bare) - len(bare)
        message.size += len(message.bare) - len(bare)
        self.store.rewrite(message, dead=queue.parent is not None)

    def _expire(self, queue: Queue, message: Message) -> None:
        if queue.properties.dead_letter_on_expiry:
            self.bury(queue, message, "TTLExpiredException", "The message expired and was dead lettered.", {})
        else:
            self._drop(queue, message)

    # -- scheduled and deferred -------------------------------------------------------------------------------------

    def cancel_scheduled(self, queue: Queue, numbers: Sequence[int]) -> None:
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
                self._drop(queue, message)

    def _activate(self, queue: Queue, message: Message, now: int) -> None:
        queue.change_state(message, ACTIVE)
        message.enqueued_at = now
        if message.ttl_ms is not None:
            message.expires_at = now + message.ttl_ms
        queue.resequence(message, self._sequence(queue))
        self.store.update(message)

    # -- time ------------------------------------------------------------------------------------------------------

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
        for queue in self.queues.values():
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
            self.store.after_commit(lambda: self._show_all(queue, awake))
        for message in queue.due_locks(now):
            self.give_back(queue, message, count=True)
        for message in queue.due_expiry(now):
            self._expire(queue, message)
        self.arm(queue)
