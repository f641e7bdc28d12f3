"""Writing and reading the audit trail.

A change and its entry are one transactional batch: both are there, or neither (decision 0017). What is not a write to the
store (a line sent to a game, a secret shown) is written down before it is done, as what somebody was about to do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.audit.models import Actor, AuditEvent, Entry, Outcome, Target
from shared.platform import telemetry
from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists, Fault
from shared.platform.ids import Ids, OrgId, derived, make
from shared.store.query import Slice, Where
from shared.store.scoped import Store


class Audit:
    """The audit trail of organizations."""

    def __init__(self, store: Store, clock: Clock, ids: Ids) -> None:
        self._store, self._clock, self._ids = store, clock, ids

    def entry(
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
    ) -> AuditEvent:
        """An entry, to be created in the batch of the change that it tells of."""
        return AuditEvent(
            id=self._ids.new("aud"),
            org_id=org,
            entry=Entry(
                at=self._clock.now(),
                action=action,
                outcome=outcome,
                actor=actor,
                target=target,
                before=_changed(before, after),
                after=_changed(after, before),
                reason=reason,
            ),
        )

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
        """Write an entry of something that changes no document. Of an act, before the act.

        Raises:
            Fault: the store does not take it; then the act is not to be done.
        """
        told = self.entry(org, actor, action, target, outcome=outcome, before=before, after=after, reason=reason)
        await self._store.create(org, told)

    async def record_once(
        self,
        org: OrgId,
        actor: Actor,
        action: str,
        target: Target,
        *,
        at: datetime,
        before: Mapping[str, Any] | None = None,
    ) -> bool:
        """Write an entry of what was found at a moment that is stored; False when it is there already.

        Its id follows from action, target and moment: whoever comes upon the same finding makes the same entry.

        Raises:
            Fault: the store does not take it.
        """
        told = self.entry(org, actor, action, target, before=before)
        found = told.entry.model_copy(update={"at": at})
        try:
            await self._store.create(org, told.having(id=derived("aud", at, action, target.id), entry=found))
        except AlreadyExists:
            return False
        return True

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
        """Entries, newest first, from `since` on and before `until`: one query, however old they are.

        Raises:
            BadCursor: the cursor is not one of this list.
        """
        conditions = [*where, *_times(since, until)]
        return await self._store.page(org, AuditEvent, where=conditions, limit=limit, cursor=cursor)

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


def _changed(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What differs from the other side; all of it when there is no other side."""
    if one is None:
        return None
    if other is None:
        return dict(one)
    return {name: value for name, value in one.items() if name not in other or other[name] != value}


def _times(since: datetime | None, until: datetime | None) -> list[Where]:
    """The ids of entries begin with their time, and are indexed: they find the place, the exact time decides there."""
    found = []
    if since:
        found += [Where("id", ">=", _first_id(since)), Where("entry.at", ">=", since)]
    if until:
        found += [Where("id", "<=", _last_id(until)), Where("entry.at", "<", until)]
    return found


def _first_id(moment: datetime) -> str:
    return make("aud", moment, bytes(10))


def _last_id(moment: datetime) -> str:
    return make("aud", moment, b"\xff" * 10)
