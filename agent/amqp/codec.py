"""The AMQP 1.0 type system (part 1 of the specification): values to bytes and back."""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

MAX_DEPTH: Final = 32


class AmqpError(Exception):
    """The peer said something that cannot be understood, refused us, or went away. `condition` is its own word for it."""

    def __init__(self, condition: str, description: str = "") -> None:
        super().__init__(f"{condition}: {description}" if description else condition)
        self.condition, self.description = condition, description


class Symbol(str):
    """A symbolic value: ASCII from a constrained set."""

    __slots__ = ()


class UByte(int):
    """Unsigned, 8 bits."""


class UShort(int):
    """Unsigned, 16 bits."""


class UInt(int):
    """Unsigned, 32 bits."""


class ULong(int):
    """Unsigned, 64 bits."""


@dataclass(frozen=True, slots=True)
class Described:
    """A value with what it means; for the protocol's own composites the descriptor is a number."""

    descriptor: int | str
    value: Any


def encode(value: Any) -> bytes:
    """The encoding of a value. Python's int is AMQP's long, str is string, bytes binary, dict map, list list."""
    if value is None:
        return b"\x40"
    if isinstance(value, Described):
        return b"\x00" + encode(ULong(value.descriptor)) + encode(value.value)
    encoder = _ENCODERS.get(type(value))
    if encoder is None:
        raise TypeError(f"no AMQP encoding for {type(value).__name__}")
    encoded: bytes = encoder(value)
    return encoded


def _variable(small: int, large: int, raw: bytes) -> bytes:
    if len(raw) < 256:
        return bytes((small, len(raw))) + raw
    return struct.pack(">BI", large, len(raw)) + raw


def _compound(code: int, items: list[bytes]) -> bytes:
    body = b"".join(items)
    return struct.pack(">BII", code, len(body) + 4, len(items)) + body


def _map(value: dict[Any, Any]) -> bytes:
    return _compound(0xD1, [encode(part) for pair in value.items() for part in pair])


_ENCODERS: Final[dict[type[Any], Any]] = {
    bool: lambda value: b"\x41" if value else b"\x42",
    UByte: lambda value: struct.pack(">BB", 0x50, value),
    UShort: lambda value: struct.pack(">BH", 0x60, value),
    UInt: lambda value: b"\x43" if value == 0 else struct.pack(">BI", 0x70, value),
    ULong: lambda value: struct.pack(">BB", 0x53, value) if 0 < value < 256 else struct.pack(">BQ", 0x80, value),
    int: lambda value: struct.pack(">Bq", 0x81, value),
    float: lambda value: struct.pack(">Bd", 0x82, value),
    datetime: lambda value: struct.pack(">Bq", 0x83, int(value.timestamp() * 1000)),
    uuid.UUID: lambda value: b"\x98" + value.bytes,
    bytes: lambda value: _variable(0xA0, 0xB0, value),
    str: lambda value: _variable(0xA1, 0xB1, value.encode()),
    Symbol: lambda value: _variable(0xA3, 0xB3, value.encode()),
    list: lambda value: _compound(0xD0, [encode(item) for item in value]) if value else b"\x45",
    dict: _map,
}

_FIXED: Final[dict[int, str]] = {
    0x50: ">B", 0x51: ">b", 0x52: ">B", 0x53: ">B", 0x54: ">b", 0x55: ">b",
    0x60: ">H", 0x61: ">h", 0x70: ">I", 0x71: ">i", 0x72: ">f", 0x73: ">I",
    0x80: ">Q", 0x81: ">q", 0x82: ">d",
}  # fmt: skip
_CONSTANTS: Final[dict[int, Any]] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}


def decode(data: memoryview, at: int = 0, depth: int = 0) -> tuple[Any, int]:
    """The value at `at`, and where the next begins.

    Raises:
        AmqpError: `amqp:decode-error`.
    """
    try:
        return _decode(data, at, depth)
    except (struct.error, IndexError, UnicodeDecodeError, OverflowError, ValueError, TypeError) as error:
        raise AmqpError("amqp:decode-error", str(error)) from None


def _decode(data: memoryview, at: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise AmqpError("amqp:decode-error", f"nested deeper than {MAX_DEPTH}")
    code = data[at]
    at += 1
    if code == 0x00:
        descriptor, at = _decode(data, at, depth + 1)
        value, at = _decode(data, at, depth + 1)
        return Described(descriptor, value), at
    return _decode_code(data, at, code, depth)


def _decode_code(data: memoryview, at: int, code: int, depth: int) -> tuple[Any, int]:
    if code in _CONSTANTS:
        return _CONSTANTS[code], at
    if code == 0x45:
        return [], at
    if code == 0x56:
        return data[at] == 1, at + 1
    if code in _FIXED:
        size = struct.calcsize(_FIXED[code])
        return struct.unpack_from(_FIXED[code], data, at)[0], at + size
    if code == 0x83:
        return _time(struct.unpack_from(">q", data, at)[0]), at + 8
    if code == 0x98:
        return uuid.UUID(bytes=bytes(data[at : at + 16])), at + 16
    if 0xA0 <= code <= 0xB3:
        return _decode_variable(data, at, code)
    if 0xC0 <= code <= 0xF0:
        return _decode_compound(data, at, code, depth)
    raise AmqpError("amqp:decode-error", f"unknown type 0x{code:02x}")


def _time(milliseconds: int) -> datetime:
    # Service Bus tells "never" as a moment beyond the year 9999.
    return datetime.fromtimestamp(max(0, min(milliseconds, 253_402_300_799_000)) / 1000, UTC)


def _decode_variable(data: memoryview, at: int, code: int) -> tuple[Any, int]:
    size, at = (data[at], at + 1) if code < 0xB0 else (struct.unpack_from(">I", data, at)[0], at + 4)
    if at + size > len(data):
        raise AmqpError("amqp:decode-error", f"{size} bytes announced, {len(data) - at} there")
    raw = bytes(data[at : at + size])
    at += size
    if code in (0xA0, 0xB0):
        return raw, at
    return (Symbol(raw.decode("ascii")) if code in (0xA3, 0xB3) else raw.decode()), at


def _decode_compound(data: memoryview, at: int, code: int, depth: int) -> tuple[Any, int]:
    width = ">B" if code in (0xC0, 0xC1, 0xE0) else ">I"
    step = struct.calcsize(width)
    size, count = struct.unpack_from(width, data, at)[0], struct.unpack_from(width, data, at + step)[0]
    end, at = at + step + size, at + 2 * step
    if end > len(data) or count > size:
        raise AmqpError("amqp:decode-error", f"a compound of {count} in {size} bytes")
    items: list[Any] = []
    if code in (0xE0, 0xF0):
        inner, at = data[at], at + 1
        for _ in range(count):
            item, at = _decode_code(data, at, inner, depth + 1)
            items.append(item)
        return items, end
    for _ in range(count):
        item, at = _decode(data, at, depth + 1)
        items.append(item)
    if code in (0xC1, 0xD1):
        return dict(zip(items[::2], items[1::2], strict=True)), end
    return items, end
