"""An HTTP load generator for benches: keep-alive connections, each with one request in flight, answers counted and checked."""

from __future__ import annotations

import asyncio
import socket
import time
from http.client import HTTPResponse

import uvloop

from tests.benchmarks.harness import Work


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, deadline: float, done: asyncio.Future[None]) -> None:
        self._request, self._deadline, self._done = request, deadline, done
        self._buffer = b""
        self._sent = 0.0
        self.latencies: list[float] = []
        self.wrong: list[bytes] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, gap, body = self._buffer.partition(b"\r\n\r\n")
        if not gap or len(body) < _length(head):
            return
        self.latencies.append(time.perf_counter() - self._sent)
        if not head.startswith(b"HTTP/1.1 2"):
            self.wrong.append(self._buffer[:200])
        self._buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            if self._buffer or exc is not None:
                self.wrong.append(b"connection lost")
            self._done.set_result(None)

    def _next(self) -> None:
        self._sent = time.perf_counter()
        if self._sent >= self._deadline:
            self._done.set_result(None)
            self._transport.close()
            return
        self._transport.write(self._request)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def request_bytes(method: str, path: str, *, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """A request, ready to send again and again."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def http_load(port: int, request: bytes, seconds: float, connections: int = 32) -> Work:
    """Send the request over and over for that long.

    Raises:
        AssertionError: an answer was not 2xx, or a connection broke.
    """
    return uvloop.run(_load(port, request, seconds, connections))


def http_once(port: int, request: bytes) -> bytes:
    """The body of the answer to one request. Raises AssertionError if it is not 2xx."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        answer = HTTPResponse(connection)
        answer.begin()
        assert answer.status // 100 == 2, f"status {answer.status}"
        return answer.read()


async def _load(port: int, request: bytes, seconds: float, connections: int) -> Work:
    loop = asyncio.get_running_loop()
    deadline = time.perf_counter() + seconds
    futures = [loop.create_future() for _ in range(connections)]
    made = [
        (await loop.create_connection(lambda done=done: _Connection(request, deadline, done), "127.0.0.1", port))[1]
        for done in futures
    ]
    await asyncio.wait_for(asyncio.gather(*futures), seconds + 30)
    wrong = [each for connection in made for each in connection.wrong]
    assert not wrong, f"{len(wrong)} bad answers, such as {wrong[0]!r}"
    latencies = [each for connection in made for each in connection.latencies]
    return Work(len(latencies), latencies=latencies)
