"""The sections of a message (AMQP 1.0, part 3.2): reading what a queue must know, and putting a delivery together.

Properties, application properties and body stay the bytes that the sender wrote; only header and annotations are ours.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from local.servicebus.amqp.decode import decode, skip
from local.servicebus.amqp.encode import compound, encode
from local.servicebus.amqp.types import CodecError, Raw, Symbol

HEADER, DELIVERY_ANNOTATIONS, ANNOTATIONS, PROPERTIES, APPLICATION, DATA, SEQUENCE, VALUE, FOOTER = range(0x70, 0x79)
BATCH_FORMAT = 0x80013700  # the message-format that marks a batch envelope of Service Bus
NO_EXPIRY_MS = 0xFFFFFFFF

# Annotations that the broker itself sets: a sender's own are dropped.
_OURS = frozenset(
    {
        "x-opt-sequence-number", "x-opt-enqueued-time", "x-opt-locked-until", "x-opt-message-state",
        "x-opt-enqueue-sequence-number", "x-opt-scheduled-enqueue-time", "x-opt-lock-token", "x-opt-deadletter-source",
    }
)  # fmt: skip


@dataclass(slots=True)
class Parsed:
    """What a queue must know of a message."""

    bare: bytes
    annotations: bytes = b""
    annotation_count: int = 0
    ttl_ms: int | None = None
    scheduled_at: int | None = None
    message_id: str | None = None
    session_id: str | None = None


def sections(payload: bytes) -> Iterator[tuple[int, int, int]]:
    """The sections as (code, offset of the section, offset of its value).

    Raises:
        CodecError: no message sections, or in the wrong order.
    """
    at, last, total = 0, 0, len(payload)
    while at < total:
        if total < at + 4 or payload[at] != 0:
            raise CodecError("a message's payload is not a row of sections")
        if payload[at + 1] == 0x53:
            code, value = payload[at + 2], at + 3
        elif payload[at + 1] == 0x80 and total > at + 10:
            code, value = struct.unpack_from(">Q", payload, at + 2)[0], at + 10
        else:
            raise CodecError("a message's payload is not a row of sections")
        if code < last or code < HEADER or code > FOOTER:
            raise CodecError("a message's sections are unknown or out of order")
        yield code, at, value
        last, at = code, skip(payload, value)


def parse_message(payload: bytes) -> Parsed:
    """Read a message as it came in a transfer.

    Raises:
        CodecError: it is malformed.
    """
    bare_from = len(payload)
    parsed = Parsed(b"")
    for code, start, at in sections(payload):
        reader = _READERS.get(code)
        if reader is not None:
            reader(parsed, payload, at)
        if code >= PROPERTIES and start < bare_from:
            bare_from = start
    parsed.bare = payload[bare_from:]
    if not parsed.bare:
        raise CodecError("a message has no body")
    return parsed


def _read_header(parsed: Parsed, payload: bytes, at: int) -> None:
    fields, _ = decode(payload, at)
    if not isinstance(fields, list):
        raise CodecError("a message's header is not a list")
    ttl = fields[2] if len(fields) > 2 else None
    if isinstance(ttl, int) and 0 <= ttl < NO_EXPIRY_MS:
        parsed.ttl_ms = ttl


def _read_annotations(parsed: Parsed, payload: bytes, at: int) -> None:
    annotations, end = decode(payload, at)
    if not isinstance(annotations, dict):
        raise CodecError("a message's annotations are not a map")
    scheduled = annotations.get("x-opt-scheduled-enqueue-time")
    if isinstance(scheduled, int):
        parsed.scheduled_at = int(scheduled)
    if _OURS.isdisjoint(annotations):
        head = {0xC1: 3, 0xD1: 9}[payload[at]]
        parsed.annotations, parsed.annotation_count = payload[at + head : end], len(annotations)
        return
    # Only now the values are taken apart: which bytes belong to which key.
    kept, at = [], at + {0xC1: 3, 0xD1: 9}[payload[at]]
    for key in annotations:
        after = skip(payload, skip(payload, at))
        if key not in _OURS:
            kept.append(payload[at:after])
        at = after
    parsed.annotations, parsed.annotation_count = b"".join(kept), len(kept)


def _read_properties(parsed: Parsed, payload: bytes, at: int) -> None:
    fields, _ = decode(payload, at)
    if not isinstance(fields, list):
        raise CodecError("a message's properties are not a list")
    if fields:
        parsed.message_id = _identity(fields[0])
    if len(fields) > 10 and isinstance(fields[10], str):
        parsed.session_id = fields[10]


_READERS = {HEADER: _read_header, ANNOTATIONS: _read_annotations, PROPERTIES: _read_properties}


def _identity(value: object) -> str | None:
    """One text for a message id of any of its four types; ids of different types stay different."""
    if value is None or type(value) is str:
        return value if value else None
    if isinstance(value, uuid.UUID):
        return f"\0uuid:{value}"
    if isinstance(value, bytes):
        return f"\0binary:{value.hex()}"
    return f"\0ulong:{value}"


_KEY = [
    encode(Symbol(name)) + bytes((code,))
    for name, code in (
        ("x-opt-sequence-number", 0x81), ("x-opt-enqueued-time", 0x83), ("x-opt-message-state", 0x71),
        ("x-opt-enqueue-sequence-number", 0x81), ("x-opt-locked-until", 0x83), ("x-opt-scheduled-enqueue-time", 0x83),
    )
]  # fmt: skip
_FIXED = struct.Struct(">" + "".join(f"{len(key)}s{form}" for key, form in zip(_KEY[:5], "qqiqq", strict=True)))
_MAP_HEAD = struct.Struct(">4sII")
_TIMESTAMP = struct.Struct(">q").pack
_HEADER_TTL = struct.Struct(">9sBIBBI").pack
_HEADER_FOREVER = struct.Struct(">9sBBBI").pack


def delivery(
    *,
    bare: bytes,
    sequence: int,
    enqueued_at: int,
    state: int,
    locked_until: int | None,
    delivery_count: int,
    ttl_ms: int | None,
    annotations: bytes,
    annotation_count: int,
    scheduled_at: int | None = None,
) -> bytes:
    """The bytes of a message for a receiver: our header and annotations before the sender's bytes."""
    if ttl_ms is None or ttl_ms >= NO_EXPIRY_MS:
        header = _HEADER_FOREVER(b"\x00\x53\x70\xc0\x0b\x05\x41\x50\x04", 0x40, 0x42, 0x70, delivery_count)
    else:
        header = _HEADER_TTL(b"\x00\x53\x70\xc0\x0f\x05\x41\x50\x04", 0x70, ttl_ms, 0x42, 0x70, delivery_count)
    ours = _FIXED.pack(
        _KEY[0], sequence, _KEY[1], enqueued_at, _KEY[2], state, _KEY[3], sequence, _KEY[4], locked_until or 0
    )
    count = 5
    if locked_until is None:
        ours, count = ours[: -len(_KEY[4]) - 8], 4
    if scheduled_at is not None:
        ours, count = ours + _KEY[5] + _TIMESTAMP(scheduled_at), count + 1
    head = _MAP_HEAD.pack(b"\x00\x53\x72\xd1", len(ours) + len(annotations) + 4, 2 * (count + annotation_count))
    return b"".join((header, head, ours, annotations, bare))


