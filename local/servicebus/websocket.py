"""AMQP over WebSocket: frames' bytes in binary messages, subprotocol `AMQPWSB10`.

https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide
"""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from local.servicebus.connection import Connection
from local.servicebus.server import WRITE_HIGH_BYTES, Server

PATH = "/$servicebus/websocket"
SUBPROTOCOL = "AMQPWSB10"


class SocketWire:
    """Writes of a connection, in order, through aiohttp's coroutine."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._size = 0
        self.connection: Connection | None = None
        self.task = asyncio.create_task(self._run())

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._size += len(data)
        self._queue.put_nowait(data)
        if self._size > WRITE_HIGH_BYTES and self.connection is not None:
            self.connection.choke()

    def close(self) -> None:
        """Send what waits, then close."""
        self._queue.put_nowait(None)

    def abort(self) -> None:
        """Close at once."""
        self.task.cancel()

    async def _run(self) -> None:
        while (data := await self._queue.get()) is not None:
            try:
                await self._socket.send_bytes(data)
            except ConnectionError:
                return
            self._size -= len(data)
            connection = self.connection
            if connection is not None and connection.choked and self._size < WRITE_HIGH_BYTES // 4:
                connection.unchoke()
        await self._socket.close()


def make_app(server: Server) -> web.Application:
    """The web application that upgrades to WebSocket and knows nothing else."""

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=(SUBPROTOCOL,), compress=False, max_msg_size=1 << 20)
        if not socket.can_prepare(request).ok:
            return web.Response(status=400, text="AMQP over WebSocket is spoken here\n")
        await socket.prepare(request)
        wire = SocketWire(socket)
        connection = Connection(server.broker, wire, f"{request.remote} (WebSocket)")
        wire.connection = connection
        server.opened(connection)
        try:
            async for message in socket:
                if message.type == WSMsgType.BINARY:
                    connection.feed(message.data)
                else:
                    break
        finally:
            server.ended(connection)
            wire.task.cancel()
        return socket

    app = web.Application()
    app.router.add_get(PATH, handle)
    app.router.add_get(PATH + "/", handle)
    return app
