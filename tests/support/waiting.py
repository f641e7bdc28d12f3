"""Waiting for what happens by itself: the time given is a guard, never a measure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], what: str = "it never happened", seconds: float = 90) -> Any:
    """The first true value of a condition.

    Args:
        condition: asked fifty times a second.
        what: what is waited for, for the message of the failure.
        seconds: after so many it counts as never.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.02)
    return found


async def eventually(condition: Callable[[], object], what: str = "it never happened", seconds: float = 60) -> None:
    """Return when a condition holds, which the loop goes on making true; it is asked fifty times a second."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        await asyncio.sleep(0.02)
