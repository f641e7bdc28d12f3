"""Console output on its way to those who watch: while their lease lasts, in batches, never more than they can read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from agent.console import Console, Line
from agent.context import Context
from shared.messaging.reports import ReportType
from shared.messaging.server_messages import ConsoleLines

BATCH_LINES: Final = 200
BATCH_BYTES: Final = 64 * 1024
MAX_LINE: Final = 2000  # characters
BATCH_SECONDS: Final = 0.25
MAX_BACKLOG: Final = 1_000


class ConsoleWatch:
    """One server's output, uploaded until the lease ends. Asked for again, it is prolonged."""

    def __init__(self, context: Context, server_id: str, console: Callable[[], Console | None]) -> None:
        self._context, self._server_id, self._console = context, server_id, console
        self._until = 0.0
        self._sent = 0  # number of the last line that was put into the outbox
        self._task: asyncio.Task[None] | None = None

    def prolong(self, seconds: float, since: int) -> None:
        """Watch for so long from now on, from the line after `since`."""
        self._until = time.monotonic() + seconds
        if self._task is None or self._task.done():
            self._sent = since
            self._task = self._context.spawn(self._upload(), f"watch the console of {self._server_id}")

    async def _upload(self) -> None:
        heard = asyncio.Event()
        while time.monotonic() < self._until:
            console = self._console()
            if console is None:
                await asyncio.sleep(BATCH_SECONDS)
                continue
            end = console.listen(lambda _: heard.set())
            try:
                while time.monotonic() < self._until and self._console() is console:
                    heard.clear()
                    self._send(console)
                    await self._wait(heard)
                self._send(console)
            finally:
                end()

    async def _wait(self, heard: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(1.0):
                await heard.wait()
        except TimeoutError:
            return
        await asyncio.sleep(BATCH_SECONDS)  # more lines of the same burst go in the same message

    def _send(self, console: Console) -> None:
        dropped, lines = console.since(self._sent, MAX_BACKLOG)
        for batch in _batches(lines):
            texts = tuple(line.text[:MAX_LINE] for line in batch)
            payload = ConsoleLines(self._server_id, batch[0].number, texts, dropped)
            dropped = 0
            self._context.outbox.add(ReportType.SERVER_CONSOLE, payload, server_id=self._server_id, keep=False)
            self._sent = batch[-1].number


def _batches(lines: Sequence[Line]) -> Iterator[Sequence[Line]]:
    """Each within what a message holds, whatever a game prints."""
    start = size = 0
    for at, line in enumerate(lines):
        more = len(line.text[:MAX_LINE].encode())
        if at > start and (at - start == BATCH_LINES or size + more > BATCH_BYTES):
            yield lines[start:at]
            start, size = at, 0
        size += more
    if lines:
        yield lines[start:]
