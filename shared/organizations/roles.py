"""Custom roles: made, changed, deleted; and what any role, built-in or custom, permits."""

from __future__ import annotations

from shared.audit.models import Target
from shared.audit.service import Audit
from shared.identity.caller import Caller
from shared.identity.permissions import ROLE_PERMISSIONS, Permission, Role
from shared.organizations import rules
from shared.organizations.access import AccessReader
from shared.organizations.errors import RoleChanged, RoleNotFound
from shared.organizations.models import ROSTER_ID, CustomRole, Roster
from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists
from shared.platform.ids import OrgId, RoleId
from shared.store.batch import again_on_conflict
from shared.store.query import Slice
from shared.store.scoped import Store


class Roles:
    """The roles of an organization's own making."""

    def __init__(self, store: Store, access: AccessReader, audit: Audit, clock: Clock) -> None:
        self._store, self._access, self._audit, self._clock = store, access, audit, clock

    async def permissions(self, org: OrgId, role: str) -> frozenset[Permission]:
        """What a role permits.

        Raises:
            RoleNotFound: it is neither built in nor the organization's.
        """
        try:
            return ROLE_PERMISSIONS[Role(role)]
        except ValueError:
            return frozenset((await self.get(org, RoleId(role))).permissions)

    async def page(self, org: OrgId, *, limit: int, cursor: str | None) -> Slice[CustomRole]:
        """The custom roles, newest first."""
        return await self._store.page(org, CustomRole, limit=limit, cursor=cursor)

    async def get(self, org: OrgId, role: RoleId) -> CustomRole:
        """One custom role.

        Raises:
            RoleNotFound: there is none with that id.
        """
        found = await self._store.find(org, CustomRole, role)
        if found is None:
            raise RoleNotFound(f"there is no role {role}")
        return found

    async def make(
        self,
        org: OrgId,
        role_id: RoleId,
        *,
        name: str,
        description: str,
        permissions: frozenset[Permission],
        by: Caller,
    ) -> CustomRole:
        """A new role of permissions that its maker holds.

        Raises:
            CannotPassOn, RoleNameTaken, TooManyRoles
        """
        rules.check_may_assign(by.access, permissions, self._clock.now())
        role = CustomRole(
            id=role_id, org_id=org, name=name, description=description, permissions=tuple(sorted(permissions))
        )

        async def attempt() -> CustomRole:
            roster = rules.with_role(await self._store.get(org, Roster, ROSTER_ID), role_id, name)
            told = self._audit.entry(org, by.actor, "role.created", _target(role), after=_shown(role))
            try:
                await self._store.batch(org).create(role).replace(roster).create(told).commit()
            except AlreadyExists:  # the same request once more: it was made the first time
                return await self.get(org, role_id)
            return await self.get(org, role_id)

        return await again_on_conflict(attempt)

    async def change(
        self,
        org: OrgId,
        role_id: RoleId,
        *,
        name: str | None,
        description: str | None,
        permissions: frozenset[Permission] | None,
        etag: str,
        by: Caller,
    ) -> CustomRole:
        """Change a role, and with it the rights of everybody who has it.

        Raises:
            RoleNotFound, CannotPassOn, RoleNameTaken, RoleChanged
        """

        async def attempt() -> CustomRole:
            roster = await self._store.get(org, Roster, ROSTER_ID)
            before = await self._current(org, role_id, etag)
            # Both what it was and what it will be must be the actor's to give: nobody weakens whom they could not make.
            wanted = frozenset(before.permissions) if permissions is None else permissions
            rules.check_may_assign(by.access, wanted | frozenset(before.permissions), self._clock.now())
            after = before.having(
                name=before.name if name is None else name,
                description=before.description if description is None else description,
                permissions=tuple(sorted(wanted)),
            )
            told = self._audit.entry(
                org, by.actor, "role.changed", _target(after), before=_shown(before), after=_shown(after)
            )
            renamed = rules.with_role(roster, role_id, after.name)
            await self._store.batch(org).replace(after).replace(renamed).create(told).commit()
            return await self.get(org, role_id)

        changed = await again_on_conflict(attempt)
        self._access.forget(org)
        return changed

    async def delete(self, org: OrgId, role_id: RoleId, *, etag: str, by: Caller) -> None:
        """Delete a role that nobody has.

        Raises:
            RoleNotFound, RoleInUse, CannotPassOn, RoleChanged
        """

        async def attempt() -> None:
            roster = await self._store.get(org, Roster, ROSTER_ID)
            role = await self._current(org, role_id, etag)
            rules.check_may_assign(by.access, frozenset(role.permissions), self._clock.now())
            told = self._audit.entry(org, by.actor, "role.deleted", _target(role), before=_shown(role))
            batch = self._store.batch(org).delete(CustomRole, role_id, etag=role.etag)
            await batch.replace(rules.without_role(roster, role_id)).create(told).commit()

        await again_on_conflict(attempt)
        self._access.forget(org)

    async def _current(self, org: OrgId, role_id: RoleId, etag: str) -> CustomRole:
        found = await self.get(org, role_id)
        if etag not in (found.etag, "*"):
            raise RoleChanged("the role was changed in the meantime")
        return found


def _target(role: CustomRole) -> Target:
    return Target(kind="role", id=role.id, name=role.name)


def _shown(role: CustomRole) -> dict[str, object]:
    return role.model_dump(mode="json", include={"name", "description", "permissions"})
