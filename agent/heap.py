"""How the C library keeps memory for the agent: one heap, given back as soon as its end is free."""

from __future__ import annotations

import ctypes
import logging
from typing import Final

log = logging.getLogger("meridian.agent")
# mallopt(3), glibc's malloc.h
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_THRESHOLD: Final = 128 * 1024


def slim_heap() -> None:
    """Ask for it; to be called before the first thread begins. Where the C library has no such thing, nothing happens.

    glibc gives each thread a heap of its own, up to eight a core, and raises its thresholds for good when something large
    was freed once. The agent's threads do little, and one after the other: with heaps of their own they kept 1.5 MiB that
    nobody used, with one heap it is 0.25 (20 games, 160 restarts). The thresholds are glibc's own to begin with; naming
    them keeps them there.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for name, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _THRESHOLD), (_TRIM_THRESHOLD, _THRESHOLD)):
        if not mallopt(name, value):
            log.debug("mallopt(%d, %d) was not taken", name, value)
