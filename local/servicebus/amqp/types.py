"""Values that plain Python types cannot tell apart on the wire (AMQP 1.0, part 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class CodecError(ValueError):
    """The peer sent bytes that are not AMQP 1.0, or go beyond a bound of ours."""


class Symbol(str):
    """An ASCII name from a constrained domain."""

    __slots__ = ()


class UByte(int):
    """8 bits, unsigned."""

    __slots__ = ()


class UShort(int):
    """16 bits, unsigned."""

    __slots__ = ()


class UInt(int):
    """32 bits, unsigned."""

    __slots__ = ()


class ULong(int):
    """64 bits, unsigned."""

    __slots__ = ()


class Int(int):
    """32 bits, signed. A plain `int` is encoded as a 64-bit long."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since 1970-01-01T00:00:00Z."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A value with a descriptor that gives it meaning."""

    descriptor: object
    value: object


@dataclass(frozen=True, slots=True)
class Array:
    """Items of one type under one constructor. `kind` is the Python type of every item, told even of an empty array."""

    kind: type
    items: Sequence[object]


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that are an encoded value already, sent on as they came."""

    encoded: bytes
