"""The codec: what is encoded comes back, and no bytes whatever do worse than raise CodecError."""

from __future__ import annotations

import random
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.decode import MAX_DEPTH, decode, skip
from local.servicebus.amqp.encode import compound, encode
from local.servicebus.amqp.frames import FrameReader, frame
from local.servicebus.amqp.types import Array, CodecError, Described, Int, Symbol, Timestamp, UByte, UInt, ULong, UShort

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False),
    st.binary(max_size=400),
    st.text(max_size=100),
    st.uuids(),
    st.integers(0, (1 << 32) - 1).map(UInt),
    st.integers(0, (1 << 64) - 1).map(ULong),
    st.integers(0, 255).map(UByte),
    st.integers(0, 65535).map(UShort),
    st.integers(-(1 << 31), (1 << 31) - 1).map(Int),
    st.integers(-(1 << 63), (1 << 63) - 1).map(Timestamp),
    st.text("abc:-.", max_size=40).map(Symbol),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.text(max_size=10), inner, max_size=6)
        | st.builds(Described, st.integers(0, 255).map(ULong), inner)
    ),
    max_leaves=30,
)


@given(VALUES)
def test_values_come_back(value: object) -> None:
    encoded = encode(value)
    assert decode(encoded) == (value, len(encoded))
    assert skip(encoded, 0) == len(encoded)


@pytest.mark.parametrize(
    ("kind", "items"),
    [
        (uuid.UUID, [uuid.UUID(int=7)]),
        (int, [1, -(1 << 60)]),
        (Timestamp, [0, 1_700_000_000_000]),
        (str, ["a", "ü" * 300]),
        (Symbol, ["ANONYMOUS", "PLAIN"]),
        (str, []),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(len(value)),
)
def test_arrays_come_back(kind: type, items: list[object]) -> None:
    encoded = encode(Array(kind, items))
    assert decode(encoded) == (items, len(encoded))
    assert skip(encoded, 0) == len(encoded)


@given(VALUES, st.data())
def test_cut_short_is_refused(value: object, data: st.DataObject) -> None:
    encoded = encode(value)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(CodecError):
        decode(encoded[:cut])
    with pytest.raises(CodecError):
        skip(encoded[:cut], 0)


@settings(max_examples=1500)
@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    for read in (lambda: decode(data), lambda: skip(data, 0), lambda: p.parse(data)):
        try:
            read()
        except CodecError:
            continue


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a list that counts four thousand million items", b"\xd0\x00\x00\x00\x08\xff\xff\xff\xff\x40\x40\x40\x40"),
        ("an array that counts more than it has", b"\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x81"),
        ("a binary of two gigabytes", b"\xb0\x7f\xff\xff\xffx"),
        ("a map with a key alone", b"\xc1\x02\x01\x40"),
        ("a map whose key is a list", b"\xc1\x03\x02\x45\x40"),
        ("text that is not UTF-8", b"\xa1\x02\xff\xfe"),
        ("an unknown constructor", b"\x3f"),
        ("nothing", b""),
        ("nested too deep", b"\xc0\x60\x01" * (MAX_DEPTH + 2) + b"\x40" * 0x60),
        ("described without end", b"\x00" * 5000),
    ],
)
def test_lies_are_refused(name: str, data: bytes) -> None:
    with pytest.raises(CodecError):
        decode(data)


def test_performatives_have_all_their_fields_and_errors_all_three() -> None:
    error = p.AmqpError("amqp:not-found")
    for body, code in (
        (p.open_("c", max_frame=512, channel_max=1, idle_ms=0), p.OPEN),
        (p.begin(1, incoming_window=1, outgoing_window=1, handle_max=1), p.BEGIN),
        (p.attach("n", 1, True, snd=0, rcv=0, source=b"\x40", target=b"\x40", max_message_size=None), p.ATTACH),
        (p.flow(next_incoming=0, incoming_window=1, next_outgoing=0, outgoing_window=1), p.FLOW),
        (p.transfer(1, 2, bytes(16), settled=True, more=False), p.TRANSFER),
        (p.disposition(True, 1, 2, p.ACCEPTED_STATE), p.DISPOSITION),
        (p.disposition(True, 1, 2, p.rejected(p.AmqpError("x", "y" * 500))), p.DISPOSITION),
        (p.detach(1, closed=True, error=error), p.DETACH),
        (p.end(error), p.END),
        (p.close(error), p.CLOSE),
    ):
        fields, end = decode(body, 3)
        assert (body[2], len(fields), end) == (code, p.FIELDS[code], len(body))  # type: ignore[arg-type]
    assert decode(error.encode())[0] == Described(p.ERROR, ["amqp:not-found", "", {}])


def test_a_transfer_says_what_it_was_given() -> None:
    code, fields, at = p.parse(p.transfer(3, 9, b"t" * 16, settled=False, more=True, message_format=7) + b"payload")
    assert (code, at) == (p.TRANSFER, 46)
    assert fields[:6] == [3, 9, b"t" * 16, 7, False, True]


def test_runs_join_neighbours_with_the_same_outcome() -> None:
    assert p.runs([(1, b"a"), (2, b"a"), (3, b"b"), (5, b"b"), (6, b"b")]) == [(1, 2, b"a"), (3, 3, b"b"), (5, 6, b"b")]


def test_termini_are_found_whatever_the_width_of_the_list() -> None:
    for padding in (b"", b"\xa1\xff" + b"x" * 255):
        name = padding or b"\xa1\x01n"
        items = [name, b"\x43", b"\x41", b"\x40", b"\x40", b"\x00\x53\x28\x45", b"\x00\x53\x29\x45"]
        body = b"\x00\x53\x12" + compound(0xC0, 0xD0, len(items), b"".join(items))
        assert p.attach_termini(body) == (b"\x00\x53\x28\x45", b"\x00\x53\x29\x45")


def test_frames_are_found_however_the_stream_is_cut() -> None:
    rng, bodies = random.Random(1), [bytes([n]) * n for n in (0, 1, 5, 250, 40)]
    stream = b"".join(frame(n, body) for n, body in enumerate(bodies))
    for _ in range(50):
        reader, found, at = FrameReader(1000), [], 0
        while at < len(stream):
            step = rng.randrange(1, 60)
            reader.feed(stream[at : at + step])
            found.extend(reader.frames())
            at += step
        assert found == [(0, n, body) for n, body in enumerate(bodies)]


@pytest.mark.parametrize(
    ("name", "data"),
    [("too large", b"\x00\x01\x00\x00\x02\x00\x00\x00"), ("header inside itself", b"\x00\x00\x00\x09\x01\x00\x00\x00x"),
     ("data beyond the frame", b"\x00\x00\x00\x09\x05\x00\x00\x00x")],
)  # fmt: skip
def test_bad_frames_are_refused(name: str, data: bytes) -> None:
    reader = FrameReader(1000)
    reader.feed(data)
    with pytest.raises(CodecError):
        list(reader.frames())
