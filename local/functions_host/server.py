"""The HTTP server: uvicorn's protocol on sockets that the host opened itself, plain or TLS with client certificates."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CLIENT_CERTIFICATE = "client_certificate"  # key of scope["state"]: base64 of the DER, as X-ARR-ClientCert carries it
_DRAIN_SECONDS = 5.0  # how long requests in flight may take after a stop is asked for


class _Joined:
    """A transport that joins a response's head, which uvicorn writes first, to the body that follows in the same turn.

    uvloop makes a system call of every write: this saves one of two for each answer.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held = b""

    def write(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
            self._transport.write(data)
        else:
            self._held = data
            self._loop.call_soon(self._flush)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            data, self._held = self._held, b""
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class HostProtocol(HttpToolsProtocol):
    """uvicorn's protocol with two changes: writes are joined, and the client's certificate reaches the app.

    The certificate is read once a connection; `app_state` is what uvicorn copies to each request's state.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = _Joined(transport, self.loop)  # type: ignore[assignment]
        handle = transport.get_extra_info("ssl_object")
        certificate = handle.getpeercert(True) if handle is not None else None
        if certificate:
            self.app_state = {**self.app_state, CLIENT_CERTIFICATE: base64.b64encode(certificate).decode()}


class Server:
    """Serves one ASGI app on listening sockets, in the loop of its caller.

    uvicorn's own `Server` would take over the process's signals and wake ten times a second; what it does beyond that for
    one process is little: a protocol for each connection, the Date header, and letting requests finish at the end.
    """

    def __init__(self, app: App) -> None:
        """Args: `app` answers every request."""
        self._config = Config(
            app,
            http=HostProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,  # Kestrel's is 130 s; clients of a local host gain nothing from more
        )
        self._config.load()
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._clock: asyncio.Task[None] | None = None

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections on a listening socket."""
        if self._clock is None:
            self._set_date()
            self._clock = asyncio.create_task(self._keep_date())
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(self._connection, sock=listener, ssl=tls, backlog=1024))

    async def stop(self) -> None:
        """Stop accepting, let requests in flight finish (for a few seconds), and close."""
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=_DRAIN_SECONDS)
        for connection in list(self._state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        if self._clock is not None:
            self._clock.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._clock

    def _connection(self) -> asyncio.Protocol:
        return HostProtocol(config=self._config, server_state=self._state, app_state={})

    async def _keep_date(self) -> None:
        while True:
            await asyncio.sleep(1.0 - time.time() % 1.0)
            self._set_date()

    def _set_date(self) -> None:
        self._state.default_headers = [(b"date", formatdate(time.time(), usegmt=True).encode())]
