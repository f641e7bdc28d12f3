"""The Docker Engine API (https://docs.docker.com/reference/api/engine/), as far as a driver needs it; podman serves it too."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from agent.drivers.base import DriverError

API: Final = "/v1.41"
_MAX_HEAD: Final = 64 * 1024
_MAX_BODY: Final = 16 * 1024 * 1024
_SECONDS: Final = 60.0
PULL_SECONDS: Final = 1800.0


class EngineRefused(DriverError):
    """The engine answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__("engine_refused", f"the container engine answered {status}: {message[:500]}")
        self.status = status


class Reply:
    """An answer whose body is read as it comes, chunked or not."""

    def __init__(self, status: int, headers: dict[str, str], reader: asyncio.StreamReader) -> None:
        self.status, self.headers, self._reader = status, headers, reader

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in pieces, until its end."""
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int((await self._reader.readline()).split(b";")[0], 16):
                yield await self._reader.readexactly(size)
                await self._reader.readexactly(2)
            return
        left = int(self.headers["content-length"]) if "content-length" in self.headers else None
        while left is None or left > 0:
            piece = await self._reader.read(min(65_536, left) if left is not None else 65_536)
            if not piece:
                return
            left = left - len(piece) if left is not None else None
            yield piece

    async def read(self) -> bytes:
        """The whole body, bounded."""
        found = bytearray()
        async for piece in self.chunks():
            found += piece
            if len(found) > _MAX_BODY:
                raise DriverError("engine_failed", f"an answer of more than {_MAX_BODY} bytes")
        return bytes(found)


class Engine:
    """One connection a call: calls are few, and a stream needs one of its own anyway."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    @asynccontextmanager
    async def stream(self, method: str, path: str, body: Any = None) -> AsyncIterator[Reply]:
        """Call, and read the answer as it comes.

        Raises:
            DriverError: `engine_missing`: nothing listens on the socket.
            EngineRefused: an answer of 400 or more.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._socket), limit=_MAX_HEAD)
        except OSError as error:
            raise DriverError("engine_missing", f"no container engine on {self._socket}: {error.strerror}") from None
        try:
            data = b"" if body is None else json.dumps(body).encode()
            head = (
                f"{method} {API}{path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\nContent-Length: {len(data)}\r\n"
            )
            writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + data)
            await writer.drain()
            reply = await _read_head(reader)
            if reply.status >= 400:
                raise EngineRefused(reply.status, _message(await reply.read()))
            yield reply
        finally:
            writer.close()

    async def call(self, method: str, path: str, body: Any = None, seconds: float | None = _SECONDS) -> Any:
        """Call, and read the JSON that comes; None for an empty answer."""
        try:
            async with asyncio.timeout(seconds), self.stream(method, path, body) as reply:
                data = await reply.read()
        except TimeoutError:
            raise DriverError(
                "engine_failed", f"the container engine did not answer {path} in {seconds:.0f} s"
            ) from None
        except (OSError, EOFError, ValueError) as error:
            raise DriverError("engine_failed", f"the container engine broke off: {error}") from None
        return json.loads(data) if data.strip() else None

    async def pull(self, image: str, seconds: float = PULL_SECONDS) -> None:
        """See to it that an image is there; one that is there is not asked for again.

        Raises:
            DriverError: `image_missing`: it is not there and its registry does not give it.
        """
        try:
            await self.call("GET", f"/images/{encoded(image)}/json")
            return
        except EngineRefused as error:
            if error.status != 404:
                raise
        whole = image if re.search(r":[\w][\w.-]*$|@sha256:", image) else f"{image}:latest"
        try:
            async with (
                asyncio.timeout(seconds),
                self.stream("POST", f"/images/create?fromImage={encoded(whole)}") as reply,
            ):
                told = (await reply.read()).decode(errors="replace")
        except TimeoutError:
            told = f'{{"error": "took longer than {seconds:.0f} s"}}'
        except EngineRefused as error:
            told = json.dumps({"error": error.reason})
        failed = re.search(r'"error"\s*:\s*"((?:[^"\\]|\\.)*)"', told)
        if failed:
            raise DriverError(
                "image_missing", f"the image {image} is not here and cannot be fetched: {failed.group(1)[:300]}"
            )


async def _read_head(reader: asyncio.StreamReader) -> Reply:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip().lower() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(first.split()[1]), headers, reader)


def _message(data: bytes) -> str:
    try:
        found = json.loads(data)
    except ValueError:
        return data[:200].decode(errors="replace")
    return str(found.get("message", found)) if isinstance(found, dict) else str(found)


def encoded(text: str) -> str:
    """Text as a part of a path or query."""
    return quote(text, safe="")
