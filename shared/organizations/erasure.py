"""What is left to do when the grace of a deleted organization is over: it is erased for good.

The order lets a crash be repeated from the start: nodes are let go (their queues and certificates go with them), people
forget the membership, then every document of the partition goes but the audit trail, the organization's own last. The
trail and metrics are not touched: nobody can read them any more, and they end by their own time (400 and 31 days).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from shared.audit.models import SYSTEM, Actor, AuditEvent
from shared.organizations.models import Member, Organization
from shared.platform.errors import NotFound
from shared.store.batch import MAX_OPERATIONS

if TYPE_CHECKING:
    from shared.identity.api_keys import ApiKeys
    from shared.identity.users import Users
    from shared.organizations.access import AccessReader
    from shared.platform.clock import Clock
    from shared.platform.ids import OrgId
    from shared.store.scoped import Store

_PAGE: Final = 100


class NodeKeeper(Protocol):
    """What erasing asks of whoever keeps the nodes."""

    async def let_all_go(self, org: OrgId, reason: str, *, by: Actor) -> None:
        """Decommission every node of the organization."""


class Erasure:
    """Erases organizations whose grace is over."""

    def __init__(
        self,
        store: Store,
        users: Users,
        keys: ApiKeys,
        nodes: NodeKeeper,
        access: AccessReader,
        clock: Clock,
    ) -> None:
        self._store, self._users, self._keys, self._nodes = store, users, keys, nodes
        self._access, self._clock = access, clock

    async def erase(self, org: OrgId) -> bool:
        """Erase it if its grace is over; False if it was restored, or is not due yet. Erasing twice changes nothing."""
        organization = await self._store.find(org, Organization, org)
        if organization is None:
            return True
        if organization.erase_at is None or self._clock.now() < organization.erase_at:
            return False
        await self._nodes.let_all_go(org, "the organization was erased", by=SYSTEM)
        await self._keys.forget_all(org)
        await self._forget_members(org)
        await self._delete_all(org)
        await self._store.delete(org, Organization, org)
        self._access.forget(org)
        return True

    async def _forget_members(self, org: OrgId) -> None:
        cursor: str | None = None
        while True:
            found = await self._store.page(org, Member, sort="id", limit=_PAGE, cursor=cursor)
            for member in found.items:
                try:
                    await self._users.forget_membership(member.user_id, org)
                except NotFound:
                    continue  # the account is gone as well
            cursor = found.cursor
            if cursor is None:
                return

    async def _delete_all(self, org: OrgId) -> None:
        """Every document of the partition but the organization's own and the trail."""
        ids = await self._store.select(
            org,
            Organization,
            "SELECT VALUE c.id FROM c WHERE c.id <> @org AND NOT STARTSWITH(c.id, @trail)",
            [{"name": "@org", "value": org}, {"name": "@trail", "value": AuditEvent.id_prefix}],
        )
        for start in range(0, len(ids), MAX_OPERATIONS):
            batch = self._store.batch(org)
            for id in ids[start : start + MAX_OPERATIONS]:
                batch.delete(Organization, str(id))
            await batch.commit()
