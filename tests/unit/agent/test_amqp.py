"""The AMQP types and messages, and what a broken peer can send."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.amqp.codec import AmqpError, Described, Symbol, UByte, UInt, ULong, UShort, decode, encode
from agent.amqp.messages import Message, decode_message

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.binary(max_size=300)
    | st.text(max_size=300)
    | st.floats(allow_nan=False)
    | st.uuids()
    | st.integers(0, 255).map(UByte)
    | st.integers(0, 65_535).map(UShort)
    | st.integers(0, 2**32 - 1).map(UInt)
    | st.integers(0, 2**64 - 1).map(ULong)
    | st.text("abc-:", max_size=300).map(Symbol),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=15,
)


@given(VALUES)
def test_what_is_encoded_is_decoded(value: Any) -> None:
    found, end = decode(memoryview(encode(value)))
    assert found == value
    assert end == len(encode(value))


@given(st.binary(max_size=200))
def test_noise_is_an_error_and_nothing_else(noise: bytes) -> None:
    try:
        decode(memoryview(noise))
        decode_message(noise)
    except AmqpError as error:
        assert error.condition == "amqp:decode-error"  # noqa: PT017  # any other exception fails the test by itself


def test_a_message_comes_out_as_it_went_in() -> None:
    sent = Message(b"x" * 70_000, uuid.uuid4(), "subject", application={"node": "n", "count": 3})
    found = decode_message(sent.encode())
    assert (found.body, found.id, found.subject, found.application) == (sent.body, sent.id, "subject", sent.application)


@pytest.mark.parametrize(
    "data",
    [
        b"\xd0\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xb0\xff\xff\xff\xff",
        b"\xc0\x02\xff",
        b"\x00" * 100,
        b"\xc1\x03\x01\x40\x40",
    ],
)
def test_sizes_that_lie_are_refused(data: bytes) -> None:
    with pytest.raises(AmqpError):
        decode(memoryview(data))


def test_times_beyond_the_calendar_are_cut() -> None:
    never, _ = decode(memoryview(b"\x83" + (2**62).to_bytes(8, "big")))
    assert never == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def test_a_described_value_keeps_its_descriptor() -> None:
    found, _ = decode(memoryview(encode(Described(0x28, ["queue", None]))))
    assert found == Described(0x28, ["queue", None])
