"""Listening sockets, TLS, and the round that looks after all connections."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import cast

from local.servicebus.amqp.performatives import AmqpError
from local.servicebus.broker import Broker
from local.servicebus.connection import Connection
from local.servicebus.links import Link
from local.servicebus.queue import Queue
from local.servicebus.sas import segments

log = logging.getLogger("servicebus")

CHECK_EVERY_SECONDS = 5.0
WRITE_HIGH_BYTES = 256 * 1024  # beyond this a slow reader gets no more deliveries


class Server:
    """All connections of the broker."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.connections: set[Connection] = set()
        self._task: asyncio.Task[None] | None = None

    def opened(self, connection: Connection) -> None:
        """A connection has come."""
        self.connections.add(connection)
        self.broker.meter.connected()

    def ended(self, connection: Connection) -> None:
        """A connection is gone."""
        if connection in self.connections:
            self.connections.discard(connection)
            self.broker.meter.disconnected()
            connection.lost()

    def links_of(self, queue: Queue) -> list[Link]:
        """All links on a queue, its dead letters or its `$management`."""
        base = segments(queue.name)
        return [
            link
            for connection in self.connections
            for session in connection.sessions.values()
            for link in session.links()
            if segments(link.address)[: len(base)] == base and self.broker.find_base(link.address) is queue
        ]

    def start(self) -> None:
        """Begin to look after the connections."""
        self._task = asyncio.create_task(self._look_after())

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_SECONDS)
            now = asyncio.get_running_loop().time()
            for connection in list(self.connections):
                connection.check(now)

    def close(self) -> None:
        """End all connections."""
        if self._task is not None:
            self._task.cancel()
        for connection in list(self.connections):
            connection.fail(AmqpError("amqp:connection:forced", "the endpoint is stopping"))


class AmqpProtocol(asyncio.Protocol):
    """Between a socket and a connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepted (and, with TLS, shaken hands)."""
        wire = cast(asyncio.Transport, transport)
        wire.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        name = transport.get_extra_info("peername")
        peer = f"{name[0]}:{name[1]}" if name else "local"
        self._connection = Connection(self._server.broker, wire, peer)
        quota = self._server.broker.faults.connection_quota
        if quota and len(self._server.connections) >= quota:
            self._connection.over_quota = True
        self._server.opened(self._connection)

    def data_received(self, data: bytes) -> None:
        """Bytes."""
        assert self._connection is not None
        self._connection.feed(data)

    def pause_writing(self) -> None:
        """The peer does not read."""
        assert self._connection is not None
        self._connection.choke()

    def resume_writing(self) -> None:
        """It reads again."""
        assert self._connection is not None
        self._connection.unchoke()

    def connection_lost(self, _error: Exception | None) -> None:
        """Gone."""
        if self._connection is not None:
            self._server.ended(self._connection)


async def serve(server: Server, listener: object, context: ssl.SSLContext | None = None) -> asyncio.Server:
    """Accept connections on a bound socket."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: AmqpProtocol(server), sock=listener, ssl=context)  # type: ignore[call-overload, no-any-return]
