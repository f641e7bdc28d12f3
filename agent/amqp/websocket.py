"""AMQP over WebSocket (RFC 6455), for networks that let nothing but HTTPS out. Binary frames, subprotocol AMQPWSB10."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import struct
from typing import Final

from agent.amqp.codec import AmqpError

PATH: Final = "/$servicebus/websocket"
_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_FRAME: Final = 1024 * 1024
_BINARY, _CLOSE, _PING, _PONG = 0x2, 0x8, 0x9, 0xA


class WebSocket:
    """A byte stream inside a WebSocket: `readexactly` and `write`, as asyncio's own streams have them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._buffer = bytearray()

    @classmethod
    async def open(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> WebSocket:
        """Shake hands.

        Raises:
            AmqpError: the other side does not speak this.
        """
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {PATH} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: AMQPWSB10\r\n\r\n".encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        expected = base64.b64encode(hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()).decode()
        if " 101 " not in f"{status} " or headers.get("sec-websocket-accept") != expected:
            raise AmqpError("websocket:refused", status[:100])
        return cls(reader, writer)

    def write(self, data: bytes) -> None:
        """Send as one masked binary frame."""
        self._send(_BINARY, data)

    def _send(self, opcode: int, data: bytes) -> None:
        mask = os.urandom(4)
        size = len(data)
        if size < 126:
            head = struct.pack(">BB", 0x80 | opcode, 0x80 | size)
        elif size < 65_536:
            head = struct.pack(">BBH", 0x80 | opcode, 0x80 | 126, size)
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, 0x80 | 127, size)
        whole = int.from_bytes((mask * (size // 4 + 1))[:size], "big") ^ int.from_bytes(data, "big")
        self._writer.write(head + mask + whole.to_bytes(size, "big"))

    async def drain(self) -> None:
        """See `asyncio.StreamWriter.drain`."""
        await self._writer.drain()

    def close(self) -> None:
        """See `asyncio.StreamWriter.close`."""
        if not self._writer.is_closing():
            self._send(_CLOSE, struct.pack(">H", 1000))
        self._writer.close()

    async def readexactly(self, count: int) -> bytes:
        """See `asyncio.StreamReader.readexactly`: frames' borders do not matter to AMQP."""
        while len(self._buffer) < count:
            await self._read_frame()
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def _read_frame(self) -> None:
        first, second = await self._reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            size = struct.unpack(">H", await self._reader.readexactly(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", await self._reader.readexactly(8))[0]
        if second & 0x80 or size > _MAX_FRAME:
            raise AmqpError("websocket:protocol-error", f"a frame of {size} bytes, or a masked one")
        data = await self._reader.readexactly(size)
        opcode = first & 0x0F
        if opcode == _CLOSE:
            raise asyncio.IncompleteReadError(b"", None)
        if opcode == _PING:
            self._send(_PONG, data)
        elif opcode != _PONG:
            self._buffer += data
