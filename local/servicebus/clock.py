"""The broker's clock: wall time in milliseconds, which a fault test can set wrong."""

from __future__ import annotations

import time


class Clock:
    """Wall time plus an offset."""

    def __init__(self) -> None:
        self.offset_ms = 0

    def ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000 + self.offset_ms

    def seconds(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.offset_ms / 1000
