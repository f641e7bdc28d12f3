"""Bytes to values. Every length is checked against what was received before anything is built from it."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable

from local.servicebus.amqp.types import CodecError, Described, Symbol, Timestamp, ULong

MAX_DEPTH = 32  # no message of the Service Bus protocol nests deeper than 6

Decoder = Callable[[bytes, int, int], tuple[object, int]]

_UNPACK_H = struct.Struct(">H").unpack_from
_UNPACK_I = struct.Struct(">I").unpack_from
_UNPACK_Q = struct.Struct(">Q").unpack_from


def decode(buffer: bytes, offset: int = 0) -> tuple[object, int]:
    """Decode one value.

    Returns:
        The value, and the offset of the byte after it.

    Raises:
        CodecError: the bytes are no AMQP value, or end too early.
    """
    try:
        return _value(buffer, offset, 0)
    except (IndexError, struct.error):
        raise CodecError("the value ends before its declared length") from None


def skip(buffer: bytes, offset: int) -> int:
    """The offset after the value that begins at `offset`, found from its constructor alone.

    Raises:
        CodecError: the value would reach beyond the buffer.
    """
    try:
        code = buffer[offset]
        kind = _SHAPE[code >> 4]
        if kind == _ONE_BYTE_SIZE:
            end = offset + 2 + buffer[offset + 1]
        elif kind == _FOUR_BYTE_SIZE:
            end = offset + 5 + int(_UNPACK_I(buffer, offset + 1)[0])
        elif kind >= 0:
            end = offset + 1 + kind
        elif code == 0:
            return skip(buffer, skip(buffer, offset + 1))
        else:
            raise CodecError(f"unknown type constructor 0x{code:02x}")
    except (IndexError, struct.error, RecursionError):
        raise CodecError("the value ends before its declared length") from None
    if end > len(buffer):
        raise CodecError("the value ends before its declared length")
    return end


# By the high half of a constructor: a fixed width in bytes, or how many bytes tell the width (AMQP 1.0, part 1.2).
_ONE_BYTE_SIZE, _FOUR_BYTE_SIZE, _NONE = 100, 101, -1
_SHAPE = (
    _NONE, _NONE, _NONE, _NONE, 0, 1, 2, 4, 8, 16,
    _ONE_BYTE_SIZE, _FOUR_BYTE_SIZE, _ONE_BYTE_SIZE, _FOUR_BYTE_SIZE, _ONE_BYTE_SIZE, _FOUR_BYTE_SIZE,
)  # fmt: skip


def _value(buffer: bytes, i: int, depth: int) -> tuple[object, int]:
    decoder = _TABLE[buffer[i]]
    if decoder is None:
        raise CodecError(f"unknown type constructor 0x{buffer[i]:02x}")
    return decoder(buffer, i + 1, depth)


def _constant(value: object) -> Decoder:
    return lambda _buffer, i, _depth: (value, i)


def _struct(form: str, make: Callable[[int], object] | None = None) -> Decoder:
    unpack, size = struct.Struct(">" + form).unpack_from, struct.calcsize(">" + form)
    if make is None:
        return lambda buffer, i, _depth: (unpack(buffer, i)[0], i + size)
    return lambda buffer, i, _depth: (make(unpack(buffer, i)[0]), i + size)


def _uint8(buffer: bytes, i: int, _depth: int) -> tuple[object, int]:
    return buffer[i], i + 1


def _ulong8(buffer: bytes, i: int, _depth: int) -> tuple[object, int]:
    return ULong(buffer[i]), i + 1


def _boolean(buffer: bytes, i: int, _depth: int) -> tuple[object, int]:
    return buffer[i] != 0, i + 1


def _slice(buffer: bytes, i: int, size: int) -> bytes:
    end = i + size
    if end > len(buffer):
        raise CodecError("the value ends before its declared length")
    return buffer[i:end]


def _fixed_bytes(size: int) -> Decoder:
    return lambda buffer, i, _depth: (_slice(buffer, i, size), i + size)


def _uuid(buffer: bytes, i: int, _depth: int) -> tuple[object, int]:
    return uuid.UUID(bytes=_slice(buffer, i, 16)), i + 16


def _variable(wide: bool, make: Callable[[bytes], object]) -> Decoder:
    def small(buffer: bytes, i: int, _depth: int) -> tuple[object, int]:
        size = buffer[i]
        return make(_slice(buffer, i + 1, size)), i + 1 + size

    def large(buffer: bytes, i: int, _depth: int) -> tuple[object, int]:
        size = int(_UNPACK_I(buffer, i)[0])
        return make(_slice(buffer, i + 4, size)), i + 4 + size

    return large if wide else small


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise CodecError("a string is not UTF-8") from None


def _symbol(raw: bytes) -> Symbol:
    try:
        return Symbol(raw.decode("ascii"))
    except UnicodeDecodeError:
        raise CodecError("a symbol is not ASCII") from None


def _header(buffer: bytes, i: int, wide: bool) -> tuple[int, int, int]:
    """Offset of the first item, the end and the count of a compound value."""
    if wide:
        size, count, start = int(_UNPACK_I(buffer, i)[0]), int(_UNPACK_I(buffer, i + 4)[0]), i + 8
        end = i + 4 + size
    else:
        size, count, start = buffer[i], buffer[i + 1], i + 2
        end = i + 1 + size
    if end > len(buffer) or start > end:
        raise CodecError("a list, map or array ends before its declared length")
    return start, end, count


def _list(wide: bool) -> Decoder:
    def decoder(buffer: bytes, i: int, depth: int) -> tuple[object, int]:
        start, end, count = _header(buffer, i, wide)
        # An item takes at least its constructor byte, so the count is bounded by the bytes that are there.
        if depth >= MAX_DEPTH or count > end - start:
            raise CodecError("a list is nested too deep, or counts more items than it has bytes")
        items, at, depth = [], start, depth + 1
        table = _TABLE
        for _ in range(count):
            item = table[buffer[at]]
            if item is None:
                raise CodecError(f"unknown type constructor 0x{buffer[at]:02x}")
            value, at = item(buffer, at + 1, depth)
            items.append(value)
        if at > end:
            raise CodecError("a list's items reach beyond its declared length")
        return items, end

    return decoder


def _map(wide: bool) -> Decoder:
    as_list = _list(wide)

    def decoder(buffer: bytes, i: int, depth: int) -> tuple[object, int]:
        flat, end = as_list(buffer, i, depth)
        assert isinstance(flat, list)
        if len(flat) % 2:
            raise CodecError("a map has a key without a value")
        try:
            return dict(zip(flat[::2], flat[1::2], strict=True)), end
        except TypeError:
            raise CodecError("a map's key is a list or a map") from None

    return decoder


def _array(wide: bool) -> Decoder:
    def decoder(buffer: bytes, i: int, depth: int) -> tuple[object, int]:
        start, end, count = _header(buffer, i, wide)
        if depth >= MAX_DEPTH or count > end - i:
            raise CodecError("an array is nested too deep, or counts more items than it has bytes")
        if start == end:
            return [], end
        code, at = buffer[start], start + 1
        item = _TABLE[code]
        if code == 0 or item is None:
            raise CodecError("an array of described values is not used by this protocol")
        items = []
        for _ in range(count):
            value, at = item(buffer, at, depth + 1)
            items.append(value)
        if at > end:
            raise CodecError("an array's items reach beyond its declared length")
        return items, end

    return decoder


def _described(buffer: bytes, i: int, depth: int) -> tuple[object, int]:
    if depth >= MAX_DEPTH:
        raise CodecError("a value is nested too deep")
    descriptor, at = _value(buffer, i, depth + 1)
    value, at = _value(buffer, at, depth + 1)
    return Described(descriptor, value), at


_TABLE: list[Decoder | None] = [None] * 256
_TABLE[0x00] = _described
_TABLE[0x40] = _constant(None)
_TABLE[0x41] = _constant(True)
_TABLE[0x42] = _constant(False)
_TABLE[0x43] = _constant(0)
_TABLE[0x44] = _constant(ULong(0))
_TABLE[0x45] = lambda _buffer, i, _depth: ([], i)
_TABLE[0x50] = _uint8  # ubyte
_TABLE[0x51] = _struct("b")  # byte
_TABLE[0x52] = _uint8  # uint
_TABLE[0x53] = _ulong8
_TABLE[0x54] = _struct("b")  # int
_TABLE[0x55] = _struct("b")  # long
_TABLE[0x56] = _boolean
_TABLE[0x60] = _struct("H")
_TABLE[0x61] = _struct("h")
_TABLE[0x70] = _struct("I")
_TABLE[0x71] = _struct("i")
_TABLE[0x72] = _struct("f")
_TABLE[0x73] = _fixed_bytes(4)  # char, as its UTF-32 bytes
_TABLE[0x74] = _fixed_bytes(4)  # decimals are carried, never computed with
_TABLE[0x80] = _struct("Q", ULong)
_TABLE[0x81] = _struct("q")
_TABLE[0x82] = _struct("d")
_TABLE[0x83] = _struct("q", Timestamp)
_TABLE[0x84] = _fixed_bytes(8)
_TABLE[0x94] = _fixed_bytes(16)
_TABLE[0x98] = _uuid
_TABLE[0xA0] = _variable(False, bytes)
_TABLE[0xA1] = _variable(False, _text)
_TABLE[0xA3] = _variable(False, _symbol)
_TABLE[0xB0] = _variable(True, bytes)
_TABLE[0xB1] = _variable(True, _text)
_TABLE[0xB3] = _variable(True, _symbol)
_TABLE[0xC0] = _list(False)
_TABLE[0xC1] = _map(False)
_TABLE[0xD0] = _list(True)
_TABLE[0xD1] = _map(True)
_TABLE[0xE0] = _array(False)
_TABLE[0xF0] = _array(True)
