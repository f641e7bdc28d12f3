"""Messages as the Service Bus trigger hands them to a function: a body and metadata, one message or a batch."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from azure.functions.meta import Datum

from local.functions_host.broker.ports import Message
from local.functions_host.converters import decode_input
from local.functions_host.model import Function


def is_batch(function: Function) -> bool:
    """Whether the trigger takes many messages in a call."""
    return str(function.trigger.raw.get("cardinality") or "one").lower() == "many"


def trigger_value(function: Function, messages: list[Message]) -> Any:
    """What the trigger's parameter gets.

    Raises:
        ValueError, TypeError, NotImplementedError: as azure.functions' converter raises.
    """
    converter = function.trigger.converter
    if is_batch(function):
        bodies = SimpleNamespace(bytes=[message.body for message in messages])
        if converter == "generic":
            return [_raw(function, message) for message in messages]
        return decode_input(converter, bodies, "collection_bytes", _arrays(messages))
    message = messages[0]
    raw = _raw(function, message)
    return decode_input(converter, raw, "string" if isinstance(raw, str) else "bytes", _single(message))


def _raw(function: Function, message: Message) -> str | bytes:
    """Text where it is text, unless the binding asks for binary."""
    if str(function.trigger.raw.get("dataType") or "").upper() == "BINARY":
        return message.body
    try:
        return message.body.decode("utf-8")
    except UnicodeDecodeError:
        return message.body


def _fields(message: Message) -> dict[str, object]:
    found: dict[str, object] = {
        "MessageId": message.message_id,
        "SequenceNumber": message.sequence_number,
        "DeliveryCount": message.delivery_count,
        "LockToken": message.lock_token,
        "EnqueuedTimeUtc": _time(message.enqueued_at),
        "ExpiresAtUtc": _time(message.expires_at),
        "LockedUntil": _time(message.locked_until),
        "ContentType": message.content_type,
        "CorrelationId": message.correlation_id,
        "Subject": message.subject,
        "Label": message.subject,
        "ReplyTo": message.reply_to,
        "To": message.to,
        "SessionId": message.session_id,
        "PartitionKey": message.partition_key,
        "UserProperties": dict(message.properties),
        "ApplicationProperties": dict(message.properties),
    }
    return found


def _single(message: Message) -> dict[str, Datum]:
    """`UserProperties` tells the converter that there is one message; absent values are left out."""
    return {name: Datum(json.dumps(value), "json") for name, value in _fields(message).items() if value is not None}


def _arrays(messages: list[Message]) -> dict[str, Datum]:
    """`UserPropertiesArray` tells the converter that there are many."""
    rows = [_fields(message) for message in messages]
    return {f"{name}Array": Datum(json.dumps([row[name] for row in rows]), "json") for name in rows[0]}


def _time(value: datetime | None) -> str | None:
    """UTC with an offset: the converter tries twelve forms with `strptime`, and with a Z this would be the sixth."""
    if value is None:
        return None
    return value.astimezone(UTC).isoformat(timespec="microseconds")
