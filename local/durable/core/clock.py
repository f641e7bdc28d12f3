"""Time as the engine keeps it: whole microseconds since the epoch, UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """The wall clock."""
    return time.time_ns() // 1000


def iso(at: int) -> str:
    """RFC 3339 with microseconds and a Z, as the extension writes it in a history."""
    return (EPOCH + timedelta(microseconds=at)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def iso_seconds(at: int) -> str:
    """RFC 3339 to the second with a Z, as the management API writes it."""
    return (EPOCH + timedelta(microseconds=at)).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> int:
    """The reverse, for any RFC 3339 text; one without offset is taken as UTC.

    Raises:
        ValueError: no timestamp.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1)
