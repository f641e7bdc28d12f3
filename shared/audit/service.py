"""Writing and reading the audit trail.

A change and its entry are one transactional batch: the entry waits in the organization's partition (`AuditPending`) and
is moved to the trail soon after (`mover`). Whoever dies in between leaves it waiting, and it is moved before the trail is
next read. So no change is without its entry, and no reader misses one.

    batch: change + pending       trail: create       pending: delete
    ----------------------|------------------|------------------|
            crash here: pending remains -> moved at the next read (a second create is the same id: nothing doubles)
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

from shared.audit.models import Actor, AuditEvent, AuditPending, Entry, Outcome, Target, month_of
from shared.audit.mover import Mover, event_of
from shared.platform import telemetry
from shared.platform.clock import Clock
from shared.platform.errors import Fault, Invalid
from shared.platform.ids import Ids, OrgId
from shared.store.query import Slice, Where
from shared.store.scoped import Store

KEPT_MONTHS: Final = 14  # the container's TTL is 400 days
_MAX_PENDING: Final = 100


class Audit:
    """The audit trail of organizations."""

    def __init__(self, store: Store, clock: Clock, ids: Ids) -> None:
        self._store, self._clock, self._ids = store, clock, ids
        self._mover = Mover(store)

    def pending(
        self,
        org: OrgId,
        actor: Actor,
        action: str,
        target: Target,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> AuditPending:
        """An entry to create in the batch of the change; hand it to `settle` when the batch is committed."""
        return AuditPending(
            id=self._ids.new("aud"),
            org_id=org,
            entry=Entry(
                at=self._clock.now(),
                action=action,
                outcome=Outcome.DONE,
                actor=actor,
                target=target,
                before=_changed(before, after),
                after=_changed(after, before),
            ),
        )

    async def settle(self, *pending: AuditPending) -> None:
        """Have entries whose batch is committed moved to the trail; nobody waits for it, a reader moves what is left."""
        self._mover.add(*pending)

    async def idle(self) -> None:
        """Return when no entry is on its way."""
        await self._mover.idle()

    async def settle_all(self, org: OrgId) -> None:
        """Move every entry of the organization that is not in the trail yet.

        Raises:
            Fault: the store does not answer.
        """
        await self._mover.idle()
        await self._drain(org)

    async def record(
        self,
        org: OrgId,
        actor: Actor,
        action: str,
        target: Target,
        *,
        outcome: Outcome = Outcome.DONE,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        reason: str | None = None,
    ) -> None:
        """Write an entry straight to the trail, for what has no batch of its own.

        Raises:
            Fault: the store does not take it.
        """
        entry = Entry(
            at=self._clock.now(),
            action=action,
            outcome=outcome,
            actor=actor,
            target=target,
            before=_changed(before, after),
            after=_changed(after, before),
            reason=reason,
        )
        await self._store.create(org, event_of(self._ids.new("aud"), org, entry))

    async def refused(self, org: OrgId, actor: Actor, permission: str, target: Target, reason: str) -> None:
        """Note a refusal of permission. Fails open towards the refusal itself: it stands, noted or not, and is counted."""
        try:
            await self.record(org, actor, "access.refused", target, outcome=Outcome.REFUSED, reason=reason)
        except Fault:
            telemetry.counter("audit.refusals_lost", "{entry}").add(1, {"permission": permission})

    async def page(
        self,
        org: OrgId,
        *,
        where: Sequence[Where] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Slice[AuditEvent]:
        """Entries, newest first. The cursor is the month, then the place within it (`2026-01_...`).

        Raises:
            Invalid: the cursor is not one of this list.
        """
        if cursor is None:
            with suppress(Fault):  # the store that does not take them answers no list either
                await self._drain(org)
        now = self._clock.now()
        newest = month_of(min(until, now) if until else now)
        month, inner = (cursor[:7], cursor[8:]) if cursor else (newest, "")
        oldest = max(month_of(since) if since else "", _back(month_of(now), KEPT_MONTHS))
        if not oldest <= month <= newest:
            raise Invalid("the cursor is not one that this list gave out")
        conditions = [*where, *_times(since, until)]
        events: list[AuditEvent] = []
        while True:
            found = await self._store.page(
                org, AuditEvent, where=conditions, limit=limit - len(events), cursor=inner or None, sub=month
            )
            events += found.items
            if found.cursor and len(events) >= limit:
                return Slice(events, f"{month}_{found.cursor}")
            if found.cursor:
                inner = found.cursor
                continue
            month, inner = _back(month, 1), ""
            if month < oldest:
                return Slice(events, None)
            if len(events) >= limit:
                return Slice(events, f"{month}_")

    async def lines(self, org: OrgId, *, limit: int, cursor: str | None, **filters: Any) -> tuple[bytes, str | None]:
        """Up to `limit` entries as NDJSON, newest first, and the cursor to go on with."""
        chunks: list[bytes] = []
        async for event, following in self._walk(org, limit, cursor, filters):
            chunks.append(event.model_dump_json(include={"id", "entry"}).encode() + b"\n")
            cursor = following
        return b"".join(chunks), cursor if len(chunks) >= limit else None

    async def _walk(
        self, org: OrgId, limit: int, cursor: str | None, filters: Mapping[str, Any]
    ) -> AsyncIterator[tuple[AuditEvent, str | None]]:
        left = limit
        while left > 0:
            found = await self.page(org, limit=min(left, 100), cursor=cursor, **filters)
            for event in found.items:
                yield event, found.cursor
            left -= len(found.items)
            cursor = found.cursor
            if cursor is None:
                return

    async def _drain(self, org: OrgId) -> None:
        while True:
            waiting = await self._store.page(org, AuditPending, sort="id", limit=_MAX_PENDING)
            if waiting.items:
                await self._mover.move(waiting.items)
            if waiting.cursor is None:
                return


def _changed(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What differs from the other side; all of it when there is no other side."""
    if one is None:
        return None
    if other is None:
        return dict(one)
    return {name: value for name, value in one.items() if name not in other or other[name] != value}


def _times(since: datetime | None, until: datetime | None) -> list[Where]:
    found = []
    if since:
        found.append(Where("entry.at", ">=", since))
    if until:
        found.append(Where("entry.at", "<", until))
    return found


def _back(month: str, count: int) -> str:
    number = int(month[:4]) * 12 + int(month[5:7]) - 1 - count
    return f"{number // 12:04d}-{number % 12 + 1:02d}"
