"""Following what all games write, woken by the kernel (inotify(7)): a game that says nothing costs nothing."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import struct
from typing import Final

from agent.drivers.tail import Tail

log = logging.getLogger("meridian.agent")
_IN_MODIFY: Final = 0x2
_EVENT: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_AT_ONCE: Final = 64 * 1024
#: After output was read it is left to gather for so long: a game that floods wakes us ten times a second, not thousands.
_GATHER_SECONDS: Final = 0.1
#: How often files are looked at where the kernel gives no notice (`fs.inotify.max_user_instances` is used up).
_POLL_SECONDS: Final = 1.0


class Outputs:
    """All the tails of one driver, read in its event loop."""

    def __init__(self) -> None:
        self._tails: dict[int, Tail] = {}
        self._due: set[Tail] = set()
        self._descriptor: int | None = None
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, tail: Tail) -> None:
        """Read what comes from now on, and what came since the tail was opened."""
        if self._descriptor is None:
            self._open()
        self._tails[self._watch(tail)] = tail
        self._due.add(tail)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHER_SECONDS, self._read)

    def forget(self, tail: Tail) -> None:
        """Read this one no more."""
        self._due.discard(tail)
        for watch in [watch for watch, one in self._tails.items() if one is tail]:
            del self._tails[watch]
            if self._descriptor is not None and self._descriptor >= 0:
                _libc.inotify_rm_watch(self._descriptor, watch)

    def close(self) -> None:
        """Read no more at all."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._descriptor is not None and self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = None
        self._tails.clear()
        self._due.clear()

    def _open(self) -> None:
        self._descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            log.warning("no inotify (%s): output is looked for each second", os.strerror(ctypes.get_errno()))
        else:
            asyncio.get_running_loop().add_reader(self._descriptor, self._on_written)

    def _watch(self, tail: Tail) -> int:
        assert self._descriptor is not None
        if self._descriptor >= 0:
            watch: int = _libc.inotify_add_watch(self._descriptor, os.fsencode(tail.path), _IN_MODIFY)
            if watch >= 0:
                return watch
            log.warning("%s cannot be watched: %s", tail.path, os.strerror(ctypes.get_errno()))
        return min(self._tails, default=0) - 1  # no watch of the kernel's, which are positive: polled

    def _on_written(self) -> None:
        assert self._descriptor is not None
        data = os.read(self._descriptor, _AT_ONCE)
        at = 0
        while at < len(data):
            watch, _, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            if watch in self._tails:
                self._due.add(self._tails[watch])
        if self._timer is None:
            self._read()

    def _read(self) -> None:
        """Read all that are due. One that has more to give waits for its next turn, so that none holds up the others."""
        polled = [tail for watch, tail in self._tails.items() if watch < 0]
        had_some = bool(self._due)
        self._due = {tail for tail in (*self._due, *polled) if tail.read()}
        loop = asyncio.get_running_loop()
        if self._descriptor is not None and self._descriptor >= 0:
            # Between two turns the kernel keeps its notices for itself.
            (loop.remove_reader(self._descriptor) if had_some else loop.add_reader(self._descriptor, self._on_written))
        wait = _GATHER_SECONDS if had_some else _POLL_SECONDS if polled else None
        self._timer = None if wait is None else loop.call_later(wait, self._read)


_libc: Final = ctypes.CDLL(None, use_errno=True)
