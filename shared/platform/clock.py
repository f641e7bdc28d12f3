"""Time as a dependency: nothing that decides reads the clock of the machine by itself."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Protocol

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, PlainSerializer


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


_DATE_AND_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:")


def as_text(value: Any) -> Any:
    """The value, if it is a moment or text that begins like one.

    Raises:
        ValueError: it is something else, such as a number, which pydantic would take for seconds since 1970.
    """
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE_AND_TIME.match(value)):
        return value
    raise ValueError("expected date and time with an offset, such as 2026-01-31T09:30:00Z")


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: it is before the year 1 or after the year 9999 there, though not where it was written.
    """
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC it lies outside the years 1 to 9999") from None


#: A moment in a model, in UTC whatever offset it came with. In JSON always `2026-01-31T09:30:00.000Z`: a store that
#: sorts text sorts time.
Timestamp = Annotated[
    AwareDatetime,
    BeforeValidator(as_text),
    AfterValidator(in_utc),
    PlainSerializer(rfc3339, return_type=str, when_used="json"),
]
