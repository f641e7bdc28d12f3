"""Values to bytes."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterable

from local.servicebus.amqp.types import Array, Described, Int, Raw, Symbol, Timestamp, UByte, UInt, ULong, UShort

_PACK_I = struct.Struct(">I").pack
_PACK_II = struct.Struct(">II").pack
_LONG = struct.Struct(">Bq").pack
_INT = struct.Struct(">Bi").pack
_UINT = struct.Struct(">BI").pack
_ULONG = struct.Struct(">BQ").pack
_USHORT = struct.Struct(">BH").pack
_DOUBLE = struct.Struct(">Bd").pack


def encode(value: object) -> bytes:
    """Encode one value.

    Raises:
        TypeError: there is no AMQP type for this Python type.
    """
    encoder = _TABLE.get(type(value))
    if encoder is None:
        raise TypeError(f"no AMQP type for {type(value).__name__}")
    return encoder(value)


def encode_list(items: Iterable[bytes]) -> bytes:
    """A list of items that are encoded already, with a 32-bit header when it is long."""
    parts = list(items)
    if not parts:
        return b"\x45"
    return compound(0xC0, 0xD0, len(parts), b"".join(parts))


def compound(small: int, large: int, count: int, body: bytes) -> bytes:
    """A list or map around an encoded body, with the shorter of its two constructors."""
    if count < 256 and len(body) < 255:
        return bytes((small, len(body) + 1, count)) + body
    return bytes((large,)) + _PACK_II(len(body) + 4, count) + body


def described(code: int, body: bytes) -> bytes:
    """A value under a small-ulong descriptor: the only form the SDK reads quickly."""
    return bytes((0, 0x53, code)) + body


def binary(raw: bytes) -> bytes:
    """A binary value."""
    return _bytes(0xA0, 0xB0, raw)


def _bytes(small: int, large: int, raw: bytes) -> bytes:
    if len(raw) < 256:
        return bytes((small, len(raw))) + raw
    return bytes((large,)) + _PACK_I(len(raw)) + raw


def _array(value: Array) -> bytes:
    """Items share one wide constructor, so that one width fits them all."""
    code, width = _ARRAY_ITEM[value.kind]
    body = b"".join(encode_wide(item) for item in value.items) if width else b"".join(map(_text_item, value.items))
    return b"\xf0" + _PACK_II(len(body) + 5, len(value.items)) + bytes((code,)) + body


def encode_wide(item: object) -> bytes:
    """An array item of a fixed-width type, without its constructor."""
    if isinstance(item, uuid.UUID):
        return item.bytes
    assert isinstance(item, int)
    return struct.pack(">q", item)


def _text_item(item: object) -> bytes:
    raw = str(item).encode()
    return _PACK_I(len(raw)) + raw


_ARRAY_ITEM: dict[type, tuple[int, bool]] = {
    uuid.UUID: (0x98, True),
    int: (0x81, True),
    Timestamp: (0x83, True),
    str: (0xB1, False),
    Symbol: (0xB3, False),
}


def _map(value: dict[object, object]) -> bytes:
    body = b"".join(encode(key) + encode(item) for key, item in value.items())
    return compound(0xC1, 0xD1, 2 * len(value), body)


_TABLE: dict[type, Callable[..., bytes]] = {
    type(None): lambda _value: b"\x40",
    bool: lambda value: b"\x41" if value else b"\x42",
    int: lambda value: _LONG(0x81, value),
    Int: lambda value: _INT(0x71, value),
    UInt: lambda value: _UINT(0x70, value) if value else b"\x43",
    ULong: lambda value: _ULONG(0x80, value) if value > 255 else bytes((0x53, value)),
    UShort: lambda value: _USHORT(0x60, value),
    UByte: lambda value: bytes((0x50, value)),
    Timestamp: lambda value: _LONG(0x83, value),
    float: lambda value: _DOUBLE(0x82, value),
    bytes: binary,
    str: lambda value: _bytes(0xA1, 0xB1, value.encode()),
    Symbol: lambda value: _bytes(0xA3, 0xB3, value.encode("ascii")),
    uuid.UUID: lambda value: b"\x98" + value.bytes,
    list: lambda value: encode_list(encode(item) for item in value),
    dict: _map,
    Array: _array,
    Raw: lambda value: value.encoded,
    Described: lambda value: b"\x00" + encode(value.descriptor) + encode(value.value),
}
