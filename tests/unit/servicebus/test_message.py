"""Message sections: read what a queue needs, keep the rest byte for byte."""

from __future__ import annotations

import uuid

import pytest

from local.servicebus.amqp.decode import decode
from local.servicebus.amqp.encode import described, encode, encode_list
from local.servicebus.amqp.message import (
    Parsed,
    batch_items,
    delivery,
    parse_message,
    reply,
    request_parts,
    sections,
    with_application_properties,
)
from local.servicebus.amqp.types import CodecError, Raw, Symbol, Timestamp, UInt

DATA = described(0x75, encode(b"body"))


def header(ttl: int | None) -> bytes:
    value = None if ttl is None else UInt(ttl)
    return described(0x70, encode_list([encode(True), b"\x40", encode(value)]))


def properties(message_id: object, session_id: str | None = None) -> bytes:
    fields = [encode(message_id), *(b"\x40",) * 9, encode(session_id)]
    return described(0x73, encode_list(fields))


def section(payload: bytes, code: int) -> object:
    return next(decode(payload, at)[0] for found, _, at in sections(payload) if found == code)


def test_what_a_queue_must_know() -> None:
    annotations = {Symbol("x-mine"): 1, Symbol("x-opt-scheduled-enqueue-time"): Timestamp(99), Symbol("x-two"): "b"}
    bare = properties("id", "session") + described(0x74, encode({"a": 1})) + DATA
    parsed = parse_message(header(5000) + described(0x72, encode(annotations)) + bare)
    kept = encode(Symbol("x-mine")) + encode(1) + encode(Symbol("x-two")) + encode("b")
    assert parsed == Parsed(bare, kept, 2, 5000, 99, "id", "session")


@pytest.mark.parametrize(
    ("name", "ids"),
    [("types", ["7", 7, uuid.UUID(int=7), b"7"]), ("texts", ["a", "b"])],
)
def test_message_ids_differ_when_their_values_or_types_do(name: str, ids: list[object]) -> None:
    assert len({parse_message(properties(one) + DATA).message_id for one in ids}) == len(ids)


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("empty", b""),
        ("no body", header(None)),
        ("not sections", b"hello"),
        ("out of order", DATA + properties("x")),
        ("a header that is text", described(0x70, encode("x")) + DATA),
        ("annotations that are a list", described(0x72, encode([1])) + DATA),
        ("properties that are a map", described(0x73, encode({})) + DATA),
        ("cut short", DATA[:-1]),
        ("a section that does not exist", described(0x79, encode(1))),
    ],
)
def test_malformed_messages_are_refused(name: str, payload: bytes) -> None:
    with pytest.raises(CodecError):
        parse_message(payload)


@pytest.mark.parametrize("ttl", [None, 60_000])
@pytest.mark.parametrize("locked", [None, 12345])
@pytest.mark.parametrize("scheduled", [None, 777])
def test_a_delivery_carries_our_stamps_and_the_senders_bytes(
    ttl: int | None, locked: int | None, scheduled: int | None
) -> None:
    own = encode(Symbol("x-mine")) + encode(5)
    payload = delivery(
        bare=DATA, sequence=7, enqueued_at=1000, state=1, locked_until=locked, delivery_count=3, ttl_ms=ttl,
        annotations=own, annotation_count=1, scheduled_at=scheduled,
    )  # fmt: skip
    assert section(payload, 0x70) == [True, 4, ttl, False, 3]
    expected: dict[str, int] = {
        "x-opt-sequence-number": 7, "x-opt-enqueued-time": 1000, "x-opt-message-state": 1,
        "x-opt-enqueue-sequence-number": 7, "x-mine": 5,
    }  # fmt: skip
    if locked is not None:
        expected["x-opt-locked-until"] = locked
    if scheduled is not None:
        expected["x-opt-scheduled-enqueue-time"] = scheduled
    assert section(payload, 0x72) == expected
    assert payload.endswith(DATA)


@pytest.mark.parametrize("with_properties", [True, False])
@pytest.mark.parametrize("own", [None, {"a": 1, "DeadLetterReason": "old"}])
def test_application_properties_are_added_and_replaced(with_properties: bool, own: dict[str, object] | None) -> None:
    front = properties("id") if with_properties else b""
    bare = front + (described(0x74, encode(own)) if own else b"") + DATA
    changed = with_application_properties(bare, {"DeadLetterReason": "new"})
    assert section(changed, 0x74) == {**(own or {}), "DeadLetterReason": "new"}
    assert changed.startswith(front)
    assert changed.endswith(DATA)
    assert parse_message(changed).message_id == ("id" if with_properties else None)


def test_a_batch_is_taken_apart() -> None:
    inner = [properties(str(n)) + DATA for n in range(3)]
    envelope = properties("0") + b"".join(described(0x75, encode(one)) for one in inner)
    assert batch_items(envelope) == inner
    for bad in (properties("x"), described(0x77, encode("x")), described(0x75, encode("text"))):
        with pytest.raises(CodecError):
            batch_items(bad)


def test_a_reply_carries_the_requests_id_as_it_was_typed() -> None:
    identity = uuid.UUID(int=3)
    request = described(0x73, encode_list([encode(identity), *(b"\x40",) * 3, encode("me")]))
    request += described(0x74, encode({"operation": "x"})) + described(0x77, encode({"k": 1}))
    found, application, body, reply_to = request_parts(request)
    assert (found, application, body, reply_to) == (Raw(encode(identity)), {"operation": "x"}, {"k": 1}, "me")
    answer = reply(found, {"statusCode": 200}, {"ok": True})
    assert section(answer, 0x73) == [None] * 5 + [identity]
