"""Settling: what becomes of a message that somebody holds. Each act returns whether the lock still stood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.servicebus.amqp.message import with_application_properties
from local.servicebus.amqp.performatives import AmqpError
from local.servicebus.queue import ACTIVE, DEFERRED, Message, Queue

if TYPE_CHECKING:
    from local.servicebus.broker import Broker


class Settlement:
    """The outcomes, for messages of all queues."""

    def __init__(self, broker: Broker) -> None:
        self.broker, self.store, self.clock = broker, broker.store, broker.clock

    def complete(self, queue: Queue, token: bytes) -> bool:
        """The message is done with."""
        message = queue.held(token, self.clock.ms())
        if message is None:
            return False
        self.broker.drop(queue, message)
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
        if queue.has_sessions:
            raise AmqpError("amqp:not-allowed", "a message of a session is renewed with its session")
        until = now + queue.properties.lock_duration_ms
        queue.renew(message, until)
        self.broker.scheduler.arm(queue)
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
            self.expire(queue, message)
        elif message.state == ACTIVE:
            self.store.after_commit(lambda: self.broker.show(queue, (message,)))

    def bury(self, queue: Queue, message: Message, reason: str, text: str, changes: dict[str, object]) -> None:
        """Move to the dead-letter queue, with the reason as application properties."""
        bare = self.broker.body(message)
        queue.remove(message)
        self.broker.uncache(message)
        dead = queue.dead_letter
        assert dead is not None
        told = {"DeadLetterReason": reason, "DeadLetterErrorDescription": text}
        message.bare = with_application_properties(bare, {**changes, **{k: v for k, v in told.items() if v}})
        self.broker.cached_bytes += len(message.bare)
        message.size += len(message.bare) - len(bare)
        message.state, message.token = ACTIVE, None
        dead.add(message)
        self.store.rewrite(message, dead=True)
        self.store.after_commit(lambda: self.broker.show(dead, (message,)))

    def _change(self, queue: Queue, message: Message, changes: dict[str, object] | None) -> None:
        if not changes:
            return
        bare = self.broker.body(message)
        self.broker.uncache(message)
        message.bare = with_application_properties(bare, changes)
        self.broker.cached_bytes += len(message.bare)
        queue.size += len(message.bare) - len(bare)
        message.size += len(message.bare) - len(bare)
        self.store.rewrite(message, dead=queue.parent is not None)

    def expire(self, queue: Queue, message: Message) -> None:
        """Its time to live is over: bury it or let it go."""
        if queue.properties.dead_letter_on_expiry:
            self.bury(queue, message, "TTLExpiredException", "The message expired and was dead lettered.", {})
        else:
            self.broker.drop(queue, message)
