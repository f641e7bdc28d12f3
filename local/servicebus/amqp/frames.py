"""Frames (AMQP 1.0, part 2.3): cutting a byte stream into frames, and putting a frame around a body."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from local.servicebus.amqp.types import CodecError

HEADER_AMQP = b"AMQP\x00\x01\x00\x00"
HEADER_SASL = b"AMQP\x03\x01\x00\x00"
MIN_FRAME = 512  # every peer must take frames of this size (part 2.7.1)
TYPE_AMQP, TYPE_SASL = 0, 1

_HEADER = struct.Struct(">IBBH")


def frame(channel: int, body: bytes, kind: int = TYPE_AMQP) -> bytes:
    """A whole frame."""
    return _HEADER.pack(len(body) + 8, 2, kind, channel) + body


EMPTY_FRAME = frame(0, b"")


class FrameReader:
    """Gathers received bytes and yields (type, channel, body).

    Raises:
        CodecError: a frame is larger than agreed or malformed; the stream cannot be read further.
    """

    def __init__(self, max_frame: int) -> None:
        self.max_frame = max_frame
        self._rest = b""

    def begins_like(self, start: bytes) -> bool:
        """Whether what is here so far could be the beginning of `start` and what follows it."""
        return self._rest[: len(start)] == start[: len(self._rest)]

    def take(self, size: int) -> bytes | None:
        """The first `size` bytes if they are all here (protocol headers)."""
        if len(self._rest) < size:
            return None
        head, self._rest = self._rest[:size], self._rest[size:]
        return head

    def feed(self, data: bytes) -> None:
        """Add received bytes."""
        self._rest = self._rest + data if self._rest else data

    def frames(self) -> Iterator[tuple[int, int, bytes]]:
        """All whole frames. What follows an abandoned iteration is kept."""
        at, data = 0, self._rest
        try:
            while len(data) - at >= 8:
                size, offset, kind, channel = _HEADER.unpack_from(data, at)
                if size > self.max_frame:
                    raise CodecError(f"a frame of {size} bytes; at most {self.max_frame} are agreed")
                if offset < 2 or offset * 4 > size:
                    raise CodecError("a frame's header is malformed")
                if len(data) - at < size:
                    return
                start, at = at + offset * 4, at + size
                yield kind, channel, data[start:at]
        finally:
            if at:
                self._rest = data[at:]
