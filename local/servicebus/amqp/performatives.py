"""The frame bodies of AMQP 1.0 (part 2.7): decoding into padded field lists, encoding at full length.

Performatives go out with all their fields, and errors with all three: the SDK indexes them without looking at the
length, and an error cut short at its last non-empty field makes it wait for ever.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from local.servicebus.amqp.decode import decode, skip
from local.servicebus.amqp.encode import described, encode, encode_list
from local.servicebus.amqp.types import CodecError, Described, Symbol, UInt, ULong, UShort

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
ERROR, RECEIVED, ACCEPTED, REJECTED, RELEASED, MODIFIED = 0x1D, 0x23, 0x24, 0x25, 0x26, 0x27
SOURCE, TARGET, COORDINATOR = 0x28, 0x29, 0x30
SASL_MECHANISMS, SASL_INIT, SASL_OUTCOME = 0x40, 0x41, 0x44

FIELDS = {
    OPEN: 10, BEGIN: 8, ATTACH: 14, FLOW: 11, TRANSFER: 11, DISPOSITION: 6, DETACH: 3, END: 1, CLOSE: 1,
    SASL_INIT: 3,
}  # fmt: skip
NAMES = {
    OPEN: "open", BEGIN: "begin", ATTACH: "attach", FLOW: "flow", TRANSFER: "transfer", DISPOSITION: "disposition",
    DETACH: "detach", END: "end", CLOSE: "close",
}  # fmt: skip

SENDER, RECEIVER = False, True  # the role field: who is speaking


@dataclass(frozen=True, slots=True)
class AmqpError(Exception):
    """An error condition as it goes over the wire."""

    condition: str
    description: str = ""
    info: dict[object, object] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Always three fields."""
        fields = (encode(Symbol(self.condition)), encode(self.description), encode(self.info))
        return described(ERROR, encode_list(fields))


def parse(body: bytes) -> tuple[int, list[object], int]:
    """A frame body's performative: code, fields padded to full length, and the offset where a payload begins.

    Raises:
        CodecError: no known performative.
    """
    if body[:2] == b"\x00\x53" and len(body) > 3:
        code, at = body[2], 3
    elif body[:1] == b"\x00":
        descriptor, at = decode(body, 1)
        code = int(descriptor) if isinstance(descriptor, ULong) else -1
    else:
        raise CodecError("the frame holds no performative")
    count = FIELDS.get(code)
    if count is None:
        raise CodecError(f"unknown performative 0x{code & 0xFF:02x}")
    fields, at = decode(body, at)
    if not isinstance(fields, list) or len(fields) > count:
        raise CodecError(f"a {NAMES.get(code, 'sasl')} is not a list of at most {count} fields")
    if len(fields) < count:
        fields.extend([None] * (count - len(fields)))
    return code, fields, at


def attach_termini(body: bytes) -> tuple[bytes, bytes]:
    """The encoded source and target of an attach, to be echoed byte for byte."""
    at = skip(body, 1)
    start = at + (9 if body[at] == 0xD0 else 3)
    spans = []
    for _ in range(min(7, _count(body, at))):
        end = skip(body, start)
        spans.append(body[start:end])
        start = end
    spans.extend([b"\x40"] * (7 - len(spans)))
    return spans[5], spans[6]


def _count(body: bytes, at: int) -> int:
    if body[at] == 0xC0:
        return body[at + 2]
    if body[at] == 0xD0:
        return int(struct.unpack_from(">I", body, at + 5)[0])
    return 0


def uint(value: object, name: str) -> int:
    """A field that must be an unsigned integer of 32 bits.

    Raises:
        CodecError: it is absent or of another type.
    """
    if type(value) is not int or not 0 <= value <= 0xFFFFFFFF:
        raise CodecError(f"the field {name} must be an unsigned integer")
    return value


def open_(container: str, *, max_frame: int, channel_max: int, idle_ms: int) -> bytes:
    """An open performative."""
    head = (encode(container), b"\x40", encode(UInt(max_frame)), encode(UShort(channel_max)), encode(UInt(idle_ms)))
    return described(OPEN, encode_list((*head, b"\x40", b"\x40", b"\x40", b"\x40", b"\xc1\x01\x00")))


def begin(remote_channel: int, *, incoming_window: int, outgoing_window: int, handle_max: int) -> bytes:
    """A begin performative that answers the peer's; our transfer ids start at 0."""
    numbers = (UShort(remote_channel), UInt(0), UInt(incoming_window), UInt(outgoing_window), UInt(handle_max))
    return described(BEGIN, encode_list((*map(encode, numbers), b"\x40", b"\x40", b"\xc1\x01\x00")))


