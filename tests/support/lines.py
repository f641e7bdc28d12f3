"""Lines between agents and the house that tests can cut, and threads that keep them going."""

from __future__ import annotations

import asyncio
import threading
from typing import Any


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Any, seconds: float = 120) -> Any:
        """Run a coroutine over there, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def close(self) -> None:
        """End the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(30)
        self.loop.close()


class Line:
    """A forwarder to a port of this machine.

    It can be cut (connections die, new ones are refused) or stall (nothing moves, as with a cable that is pulled out).
    """

    def __init__(self, port: int, target: int, host: str = "127.0.0.1") -> None:
        self.host, self.port, self._target = host, port, target
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._open.wait()
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, onward_writer}
        await asyncio.gather(
            self._pump(reader, onward_writer), self._pump(onward_reader, writer), return_exceptions=True
        )

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
            self._writers.discard(writer)

    async def cut(self) -> None:
        """Connections die, new ones are refused, until `start`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.close()

    def stall(self) -> None:
        """Nothing moves any more; nobody is told."""
        self._open.clear()

    def flow(self) -> None:
        """It moves again."""
        self._open.set()
