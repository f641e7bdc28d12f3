"""Waiting before another try: full jitter, so that a thousand agents do not come back in one second."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

FIRST: Final = 1.0
LONGEST: Final = 60.0


class Backoff:
    """Each wait is random between nothing and a ceiling that doubles: 1, 2, 4 ... 60 s."""

    def __init__(
        self, random_: Callable[[], float] = random.random, first: float = FIRST, longest: float = LONGEST
    ) -> None:
        self._random, self._first, self._longest = random_, first, longest
        self._tries = 0

    def next(self, at_least: float = 0.0) -> float:
        """How long to wait now; never under what the other side asked for."""
        ceiling = float(min(self._longest, self._first * (1 << min(self._tries, 16))))
        self._tries += 1
        return max(at_least, self._random() * ceiling)

    def reset(self) -> None:
        """It worked."""
        self._tries = 0
