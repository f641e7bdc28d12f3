"""What a receiver's outcome does to a message, and the outcome that confirms it.

https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.types import Described
from local.servicebus.queue import Queue

if TYPE_CHECKING:
    from local.servicebus.broker import Broker

REASON, DESCRIPTION = "DeadLetterReason", "DeadLetterErrorDescription"
MAX_REASON = 4096  # Service Bus truncates there

LOCK_LOST = p.AmqpError(
    "com.microsoft:message-lock-lost", "the lock has expired, or the message has already been removed from the queue"
)
SESSION_LOST = p.AmqpError("com.microsoft:session-lock-lost", "the lock of the session has expired")


def settle(broker: Broker, queue: Queue, token: bytes, state: Described | None) -> bytes | None:
    """Apply an outcome.

    Returns:
        The encoded outcome to confirm with. No outcome at all counts as released.
    """
    broker.meter.queues[queue.name].settlements += 1
    code = state.descriptor if state is not None else p.RELEASED
    fields = state.value if state is not None and isinstance(state.value, list) else []
    try:
        return _apply(broker, queue, token, code, fields)
    except p.AmqpError as error:
        return p.rejected(error)


def _apply(broker: Broker, queue: Queue, token: bytes, code: object, fields: list[object]) -> bytes:
    lost = p.rejected(SESSION_LOST if queue.has_sessions else LOCK_LOST)
    if code == p.ACCEPTED:
        return p.ACCEPTED_STATE if broker.settlement.complete(queue, token) else lost
    if code == p.RELEASED:
        broker.settlement.release(queue, token)
        return p.RELEASED_STATE
    if code == p.MODIFIED:
        failed, elsewhere = [*fields, None, None][:2]
        changes = simple_changes(fields[2] if len(fields) > 2 else None)
        done = (
            broker.settlement.defer(queue, token, changes)
            if elsewhere is True
            else broker.settlement.abandon(queue, token, changes)
        )
        echo = p.modified(delivery_failed=failed is True, undeliverable_here=elsewhere is True)
        return echo if done else lost
    if code == p.REJECTED:
        reason, description, changes = _why(fields)
        # The confirmation carries no error: with one, the SDK would read it as a refusal.
        return p.REJECTED_STATE if broker.settlement.reject(queue, token, reason, description, changes) else lost
    raise p.AmqpError("amqp:not-implemented", "this outcome is not supported (transactions are not)")


def _why(fields: list[object]) -> tuple[str, str, dict[str, object]]:
    """Reason, description and further properties in a rejection's error."""
    error = fields[0] if fields else None
    parts = error.value if isinstance(error, Described) and isinstance(error.value, list) else []
    info = parts[2] if len(parts) > 2 and isinstance(parts[2], dict) else {}
    reason, description = info.get(REASON), info.get(DESCRIPTION)
    if not isinstance(description, str):
        description = parts[1] if len(parts) > 1 and isinstance(parts[1], str) else ""
    rest = {key: value for key, value in info.items() if key not in (REASON, DESCRIPTION)}
    return (reason if isinstance(reason, str) else "")[:MAX_REASON], description[:MAX_REASON], simple_changes(rest)


def simple_changes(value: object) -> dict[str, object]:
    """Application properties that the receiver wants changed, as far as they are of simple types."""
    if not isinstance(value, dict):
        return {}
    simple = (str, int, float, bool, bytes, type(None))
    return {str(key): item for key, item in value.items() if isinstance(item, simple)}
