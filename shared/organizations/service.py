"""Organizations: founded, changed, handed over, deleted and taken back."""

from __future__ import annotations

import asyncio

from shared.audit.models import Actor, Target
from shared.audit.service import Audit
from shared.identity.caller import Caller
from shared.identity.errors import UserDeleted
from shared.identity.models import User
from shared.identity.permissions import Role
from shared.identity.users import Users
from shared.organizations import rules
from shared.organizations.access import AccessReader
from shared.organizations.errors import MemberNotFound, NotDeleted, OrganizationDeleted
from shared.organizations.models import ROSTER_ID, Member, Organization, Roster, member_id
from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists, Conflict, PreconditionFailed
from shared.platform.ids import MemberId, OrgId, UserId
from shared.store.batch import again_on_conflict
from shared.store.scoped import Store


class Organizations:
    """The tenants."""

    def __init__(self, store: Store, users: Users, access: AccessReader, audit: Audit, clock: Clock) -> None:
        self._store, self._users, self._access, self._audit, self._clock = store, users, access, audit, clock

    async def found(self, org: OrgId, founder: UserId, *, name: str, description: str, actor: Actor) -> Organization:
        """A new organization with its founder as owner. With an id that was used before (a repeated request), the
        organization that was made then.

        Raises:
            TooManyOrganizations: the founder belongs to as many as one may.
            UserDeleted: the founder's account was deleted.
        """
        user = await self._users.get(founder)
        if user.deleted_at is not None:
            raise UserDeleted("the account was deleted")
        await self._users.remember_membership(founder, org)
        now = self._clock.now()
        organization = Organization(id=org, org_id=org, name=name, description=description)
        roster = rules.with_member(Roster(id=ROSTER_ID, org_id=org), founder, Role.OWNER.value)
        owner = Member(
            id=member_id(founder),
            org_id=org,
            user_id=founder,
            role=Role.OWNER.value,
            joined_at=now,
            email=user.email,
            name=user.name,
        )
        told = self._audit.entry(org, actor, "organization.created", _target(organization), after={"name": name})
        try:
            await self._store.batch(org).create(organization).create(roster).create(owner).create(told).commit()
        except AlreadyExists:
            return await self._store.get(org, Organization, org)
        return await self._store.get(org, Organization, org)

    async def get(self, org: OrgId) -> Organization:
        """The organization.

        Raises:
            NotFound: it was erased.
        """
        return await self._store.get(org, Organization, org)

    async def of_person(self, user: User) -> list[tuple[Organization, Member]]:
        """The organizations that a person belongs to, each with the membership; hints that came to nothing left out."""

        async def read(org: OrgId) -> tuple[Organization, Member] | None:
            organization = await self._store.find(org, Organization, org)
            member = await self._store.find(org, Member, member_id(user.user_id))
            return (organization, member) if organization and member else None

        found = await asyncio.gather(*(read(membership.org_id) for membership in user.memberships))
        return [entry for entry in found if entry is not None]

    async def change(self, org: OrgId, changes: dict[str, object], *, etag: str, by: Caller) -> Organization:
        """Change the given fields.

        Raises:
            PreconditionFailed: somebody changed it since it was read.
            OrganizationDeleted: it is deleted.
        """
        before = await self._current(org, etag)
        if before.deleted_at is not None:
            raise OrganizationDeleted("restore the organization first")
        after = before.having(**changes)
        told = self._audit.entry(
            org, by.actor, "organization.changed", _target(after), before=_shown(before), after=_shown(after)
        )
        await self._store.batch(org).replace(after).create(told).commit()
        return await self.get(org)

    async def delete(self, org: OrgId, *, etag: str, by: Caller) -> Organization:
        """Delete it: at once out of use, erased after 30 days, restorable until then. Deleting twice changes nothing."""
        before = await self._current(org, etag)
        if before.deleted_at is not None:
            return before
        now = self._clock.now()
        after = before.having(deleted_at=now, erase_at=now + rules.DELETION_GRACE)
        return await self._deleted_or_not(before, after, "organization.deleted", by.actor)

    async def restore(self, org: OrgId, *, by: Caller) -> Organization:
        """Take a deletion back.

        Raises:
            NotDeleted: there is none.
        """
        before = await self.get(org)
        if before.deleted_at is None:
            raise NotDeleted("the organization is not deleted")
        return await self._deleted_or_not(
            before, before.having(deleted_at=None, erase_at=None), "organization.restored", by.actor
        )

    async def transfer(self, org: OrgId, to: MemberId, *, by: Caller) -> Member:
        """Hand the ownership over: the member becomes owner, the caller an admin.

        Raises:
            MemberNotFound: there is no such member.
            Conflict: to oneself, or by one who is no owner.
        """

        async def attempt() -> Member:
            roster = await self._store.get(org, Roster, ROSTER_ID)
            old = await self._store.get(org, Member, member_id(by.user))
            new = await self._store.find(org, Member, to)
            if new is None:
                raise MemberNotFound(f"there is no member {to}")
            if new.id == old.id:
                raise Conflict("you own the organization already")
            if old.role != Role.OWNER:
                raise Conflict("only an owner hands over")
            moved = rules.with_ownership_moved(roster, old.user_id, new.user_id, new.role)
            told = self._audit.entry(
                org,
                by.actor,
                "organization.transferred",
                Target(kind="organization", id=org),
                before={"owner": old.user_id},
                after={"owner": new.user_id},
            )
            batch = self._store.batch(org).replace(moved).replace(old.having(role=Role.ADMIN.value))
            await batch.replace(new.having(role=Role.OWNER.value)).create(told).commit()
            return await self._store.get(org, Member, to)

        member = await again_on_conflict(attempt)
        self._access.forget(org)
        return member

    async def _current(self, org: OrgId, etag: str) -> Organization:
        found = await self.get(org)
        if etag not in (found.etag, "*"):
            raise PreconditionFailed("the organization was changed in the meantime")
        return found

    async def _deleted_or_not(
        self, before: Organization, after: Organization, action: str, actor: Actor
    ) -> Organization:
        org = before.org_id
        told = self._audit.entry(org, actor, action, _target(after), before=_shown(before), after=_shown(after))
        await self._store.batch(org).replace(after).create(told).commit()
        self._access.forget(org)
        return await self.get(org)


def _target(organization: Organization) -> Target:
    return Target(kind="organization", id=organization.id, name=organization.name)


def _shown(organization: Organization) -> dict[str, object]:
    fields = {"name", "description", "member_limit", "invitations_open", "deleted_at", "erase_at"}
    return organization.model_dump(mode="json", include=fields)
