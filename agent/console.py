"""A server's output: the last lines, numbered from its first start on, so that a reader can ask for "since n"."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

RING_LINES: Final = 1_000
RING_BYTES: Final = 1024 * 1024
MAX_LINE: Final = 16 * 1024  # a longer one is cut: one line must not push out all others


@dataclass(frozen=True, slots=True)
class Line:
    """One line; numbers grow by one and are never used again."""

    number: int
    text: str


class Console:
    """A ring of lines, bounded by count and by bytes, that tells those who listen of each new one."""

    def __init__(self, first: int = 1) -> None:
        self._lines: deque[Line] = deque()
        self._bytes = 0
        self._next = first
        self._partial = bytearray()
        self._listeners: list[Callable[[Line], None]] = []

    @property
    def next_number(self) -> int:
        """The number that the next line will have."""
        return self._next

    def feed(self, data: bytes) -> None:
        """Take output as it comes; a line counts when its end has come, or when it is too long."""
        self._partial += data
        *whole, rest = self._partial.split(b"\n")
        self._partial = rest
        for raw in whole:
            self._add(raw)
        while len(self._partial) > MAX_LINE:
            self._add(self._partial[:MAX_LINE])
            del self._partial[:MAX_LINE]

    def flush(self) -> None:
        """Count what has no line end: the program that wrote it has ended."""
        if self._partial:
            self._add(self._partial)
            self._partial = bytearray()

    def skip(self, lines: int) -> None:
        """Leave out the numbers of lines that were lost unread; the first of them may have begun already."""
        if lines:
            self._partial = bytearray()
        self._next += lines

    def _add(self, raw: bytes | bytearray) -> None:
        text = raw[:MAX_LINE].decode("utf-8", errors="replace").rstrip("\r")
        line = Line(self._next, text)
        self._next += 1
        self._lines.append(line)
        self._bytes += len(text)
        while len(self._lines) > RING_LINES or self._bytes > RING_BYTES:
            self._bytes -= len(self._lines.popleft().text)
        for listener in tuple(self._listeners):
            listener(line)

    def since(self, number: int, limit: int = RING_LINES) -> tuple[int, tuple[Line, ...]]:
        """The oldest lines above `number`, at most `limit`; and how many above it are gone already."""
        kept = [line for line in self._lines if line.number > number]
        first = kept[0].number if kept else self._next
        return max(0, first - number - 1), tuple(kept[:limit])

    def tail(self, count: int) -> tuple[str, ...]:
        """The last lines' texts."""
        start = max(0, len(self._lines) - count)
        return tuple(line.text for at, line in enumerate(self._lines) if at >= start)

    def listen(self, listener: Callable[[Line], None]) -> Callable[[], None]:
        """Call `listener` with each new line; the result ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None
