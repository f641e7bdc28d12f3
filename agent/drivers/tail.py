"""Following the file that a game writes its output to.

The game writes to a file and not to a pipe of ours: a pipe would block it, or kill it, when the agent is away.
The numbering of lines goes on over a restart of the agent: `console.mark` says which line begins at which byte, and
the lines between there and the end are read again, which fills the ring anew.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from agent.console import RING_LINES, Console

LOG: Final = "console.log"
MARK: Final = "console.mark"
MAX_FILE: Final = 4 * 1024 * 1024  # beyond it the file is emptied once it has been read
MAX_READ: Final = 256 * 1024  # at a time, so that a game that floods cannot hold up the others
MAX_BEHIND: Final = 2 * 1024 * 1024


class Tail:
    """Reads a log file into a console, and keeps the file small."""

    def __init__(self, folder: Path) -> None:
        self.path, self._mark = folder / LOG, folder / MARK
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        first, self._offset = self._read_mark()
        self.console = Console(first)
        self.read_all()

    def _read_mark(self) -> tuple[int, int]:
        try:
            first, offset = self._mark.read_text().split()
            if 0 <= int(offset) <= os.fstat(self._descriptor).st_size:
                return max(1, int(first)), int(offset)
        except (OSError, ValueError):
            pass  # no mark, or one torn by a crash: numbering starts with the file
        return 1, 0

    def _write_mark(self) -> None:
        new = self._mark.with_suffix(".new")
        new.write_text(f"{self.console.next_number} {self._offset}")
        new.replace(self._mark)

    def read(self) -> bool:
        """Read what has come, at most `MAX_READ`; whether there is more."""
        size = os.fstat(self._descriptor).st_size
        if size < self._offset:
            self._offset = 0  # somebody emptied it
        if size - self._offset > MAX_BEHIND:
            self._skip_to(size - MAX_READ)
        if size > self._offset:
            data = os.pread(self._descriptor, MAX_READ, self._offset)
            self._offset += len(data)
            self.console.feed(data)
        if self._offset < size:
            return True
        if size > MAX_FILE and os.fstat(self._descriptor).st_size == self._offset:
            self._empty()
        return False

    def read_all(self) -> None:
        """Read to the end."""
        while self.read():
            pass

    def finish(self) -> None:
        """The last words of a program that has ended."""
        self.read_all()
        self.console.flush()

    def _skip_to(self, offset: int) -> None:
        """Pass by what cannot be kept up with; its lines are counted, not kept."""
        lost = 0
        while self._offset < offset:
            data = os.pread(self._descriptor, min(MAX_READ, offset - self._offset), self._offset)
            if not data:
                break
            lost += data.count(b"\n")
            self._offset += len(data)
        self.console.skip(lost)

    def _empty(self) -> None:
        """Empty the file. The game writes at its end (O_APPEND), wherever that is.

        game:   ... writes line n ........ writes line n+1 ...
        agent:  reads to the end | ftruncate(0) | mark
        A line written between the read and the ftruncate is lost to the console; the window is microseconds and comes
        once in 4 MiB of output. A crash before the mark gives the lines that follow lower numbers than before.
        """
        os.ftruncate(self._descriptor, 0)
        self._offset = 0
        self._write_mark()

    def begin_anew(self) -> None:
        """A new process starts: the old output may go, the numbering goes on."""
        self.finish()
        if self._offset > RING_LINES * 100:
            self._empty()

    def close(self) -> None:
        """Stop following; the file stays."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
