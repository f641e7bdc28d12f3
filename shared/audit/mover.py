"""Entries on their way from the organization's partition to the trail.

    answer ──▶ caller
       └ add ─ a moment ─▶ one batch into the trail ─▶ one batch out of the partition

Nobody waits for it: an entry that is still on its way is moved by whoever reads the trail. So it is done beside the
answers, and those of one organization and month together, which costs two calls for many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from shared.audit.models import AuditEvent, AuditPending, Entry, month_of
from shared.platform import telemetry
from shared.platform.errors import AlreadyExists, Fault, NotFound
from shared.platform.ids import OrgId
from shared.store.scoped import Store

#: Off the way of the answer, which the same process is busy with; and some more come in that time.
MOMENT_SECONDS: Final = 0.1
MOST_AT_ONCE: Final = 50  # an entry has a few KiB, a batch of the store takes 2 MiB
MOST_WAITING: Final = 10_000


class Mover:
    """See the module."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: list[AuditPending] = []
        self._moving: asyncio.Task[None] | None = None

    def add(self, *pending: AuditPending) -> None:
        """Move these soon. When there are too many already, they stay where they are until the trail is read."""
        if len(self._waiting) > MOST_WAITING:
            telemetry.counter("audit.left_pending", "{entry}").add(len(pending))
            return
        self._waiting += pending
        if self._moving is None or self._moving.done():
            self._moving = asyncio.get_running_loop().create_task(self._run())

    async def idle(self) -> None:
        """Return when nothing is on its way."""
        if self._moving is not None:
            await self._moving

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(MOMENT_SECONDS)
            pending, self._waiting = self._waiting, []
            try:
                await self.move(pending)
            except Fault:
                telemetry.counter("audit.left_pending", "{entry}").add(len(pending))

    async def move(self, pending: Sequence[AuditPending]) -> None:
        """Move these now.

        Raises:
            Fault: the store does not answer; what was not moved waits for the next reader.
        """
        groups: dict[tuple[OrgId, str], list[AuditPending]] = {}
        for one in pending:
            groups.setdefault((one.org_id, month_of(one.entry.at)), []).append(one)
        for (org, month), members in groups.items():
            for start in range(0, len(members), MOST_AT_ONCE):
                await self._move_some(org, month, members[start : start + MOST_AT_ONCE])

    async def _move_some(self, org: OrgId, month: str, some: Sequence[AuditPending]) -> None:
        if len(some) > 1:
            created = self._store.batch(org, container=AuditEvent.container, sub=month)
            deleted = self._store.batch(org)
            for one in some:
                created.create(event_of(one.id, org, one.entry))
                deleted.delete(AuditPending, one.id)
            with suppress(AlreadyExists, NotFound):  # another reader moved one of them: they go one by one
                await created.commit()
                await deleted.commit()
                return
        for one in some:
            with suppress(AlreadyExists):  # moved before; only the deletion was missing
                await self._store.create(org, event_of(one.id, org, one.entry))
            with suppress(NotFound):  # another reader was faster
                await self._store.delete(org, AuditPending, one.id)


def event_of(id: str, org: OrgId, entry: Entry) -> AuditEvent:
    """The entry as it lies in the trail."""
    return AuditEvent(id=id, org_id=org, month=month_of(entry.at), entry=entry)