def attach(
    name: str,
    handle: int,
    role: bool,
    *,
    snd: int,
    rcv: int,
    source: bytes,
    target: bytes,
    max_message_size: int | None,
    properties: dict[object, object] | None = None,
) -> bytes:
    """An attach performative; `source` and `target` are encoded already."""
    initial = b"\x43" if role is SENDER else b"\x40"
    size = b"\x40" if max_message_size is None else encode(ULong(max_message_size))
    body = (
        encode(name), encode(UInt(handle)), encode(role), bytes((0x50, snd)), bytes((0x50, rcv)), source, target,
        b"\xc1\x01\x00", b"\x42", initial, size, b"\x40", b"\x40", encode(properties or {}),
    )  # fmt: skip
    return described(ATTACH, encode_list(body))


def flow(
    *,
    next_incoming: int,
    incoming_window: int,
    next_outgoing: int,
    outgoing_window: int,
    link: tuple[int, int, int] | None = None,
    available: int = 0,
    drain: bool = False,
) -> bytes:
    """A flow performative; `link` is (handle, delivery-count, credit), or none for the session alone."""
    session = [UInt(number) for number in (next_incoming, incoming_window, next_outgoing, outgoing_window)]
    if link is None:
        return described(FLOW, encode_list((*map(encode, session), *(b"\x40",) * 4, b"\x42", b"\x42", b"\x40")))
    numbers = [encode(number) for number in (*session, *map(UInt, link), UInt(available))]
    return described(FLOW, encode_list((*numbers, b"\x41" if drain else b"\x42", b"\x42", b"\x40")))


_TRANSFER = struct.Struct(">6sBIBIBB16sBIBB5s")


def transfer(handle: int, delivery_id: int, tag: bytes, *, settled: bool, more: bool, message_format: int = 0) -> bytes:
    """A transfer performative with a tag of 16 bytes: one fixed layout, for it is made once a message."""
    return _TRANSFER.pack(
        b"\x00\x53\x14\xc0\x29\x0b", 0x70, handle, 0x70, delivery_id, 0xA0, 16, tag, 0x70, message_format,
        0x41 if settled else 0x42, 0x41 if more else 0x42, b"\x40\x40\x42\x42\x42",
    )  # fmt: skip


ACCEPTED_STATE = b"\x00\x53\x24\x45"
RELEASED_STATE = b"\x00\x53\x26\x45"
REJECTED_STATE = b"\x00\x53\x25\x45"
_DISPOSITION = struct.Struct(">6sBBIBIB")


def rejected(error: AmqpError) -> bytes:
    """The outcome `rejected` with its error."""
    return described(REJECTED, encode_list((error.encode(),)))


def modified(*, delivery_failed: bool, undeliverable_here: bool) -> bytes:
    """The outcome `modified`."""
    return described(MODIFIED, encode_list((encode(delivery_failed), encode(undeliverable_here), b"\x40")))


def disposition(role: bool, first: int, last: int, state: bytes) -> bytes:
    """A settled disposition; `state` is an encoded outcome."""
    if len(state) < 200:
        head = _DISPOSITION.pack(
            bytes((0, 0x53, DISPOSITION, 0xC0, 14 + len(state), 6)),
            0x41 if role else 0x42,
            0x70,
            first,
            0x70,
            last,
            0x41,
        )
        return head + state + b"\x42"
    numbers = (b"\x70" + number.to_bytes(4, "big") for number in (first, last))
    return described(DISPOSITION, encode_list((b"\x41" if role else b"\x42", *numbers, b"\x41", state, b"\x42")))


def runs(outcomes: list[tuple[int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Rows of consecutive numbers with the same outcome, as (first, last, outcome)."""
    found: list[tuple[int, int, bytes]] = []
    for number, state in outcomes:
        if found and found[-1][1] + 1 == number and found[-1][2] == state:
            found[-1] = (found[-1][0], number, state)
        else:
            found.append((number, number, state))
    return found


def detach(handle: int, *, closed: bool, error: AmqpError | None = None) -> bytes:
    """A detach performative."""
    last = b"\x40" if error is None else error.encode()
    return described(DETACH, encode_list((encode(UInt(handle)), encode(closed), last)))


def end(error: AmqpError | None = None) -> bytes:
    """An end performative."""
    return described(END, encode_list((b"\x40" if error is None else error.encode(),)))


def close(error: AmqpError | None = None) -> bytes:
    """A close performative."""
    return described(CLOSE, encode_list((b"\x40" if error is None else error.encode(),)))


def terminus_fields(value: object, code: int, count: int) -> list[object] | None:
    """The padded fields of a source or target; none when it is null or of another kind.

    Raises:
        CodecError: a terminus that is not a list.
    """
    if not isinstance(value, Described) or value.descriptor != code:
        return None
    if not isinstance(value.value, list) or len(value.value) > count:
        raise CodecError("a source or target is not a list of its fields")
    return value.value + [None] * (count - len(value.value))
