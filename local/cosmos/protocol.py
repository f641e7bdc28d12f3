"""The HTTP side, as a protocol for uvicorn: requests go straight to the application and answers straight to the socket.

uvicorn's own protocols make a scope, a task and several messages of every request, which costs three times as much as a
point read. Most requests are answered without waiting for anything, so here they are answered within the callback that
completes them; only those that wait (for a commit, or for a thread) get a task. One request of a connection is worked on at
a time; what a client sends ahead stays in the socket until then.
"""

from __future__ import annotations

import asyncio
import http
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, cast

import httptools

from local.cosmos.app import MAX_BODY_BYTES, App, too_large
from local.cosmos.http import Headers, Response

MAX_HEADER_BYTES = 64 * 1024
_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}
_STATUS[449] = b"HTTP/1.1 449 Retry With\r\n"  # the service's own: a write met another one


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that has come in whole."""

    method: str
    path: bytes
    headers: dict[bytes, bytes]
    body: bytes
    keep: bool  # the connection stays open afterwards


class CosmosProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, config: Any, server_state: Any, app_state: Any = None, _loop: Any = None) -> None:  # noqa: ARG002 - uvicorn's call
        self._app = cast(App, config.app)
        self._connections: set[CosmosProtocol] = server_state.connections
        self._tasks: set[asyncio.Task[None]] = server_state.tasks
        self._idle_seconds: float = config.timeout_keep_alive
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._client = ""
        self._raw_headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._size = self._header_size = 0
        self._path = b""
        self._busy = self._closing = self._too_large = False
        self._ahead: deque[Sent] = deque()
        self._idle: asyncio.TimerHandle | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        peer = transport.get_extra_info("peername")
        self._client = peer[0] if peer else ""
        self._expect_more()

    def connection_lost(self, _exc: Exception | None) -> None:
        """The client has gone."""
        self._connections.discard(self)
        self._closing = True
        if self._idle is not None:
            self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400)
        except httptools.HttpParserError:
            self._refuse(400)

    def eof_received(self) -> None:
        """The client sends no more; an answer under way still goes out."""

    def shutdown(self) -> None:
        """uvicorn stops: close now if nothing is under way."""
        self._closing = True
        if not self._busy:
            self._transport.close()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._raw_headers, self._parts, self._path = {}, [], b""
        self._size = self._header_size = 0
        self._too_large = False

    def on_url(self, url: bytes) -> None:
        """A part of the path."""
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._header_size += len(name) + len(value)
        if self._header_size > MAX_HEADER_BYTES:
            self._refuse(431)
            return
        self._raw_headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The body follows."""
        if self._raw_headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._size += len(body)
        if self._size > MAX_BODY_BYTES:
            self._too_large = True
            self._parts = []
        else:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._closing:
            return
        keep = bool(self._parser.should_keep_alive())
        method = self._parser.get_method().decode()
        if self._too_large:
            self._answer(Sent(method, self._path, self._raw_headers, b"", keep=False), too_large())
            return
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        sent = Sent(method, self._path, self._raw_headers, body, keep)
        if self._busy:
            # Sent ahead of our answer: its turn comes when that has gone out.
            self._ahead.append(sent)
            self._transport.pause_reading()
        else:
            self._begin(sent)

    def _begin(self, sent: Sent) -> None:
        found = self._app.respond(sent.method, sent.path, Headers(sent.headers), sent.body, self._client)
        if isinstance(found, Response):
            self._answer(sent, found)
            return
        self._busy = True
        task = self._loop.create_task(self._wait(found, sent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wait(self, found: Awaitable[Response], sent: Sent) -> None:
        response = await found
        self._busy = False
        self._answer(sent, response)
        while self._ahead and not self._busy and not self._transport.is_closing():
            self._begin(self._ahead.popleft())
        if not self._ahead and not self._transport.is_closing():
            self._transport.resume_reading()

    # Answering.

    def _answer(self, sent: Sent, response: Response) -> None:
        if self._transport.is_closing():
            return
        keep = sent.keep and not self._closing
        activity = self._app.activity(sent.headers)
        self._transport.write(encode(response, activity, bodiless=sent.method == "HEAD", keep=keep))
        if keep:
            self._expect_more()
        else:
            self._transport.close()

    def _refuse(self, status: int) -> None:
        self._closing = True
        self._transport.write(_STATUS[status] + b"connection: close\r\ncontent-length: 0\r\n\r\n")
        self._transport.close()

    def _expect_more(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self._loop.call_later(self._idle_seconds, self._give_up)

    def _give_up(self) -> None:
        if not self._busy:
            self._transport.close()


def encode(response: Response, activity: bytes, *, bodiless: bool, keep: bool) -> bytes:
    """An answer as it goes over the wire."""
    body = response.body or b""
    parts = [
        _STATUS[response.status],
        b"x-ms-request-charge: %s\r\nx-ms-version: 2020-07-15\r\nx-ms-activity-id: " % f"{response.charge:g}".encode(),
        activity,
    ]
    parts += [f"\r\n{name}: {value}".encode("latin-1", "replace") for name, value in response.headers.items()]
    if response.body is not None:
        parts.append(f"\r\ncontent-type: {response.content_type}".encode())
    if response.status not in (204, 304):
        parts.append(b"\r\ncontent-length: %d" % len(body))
    parts.append(b"\r\n\r\n" if keep else b"\r\nconnection: close\r\n\r\n")
    if not bodiless:
        parts.append(body)
    return b"".join(parts)
