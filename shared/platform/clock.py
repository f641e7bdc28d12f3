"""Time as a dependency: nothing that decides reads the clock of the machine by itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Protocol

from pydantic import AwareDatetime, PlainSerializer


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime:
        """The moment, aware, in UTC, cut to whole milliseconds."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary point that never go back; for measuring, not for telling the time."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """See `Clock.now`."""
        return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()


def rfc3339(moment: datetime) -> str:
    """A moment as RFC 3339 text in UTC with exactly three decimals, so that text order is time order."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


#: A moment in a model. In JSON always `2026-01-31T09:30:00.000Z`: a store that sorts text sorts time.
Timestamp = Annotated[AwareDatetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
