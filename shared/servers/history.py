"""Metrics history of servers: one-minute samples, rolled up to hours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import Field

from shared.http.models import Out
from shared.platform.clock import Timestamp, rfc3339
from shared.platform.ids import OrgId
from shared.store.documents import Document
from shared.store.query import Where
from shared.store.scoped import Store

if TYPE_CHECKING:
    from shared.messaging.server_messages import Sample

DAY: Final = 86_400
MINUTES_SHOWN: Final = 2 * DAY  # by the minute, in one answer: 2,880 points
HOURS_KEPT: Final = 31 * DAY


class MetricHour(Document):
    """The minutes of one hour of one server, in one document: sixty samples cost one write an upload, not sixty.

    `minutes` are `[seconds since the epoch, percent of a core, MiB, players or null]`.
    """

    container: ClassVar[str] = "metrics"
    indexed: ClassVar[tuple[str, ...]] = ("at",)
    type: Literal["metric_hour"] = "metric_hour"
    source_id: str
    at: Timestamp  # the hour's beginning
    minutes: list[list[float | int | None]] = Field(default_factory=list)
    hour: dict[str, float] = Field(default_factory=dict)


class Point(Out):
    """One sample, or the roll-up of an hour (means, and the most players)."""

    at: Timestamp
    cpu_percent: float
    memory_mib: float
    players: float | None = None


class History:
    """Writes and reads."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def add(self, org: OrgId, server_id: str, samples: Sequence[Sample]) -> None:
        """Keep samples. One that is kept already (a report that came twice) is kept once."""
        by_hour: dict[datetime, list[Sample]] = {}
        for sample in samples[:120]:
            moment = datetime.fromtimestamp(max(0.0, sample.at), UTC)
            by_hour.setdefault(moment.replace(minute=0, second=0, microsecond=0), []).append(sample)
        for hour, found in by_hour.items():
            await self._add(org, server_id, hour, found)

    async def _add(self, org: OrgId, server_id: str, hour: datetime, samples: list[Sample]) -> None:
        id = f"{server_id}:{hour:%Y%m%d%H}"
        kept = await self._store.find(org, MetricHour, id, sub=server_id)
        rows = {row[0]: row for row in (kept.minutes if kept else ())}
        rows |= {s.at: [s.at, s.cpu_percent, s.memory_mib, s.players] for s in samples}
        minutes = [rows[at] for at in sorted(rows, key=lambda value: value or 0)][-90:]
        document = MetricHour(
            id=id, org_id=org, source_id=server_id, at=hour, minutes=minutes, hour=roll_up(minutes), ttl=HOURS_KEPT
        )
        await self._store.upsert(org, document if kept is None else document.having(created_at=kept.created_at))

    async def read(self, org: OrgId, server_id: str, since: datetime, until: datetime, *, hours: bool) -> list[Point]:
        """Points between two moments, oldest first: minutes, or hours."""
        begin = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        found: list[MetricHour] = []
        cursor = None
        where = [Where("at", ">=", rfc3339(begin)), Where("at", "<", rfc3339(until))]
        while True:
            page = await self._store.page(
                org, MetricHour, where=where, sort="at", limit=100, cursor=cursor, sub=server_id
            )
            found += page.items
            cursor = page.cursor
            if cursor is None:
                break
        if hours:
            return [Point(at=kept.at, **_point(kept.hour)) for kept in found]
        points = [_minute(row) for kept in found for row in kept.minutes]
        return [point for point in points if since <= point.at < until]


def roll_up(minutes: Sequence[Sequence[float | int | None]]) -> dict[str, float]:
    """An hour in three figures: mean CPU, mean memory, most players."""
    if not minutes:
        return {}
    players = [row[3] for row in minutes if row[3] is not None]
    found = {
        "cpu_percent": round(sum(row[1] or 0 for row in minutes) / len(minutes), 2),
        "memory_mib": round(sum(row[2] or 0 for row in minutes) / len(minutes), 1),
    }
    return found | ({"players": float(max(players))} if players else {})


def _point(hour: dict[str, float]) -> dict[str, Any]:
    return {
        "cpu_percent": hour.get("cpu_percent", 0.0),
        "memory_mib": hour.get("memory_mib", 0.0),
        "players": hour.get("players"),
    }


def _minute(row: Sequence[float | int | None]) -> Point:
    return Point(
        at=datetime.fromtimestamp(row[0] or 0, UTC),
        cpu_percent=row[1] or 0.0,
        memory_mib=row[2] or 0.0,
        players=row[3],
    )


def window(hours: int, now: datetime) -> tuple[datetime, datetime]:
    """The last so many hours."""
    return now - timedelta(hours=hours), now
