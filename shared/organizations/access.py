"""What a person may do in an organization, read from its documents and remembered for 30 s.

    removal of a member      on the instance that removed them: at once       elsewhere: within 30 s

Fails closed: while the store does not answer, nobody's rights can be read, and what needs a right is refused (503).
"""

from __future__ import annotations

import asyncio
from typing import Final

from shared.identity.access import Access, role_permissions
from shared.identity.errors import NotAMember
from shared.identity.memory import Memory
from shared.identity.permissions import Permission, Role
from shared.organizations.models import CustomRole, Member, Organization, member_id
from shared.platform.clock import Clock
from shared.platform.ids import OrgId, UserId
from shared.store.scoped import Store

REMEMBER_SECONDS: Final = 30.0

#: What is left of everyone's rights in a deleted organization: to see it, to take the deletion back, to pay what is due.
LEFT_WHEN_DELETED: Final = frozenset(
    {
        Permission.ORG_READ,
        Permission.ORG_DELETE,
        Permission.AUDIT_READ,
        Permission.AUDIT_EXPORT,
        Permission.BILLING_READ,
        Permission.BILLING_MANAGE,
    }
)


class AccessReader:
    """Reads who may what. Implements `shared.identity.memberships.Memberships`."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._known: Memory[tuple[OrgId, UserId], Access] = Memory(clock, REMEMBER_SECONDS)

    async def check(self, org: OrgId, user: UserId) -> None:
        """See `Memberships.check`. Read afresh: a token is not made on what was true half a minute ago."""
        self._known.forget(lambda key: key == (org, user))
        await self.access(org, user)

    async def access(self, org: OrgId, user: UserId) -> Access:
        """See `Memberships.access`."""
        known = self._known.get((org, user))
        if known is None:
            known = await self._read(org, user)
            self._known.put((org, user), known)
        return known

    async def access_of(self, organization: Organization, member: Member) -> Access:
        """The rights of a member whose document is at hand."""
        custom: dict[str, frozenset[Permission]] = {}
        role = member.role
        if role not in {builtin.value for builtin in Role}:
            found = await self._store.find(member.org_id, CustomRole, role)
            if found is not None:
                custom[role], role = frozenset(found.permissions), found.name
        base = role_permissions(member.role, custom)
        if organization.deleted_at is not None:
            base &= LEFT_WHEN_DELETED
            grants = tuple(g for g in member.grants if g.permission in LEFT_WHEN_DELETED)
            return Access(role=role, base=base, grants=grants)
        return Access(role=role, base=base, grants=member.grants)

    def forget(self, org: OrgId) -> None:
        """Something about the organization's members or roles has changed here."""
        self._known.forget(lambda key: key[0] == org)

    async def _read(self, org: OrgId, user: UserId) -> Access:
        organization, member = await asyncio.gather(
            self._store.find(org, Organization, org), self._store.find(org, Member, member_id(user))
        )
        if organization is None or member is None:
            raise NotAMember("you are not a member of this organization")
        return await self.access_of(organization, member)
