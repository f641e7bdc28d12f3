"""`--reload`: run the host as a child process and start it anew when the app's code changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from local.functions_host.log import LiveLog
from local.functions_host.options import Options

_LOOK_SECONDS = 0.5
_SKIPPED = frozenset(("__pycache__", "node_modules", "site-packages"))  # and every folder whose name begins with a dot
_NAMES = frozenset(("host.json", "local.settings.json"))
_STOP_SECONDS = 15.0


def watched_files(folder: Path) -> Iterator[Path]:
    """The app's Python files and its two settings files."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in _SKIPPED and not name.startswith(".")]
        for name in names:
            if name.endswith(".py") or name in _NAMES:
                yield Path(place, name)


def snapshot(folder: Path) -> dict[Path, int]:
    """Modification times of the watched files, in nanoseconds."""
    found: dict[Path, int] = {}
    for path in watched_files(folder):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:  # removed while we looked
            continue
    return found


class Reloader:
    """Keeps one child alive over changes; a child that ends by itself is started again at the next change."""

    def __init__(self, options: Options, log: LiveLog) -> None:
        self._options, self._log = options, log
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> int:
        """Until SIGINT or SIGTERM; the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        seen = snapshot(self._options.app)
        self._start()
        while not self._stopping:
            time.sleep(_LOOK_SECONDS)
            now = snapshot(self._options.app)
            if now == seen:
                continue
            changed = sorted({path for path in {*now, *seen} if now.get(path) != seen.get(path)})
            seen = now
            self._log.host(f"{changed[0].relative_to(self._options.app)} changed; starting again")
            self._end()
            self._start()
        self._end()
        return 0

    def _start(self) -> None:
        if self._stopping:
            return
        arguments = [each for each in sys.argv[1:] if each != "--reload"]
        # A session of its own: Ctrl-C reaches this process, which then stops the child in order.
        self._child = subprocess.Popen(
            [sys.executable, "-m", "local.functions_host", *arguments], start_new_session=True
        )

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.terminate()
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True
