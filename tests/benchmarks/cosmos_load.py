"""A load generator for two servers of different manners: signed requests as the SDK sends them, sixteen under way at a time.

The emulator on npm closes the connection after every answer; ours keeps it. Either is served as it wants, so that what is
compared is what an SDK's request costs the server. (The SDK itself spends over a millisecond a call, which would leave both
servers mostly waiting.)
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

import uvloop

from local.cosmos.auth import MasterKey
from local.cosmos.routes import signed_resource
from tests.benchmarks.harness import Work

UNDER_WAY = 16
MakeRequest = Callable[[int], tuple[str, str, bytes, dict[str, str]]]  # number -> method, path, body, headers

# What azure-cosmos 4.17 sends with every request on an item.
_COMMON = (
    "Host: localhost\r\nCache-Control: no-cache\r\nx-ms-version: 2020-07-15\r\nUser-Agent: azsdk-python-cosmos/4.17.1\r\n"
    "x-ms-consistency-level: Session\r\nx-ms-session-token: 0:-1#1\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\n"
    "x-ms-activity-id: 5b1c2f7e-0000-4000-8000-000000000000\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n"
)


class Client:
    """Requests made by number, signed, sent, their answers checked."""

    def __init__(self, port: int, key: str, make: MakeRequest, *, tls: bool = False) -> None:
        self._port, self._key, self._make = port, MasterKey(key), make
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._tls = ssl.create_default_context()
            self._tls.check_hostname = False  # as the SDK does for localhost, whose certificate nobody signed
            self._tls.verify_mode = ssl.CERT_NONE
        self._next = 0

    def run(self, seconds: float) -> Work:
        """Work for about that long.

        Raises:
            AssertionError: an answer was not 2xx.
        """
        return uvloop.run(self._load(seconds))

    async def _load(self, seconds: float) -> Work:
        deadline = time.perf_counter() + seconds
        done = await asyncio.gather(*[self._worker(deadline) for _ in range(UNDER_WAY)])
        return Work(sum(done))

    def send_each(self, count: int) -> None:
        """Send the first `count` requests, each once.

        Raises:
            AssertionError: an answer was not 2xx.
        """

        async def share() -> None:
            await asyncio.gather(*[self._worker(count=count) for _ in range(UNDER_WAY)])

        uvloop.run(share())

    async def _worker(self, deadline: float = 0.0, count: int = 0) -> int:
        done, reader, writer = 0, None, None
        while self._next < count or (not count and (time.perf_counter() < deadline or not done)):
            request = self._request()  # before anything is awaited, so that no other worker takes the same number
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls)
            writer.write(request)
            if not await _answer(reader):
                writer.close()
                reader = writer = None
            done += 1
        if writer is not None:
            writer.close()
        return done

    def _request(self) -> bytes:
        self._next += 1
        method, path, body, headers = self._make(self._next)
        date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        signature = self._key.signature(method, *signed_resource(tuple(path.strip("/").split("/"))), date)
        authorization = quote(f"type=master&ver=1.0&sig={signature}", safe="")
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {path} HTTP/1.1\r\n{_COMMON}x-ms-date: {date}\r\nauthorization: {authorization}\r\n{more}"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _answer(reader: asyncio.StreamReader) -> bool:
    """Read one answer; whether the connection may be used again."""
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 2"), head + await reader.read(500)
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if b"content-length" in fields:
        await reader.readexactly(int(fields[b"content-length"]))
    elif fields.get(b"transfer-encoding") == b"chunked":
        while size := int(await reader.readline(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    else:
        await reader.read()
        return False
    return fields.get(b"connection") != b"close"
