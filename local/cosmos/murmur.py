"""MurmurHash3 (public domain, Austin Appleby, https://github.com/aappleby/smhasher), as Cosmos uses it."""

from __future__ import annotations

_M64 = 0xFFFFFFFFFFFFFFFF
_C1 = 0x87C37B91114253D5
_C2 = 0x4CF5AD432745937F


def _rotl64(value: int, shift: int) -> int:
    return ((value << shift) | (value >> (64 - shift))) & _M64


def _mix64(value: int) -> int:
    value ^= value >> 33
    value = value * 0xFF51AFD7ED558CCD & _M64
    value ^= value >> 33
    value = value * 0xC4CEB9FE1A85EC53 & _M64
    return value ^ value >> 33


def _scramble1(block: int) -> int:
    return _rotl64(block * _C1 & _M64, 31) * _C2 & _M64


def _scramble2(block: int) -> int:
    return _rotl64(block * _C2 & _M64, 33) * _C1 & _M64


def murmur3_128(data: bytes) -> tuple[int, int]:
    """The x64 128-bit variant with seed 0: (low, high) halves."""
    h1 = h2 = 0
    whole = len(data) & ~15
    for at in range(0, whole, 16):
        h1 ^= _scramble1(int.from_bytes(data[at : at + 8], "little"))
        h1 = ((_rotl64(h1, 27) + h2) * 5 + 0x52DCE729) & _M64
        h2 ^= _scramble2(int.from_bytes(data[at + 8 : at + 16], "little"))
        h2 = ((_rotl64(h2, 31) + h1) * 5 + 0x38495AB5) & _M64
    tail = data[whole:]
    h2 ^= _scramble2(int.from_bytes(tail[8:], "little"))
    h1 ^= _scramble1(int.from_bytes(tail[:8], "little"))
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = (h1 + h2) & _M64
    h2 = (h2 + h1) & _M64
    h1, h2 = _mix64(h1), _mix64(h2)
    h1 = (h1 + h2) & _M64
    h2 = (h2 + h1) & _M64
    return h1, h2