def with_application_properties(bare: bytes, extra: dict[str, object]) -> bytes:
    """The same message with application properties added; those of the same name are replaced.

    `Raw` values are encoded already.
    """
    for code, start, at in sections(bare):
        if code == APPLICATION:
            return bare[:start] + _application(_raw_items(bare, at), extra) + bare[skip(bare, at) :]
        if code > APPLICATION:
            return bare[:start] + _application([], extra) + bare[start:]
    return bare + _application([], extra)


def _raw_items(payload: bytes, at: int) -> list[tuple[object, bytes]]:
    """A map's entries as (key, encoded key and value)."""
    whole, end = decode(payload, at)
    if not isinstance(whole, dict):
        raise CodecError("application properties are not a map")
    items: list[tuple[object, bytes]] = []
    at += 3 if payload[at] == 0xC1 else 9
    while at < end:
        key, middle = decode(payload, at)
        after = skip(payload, middle)
        items.append((key, payload[at:after]))
        at = after
    return items


def _application(items: list[tuple[object, bytes]], extra: dict[str, object]) -> bytes:
    kept = [raw for key, raw in items if key not in extra]
    added = [encode(key) + encode(value) for key, value in extra.items()]
    return b"\x00\x53\x74" + compound(0xC1, 0xD1, 2 * (len(kept) + len(added)), b"".join((*kept, *added)))


def batch_items(payload: bytes) -> list[bytes]:
    """The encoded messages in a batch envelope: each is one Data section.

    Raises:
        CodecError: the envelope holds something else.
    """
    items = []
    for code, _, at in sections(payload):
        if code == DATA:
            item, _ = decode(payload, at)
            if not isinstance(item, bytes):
                raise CodecError("a batch's Data section is not binary")
            items.append(item)
        elif code > DATA:
            raise CodecError("a batch's body must be Data sections")
    if not items:
        raise CodecError("a batch holds no message")
    return items


def request_parts(payload: bytes) -> tuple[Raw, dict[object, object], object, str | None]:
    """A request to `$cbs` or `$management`: its message-id as sent, application properties, body value, reply-to.

    Raises:
        CodecError: a part is missing or malformed.
    """
    identity, application, body, reply_to = Raw(b"\x40"), {}, None, None
    for code, _, at in sections(payload):
        if code == PROPERTIES:
            fields, _ = decode(payload, at)
            if not isinstance(fields, list):
                raise CodecError("a message's properties are not a list")
            if fields:
                start = at + {0xC0: 3, 0xD0: 9}[payload[at]]
                identity = Raw(payload[start : skip(payload, start)])
            if len(fields) > 4 and isinstance(fields[4], str):
                reply_to = str(fields[4])
        elif code == APPLICATION:
            found, _ = decode(payload, at)
            if not isinstance(found, dict):
                raise CodecError("application properties are not a map")
            application = found
        elif code == VALUE:
            body, _ = decode(payload, at)
    return identity, application, body, reply_to


def reply(correlation_id: Raw, application: dict[object, object], body: object) -> bytes:
    """An answer to such a request."""
    nothing = b"\x40"
    fields = (nothing, nothing, nothing, nothing, nothing, correlation_id.encoded)
    properties = b"\x00\x53\x73" + compound(0xC0, 0xD0, 6, b"".join(fields))
    return properties + b"\x00\x53\x74" + encode(application) + b"\x00\x53\x77" + encode(body)
