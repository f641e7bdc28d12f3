"""The live log: one line an event, as a person likes to read it, on standard error."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import TextIO

# The function whose code is running, for attributing what it logs; empty outside of any function.
current_function: ContextVar[str] = ContextVar("current_function", default="")

_COLOURS = {
    "http": "\x1b[36m",
    "timer": "\x1b[35m",
    "queue": "\x1b[33m",
    "orchestrator": "\x1b[34m",
    "activity": "\x1b[34m",
    "entity": "\x1b[34m",
    "log": "\x1b[2m",
    "host": "\x1b[1m",
}
_RED, _GREEN, _YELLOW, _DIM, _RESET = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
_WHAT_WIDTH = 44  # of the column that says what was called: a method and a path, a queue and a message
_FLUSH_SECONDS = 0.02  # lines of this span share one write; short enough that a person sees no lag


_Call = tuple[str, str, float, str | None, str]  # what, function, seconds, error, note
_Entry = tuple[float, str, str | _Call]  # Unix time, kind, text or call


class LiveLog:
    """Formats and writes lines in batches: a host under load spends one system call, and a warm cache, on many lines."""

    def __init__(self, stream: TextIO | None = None, *, colour: bool | None = None, quiet: bool = False) -> None:
        """Args: `colour` None decides by whether the stream is a terminal; `quiet` leaves out lines of successful calls."""
        self._stream = stream if stream is not None else sys.stderr
        self._colour = self._stream.isatty() if colour is None else colour
        self._quiet = quiet
        self._lines: deque[_Entry] = deque()
        self._second = -1
        self._stamp = ""

    def host(self, text: str) -> None:
        """A line of the host itself."""
        self._write("host", text)

    def error(self, text: str) -> None:
        """A line about something that went wrong."""
        self._write("host", self._paint(_RED, text))

    def invocation(
        self, kind: str, what: str, function: str, seconds: float, error: str | None, note: str = ""
    ) -> None:
        """One finished call.

        Args:
            kind: "http", "timer", "queue", "orchestrator", "activity" or "entity".
            what: the request, tick, message or instance.
            function: the function's name.
            seconds: how long it took.
            error: None, or the text of the failure.
            note: the outcome in a word or two, such as an HTTP status.
        """
        if error is None and self._quiet:
            return
        self._write(kind, (what, function, seconds, error, note))

    def record(self, record: logging.LogRecord, function: str, text: str) -> None:
        """One record that the app logged."""
        level = record.levelname
        colour = _RED if record.levelno >= logging.ERROR else _YELLOW if record.levelno >= logging.WARNING else _DIM
        self._write("log", f"{function or record.name:<{_WHAT_WIDTH}} {self._paint(colour, level.lower())}  {text}")

    def flush(self) -> None:
        """Write what is waiting."""
        # Threads of the pool append while the loop flushes: only operations of the deque that are atomic are used.
        taken: list[_Entry] = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._lines.popleft())
        if taken:
            self._stream.write("".join(map(self._format, taken)))
            self._stream.flush()

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colour else text

    def _write(self, kind: str, what: str | _Call) -> None:
        self._lines.append((time.time(), kind, what))
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
            except RuntimeError:  # no loop runs in this thread: at start, at the end, or a thread of the pool
                self.flush()

    def _format(self, entry: _Entry) -> str:
        at, kind, what = entry
        second = int(at)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%H:%M:%S", time.localtime(second))
        text = what if isinstance(what, str) else self._format_call(*what)
        stamp = f"{self._stamp}.{int((at - second) * 1000):03d}"
        if self._colour:
            return f"{_DIM}{stamp}{_RESET} {_COLOURS.get(kind, '')}{kind:<12}{_RESET} {text}\n"
        return f"{stamp} {kind:<12} {text}\n"

    def _format_call(self, what: str, function: str, seconds: float, error: str | None, note: str) -> str:
        if error is None:
            outcome = self._paint(_GREEN, note or "ok")
        else:
            outcome = self._paint(_RED, f"{note} failed".strip()) + f"  {error}"
        shown = what.ljust(_WHAT_WIDTH) if len(what) <= _WHAT_WIDTH else f"{what[: _WHAT_WIDTH - 1]}…"
        return f"{shown} {function:<24} {seconds * 1000:8.1f} ms  {outcome}"


class AppLogHandler(logging.Handler):
    """Takes what the app logs: shows it, and tells the meter how much it was."""

    def __init__(self, log: LiveLog, logged: Callable[[str, str, int], None]) -> None:
        """Args: `logged` gets (function, level, bytes) of each record written while a function runs."""
        super().__init__()
        self._log = log
        self._logged = logged

    def emit(self, record: logging.LogRecord) -> None:
        """Show and count a record; records of Azure's SDKs outside of any function are the host's own and are dropped."""
        function = current_function.get()
        if not function and record.levelno < logging.WARNING and record.name.startswith(("azure", "uamqp")):
            return
        text = self.format(record)
        self._log.record(record, function, text)
        if function:
            self._logged(function, record.levelname, len(text.encode(errors="replace")))
