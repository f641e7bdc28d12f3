"""Frames: the performatives of a connection to bytes and back, the handshake, and signs of life.

Part 2 of the specification, sections 2.3 and 2.4; SASL is part 5.
"""

from __future__ import annotations

import asyncio
import struct
import time
import uuid
from dataclasses import dataclass
from typing import Any, Final, Protocol

from agent.amqp.codec import AmqpError, Described, Symbol, UInt, UShort, decode, encode

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
ACCEPTED, REJECTED, SOURCE, TARGET, ERROR = 0x24, 0x25, 0x28, 0x29, 0x1D
#: How many transfers either side may have on its way.
WINDOW: Final = 5000
_SASL_MECHANISMS, _SASL_INIT, _SASL_OUTCOME = 0x40, 0x41, 0x44
_AMQP_HEADER, _SASL_HEADER = b"AMQP\x00\x01\x00\x00", b"AMQP\x03\x01\x00\x00"
_MAX_FRAME: Final = 256 * 1024
_IDLE_SECONDS: Final = 60  # what we ask the peer to keep within; silence of twice that is a dead line


class Stream(Protocol):
    """What a connection needs of a TCP, TLS or WebSocket stream."""

    async def readexactly(self, count: int) -> bytes:
        """See `asyncio.StreamReader.readexactly`."""

    def write(self, data: bytes) -> None:
        """See `asyncio.StreamWriter.write`."""

    async def drain(self) -> None:
        """See `asyncio.StreamWriter.drain`."""

    def close(self) -> None:
        """See `asyncio.StreamWriter.close`."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What the other side said of itself when the connection was opened."""

    max_frame: int
    patience_seconds: float  # how long it bears silence; 0 is for ever
    next_incoming: int  # the number of its first transfer


class Frames:
    """The frames of one connection; every method raises `AmqpError` or `OSError` of a line that is broken."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._heard = time.monotonic()

    def write(self, kind: int, fields: list[Any], payload: bytes = b"", *, sasl: bool = False) -> None:
        """Put a performative on its way, and what it carries."""
        body = encode(Described(kind, fields)) + payload
        self._stream.write(struct.pack(">IBBH", len(body) + 8, 2, int(sasl), 0) + body)

    async def drain(self) -> None:
        """Wait until the line has taken what was written."""
        await self._stream.drain()

    def close(self) -> None:
        """Let the line go."""
        self._stream.close()

    async def read(self) -> tuple[int | None, list[Any], bytes]:
        """The next performative, its fields and what it carries; None as its kind is a mere sign of life."""
        size, offset, _, _ = struct.unpack(">IBBH", await self._stream.readexactly(8))
        if not 8 <= size <= _MAX_FRAME or not 2 <= offset <= size // 4:
            raise AmqpError("amqp:framing-error", f"a frame of {size} bytes")
        data = await self._stream.readexactly(size - 8)
        self._heard = time.monotonic()
        body = memoryview(data)[offset * 4 - 8 :]
        if not body:
            return None, [], b""
        performative, at = decode(body)
        if not isinstance(performative, Described) or not isinstance(performative.value, list):
            raise AmqpError("amqp:decode-error", "a frame without a performative")
        # A sender may leave trailing fields out: they are null.
        return int(performative.descriptor), performative.value + [None] * 14, bytes(body[at:])

    async def keep_alive(self, patience_seconds: float) -> None:
        """Empty frames at half of the peer's patience; returns once the peer has been silent for too long."""
        pause = min(patience_seconds / 2, _IDLE_SECONDS) if patience_seconds else _IDLE_SECONDS
        while True:
            await asyncio.sleep(pause)
            if time.monotonic() - self._heard > 2 * _IDLE_SECONDS:
                return
            self._stream.write(struct.pack(">IBBH", 8, 2, 0, 0))

    async def shake_hands(self, host: str) -> Peer:
        """Header, SASL ANONYMOUS, open, begin."""
        await self._sasl(host)
        self._stream.write(_AMQP_HEADER)
        container = f"meridian-agent-{uuid.uuid4()}"
        self.write(OPEN, [container, host, UInt(_MAX_FRAME), UShort(8), UInt(_IDLE_SECONDS * 1000)])
        self.write(BEGIN, [None, UInt(0), UInt(WINDOW), UInt(WINDOW), UInt(16)])
        await self._expect_header(_AMQP_HEADER)
        opened = await self._expect(OPEN)
        begun = await self._expect(BEGIN)
        return Peer(min(_MAX_FRAME, opened[2] or _MAX_FRAME), (opened[4] or 0) / 1000, begun[1] or 0)

    async def _sasl(self, host: str) -> None:
        self._stream.write(_SASL_HEADER)
        await self._expect_header(_SASL_HEADER)
        mechanisms = (await self._expect(_SASL_MECHANISMS))[0]
        offered = mechanisms if isinstance(mechanisms, list) else [mechanisms]
        if "ANONYMOUS" not in offered:
            raise AmqpError("amqp:unauthorized-access", f"the broker offers {offered}, ANONYMOUS is needed")
        self.write(_SASL_INIT, [Symbol("ANONYMOUS"), b"meridian", host], sasl=True)
        outcome = await self._expect(_SASL_OUTCOME)
        if outcome[0] != 0:
            raise AmqpError("amqp:unauthorized-access", f"SASL outcome {outcome[0]}")

    async def _expect_header(self, header: bytes) -> None:
        found = await self._stream.readexactly(8)
        if found != header:
            raise AmqpError("amqp:framing-error", f"{found!r} instead of an AMQP header")

    async def _expect(self, descriptor: int) -> list[Any]:
        while True:
            kind, fields, _ = await self.read()
            if kind == descriptor:
                return fields
            if kind == CLOSE:
                raise told(fields[0])
            if kind is not None:
                raise AmqpError("amqp:framing-error", f"frame 0x{kind:x} where 0x{descriptor:x} belongs")


def silence() -> AmqpError:
    """What a line fails of when `keep_alive` has returned."""
    return AmqpError("amqp:connection:lost", f"silent for {2 * _IDLE_SECONDS} s")


def told(value: Any, otherwise: str = "amqp:internal-error") -> AmqpError:
    """The error that a peer tells in a performative."""
    if isinstance(value, Described) and isinstance(value.value, list) and value.value:
        fields = [*value.value, None]
        return AmqpError(str(fields[0]), str(fields[1] or ""))
    return AmqpError(otherwise)
