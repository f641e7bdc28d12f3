"""The one log: each line behind the name of the part that wrote it, in that part's colour."""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

# ANSI colours that read on dark and on light terminals; red is kept for trouble.
COLOURS = (36, 33, 35, 32, 34, 96, 95, 92)
RED, BOLD = 31, 1
# A part's file is cut over at this size, and one older file is kept.
LOG_FILE_BYTES = 5 * 1024 * 1024


class Console:
    """Writes lines of many parts to one terminal, and to one file a part."""

    def __init__(self, names: Sequence[str], folder: Path, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._colourful = out.isatty()
        self._width = max((len(name) for name in names), default=8)
        self._colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(names)}
        folder.mkdir(parents=True, exist_ok=True)
        self._files = {name: _file_logger(name, folder) for name in names}

    def line(self, name: str, text: str) -> None:
        """One line that a part has written."""
        self.show(name, text)
        self.keep(name, text)

    def show(self, name: str, text: str) -> None:
        """A part's line, on the terminal alone."""
        self._print(f"{self.paint(name.ljust(self._width), self._colours.get(name, BOLD))} {text}")

    def keep(self, name: str, text: str) -> None:
        """A part's line, in its log alone."""
        if name in self._files:
            self._files[name].info(text)

    def notice(self, text: str, *, trouble: bool = False) -> None:
        """A line of the supervisor's own."""
        self._print(self.paint(text, RED if trouble else BOLD))

    def plain(self, text: str = "") -> None:
        """A line as it is."""
        self._print(text)

    def paint(self, text: str, colour: int) -> str:
        """The text in a colour, where the output is a terminal."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colourful else text

    def _print(self, text: str) -> None:
        # A terminal or a pipe may go away while the house is being stopped: stopping it matters more than the words.
        with contextlib.suppress(OSError, ValueError):
            self._out.write(text + "\n")
            self._out.flush()


def _file_logger(name: str, folder: Path) -> logging.Logger:
    logger = logging.getLogger(f"meridian.part.{name}")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    handler = logging.handlers.RotatingFileHandler(
        folder / f"{name}.log", maxBytes=LOG_FILE_BYTES, backupCount=1, delay=True
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    return logger
