"""Members: listed, given other roles and grants, removed, leaving."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from shared.audit.models import Actor, AuditEvent, Target
from shared.audit.service import Audit
from shared.identity.access import Effect, Grant, Resource, limit_of
from shared.identity.authorizer import Person
from shared.identity.caller import Caller
from shared.identity.errors import CannotPassOn
from shared.identity.permissions import Permission, Role
from shared.identity.users import Users
from shared.organizations import rules
from shared.organizations.access import AccessReader
from shared.organizations.errors import GrantNotFound, MemberChanged, MemberNotFound, TooManyGrants
from shared.organizations.models import MAX_GRANTS, ROSTER_ID, Member, Organization, Roster
from shared.organizations.roles import Roles
from shared.platform.clock import Clock
from shared.platform.errors import Invalid
from shared.platform.ids import GrantId, MemberId, OrgId
from shared.platform.results import Denied
from shared.store.batch import again_on_conflict
from shared.store.query import Slice
from shared.store.scoped import Store


class Members:
    """Who belongs to an organization. The acting person's own rights bound what they can do to others'."""

    def __init__(
        self, store: Store, users: Users, access: AccessReader, roles: Roles, audit: Audit, clock: Clock
    ) -> None:
        self._store, self._users, self._access = store, users, access
        self._roles, self._audit, self._clock = roles, audit, clock

    async def page(self, org: OrgId, *, role: str | None, limit: int, cursor: str | None) -> Slice[Member]:
        """Members, in the order of their accounts' making."""
        return await self._store.page(org, Member, filters={"role": role}, sort="id", limit=limit, cursor=cursor)

    async def get(self, org: OrgId, member: MemberId) -> Member:
        """One member.

        Raises:
            MemberNotFound: there is none with that id.
        """
        found = await self._store.find(org, Member, member)
        if found is None:
            raise MemberNotFound(f"there is no member {member}")
        return found

    async def change_role(self, org: OrgId, member: MemberId, role: str, *, etag: str, by: Caller) -> Member:
        """Give a member another role.

        Raises:
            RoleNotFound, CannotPassOn, NotOverThem, LastOwner, PreconditionFailed
        """

        async def attempt() -> Member:
            now = self._clock.now()
            organization, roster, target = await self._picture(org, member, etag)
            # An owner may step down, as they may leave: that takes from nobody but themselves.
            stepping_down = target.user_id == by.user and target.role == Role.OWNER
            if not stepping_down:
                await self._check_over(organization, target, by, now)
            permissions = await self._roles.permissions(org, role)
            rules.check_may_assign(by.access, permissions, now)
            moved = rules.with_role_changed(roster, target.user_id, target.role, role)
            after = target.having(role=role)
            told = self._told(org, by.actor, "member.role_changed", target, {"role": target.role}, {"role": role})
            batch = self._store.batch(org).replace(after).create(told)
            await (batch.replace(moved) if moved is not roster else batch).commit()
            return await self.get(org, member)

        return await self._fresh(org, again_on_conflict(attempt))

    async def remove(self, org: OrgId, member: MemberId, *, etag: str, by: Caller) -> None:
        """Remove a member.

        Raises:
            MemberNotFound, MemberChanged, NotOverThem, LastOwner
        """

        async def check(organization: Organization, target: Member) -> None:
            if target.user_id != by.user:  # removing oneself is leaving
                await self._check_over(organization, target, by, self._clock.now())

        await self._remove(org, member, etag, "member.removed", by.actor, check)

    async def leave(self, org: OrgId, member: MemberId, *, by: Person) -> None:
        """Leave the organization; nobody needs a permission for that.

        Raises:
            MemberNotFound, LastOwner
        """

        async def check(_organization: Organization, _target: Member) -> None:
            return

        await self._remove(org, member, "*", "member.left", by.actor, check)

    async def leave_all(self, belonging: list[tuple[Organization, Member]], *, by: Person) -> None:
        """Leave every organization, or none; those that are deleted already are left to their erasure.

        Raises:
            LastOwner: of one of them (unless others change in between, then some have been left).
        """
        alive = [(found.org_id, member) for found, member in belonging if found.deleted_at is None]
        for org, member in alive:
            rules.without_member(await self._store.get(org, Roster, ROSTER_ID), member.user_id, member.role)
        for org, member in alive:
            await self.leave(org, MemberId(member.id), by=by)

    async def _remove(
        self,
        org: OrgId,
        member: MemberId,
        etag: str,
        action: str,
        actor: Actor,
        check: Callable[[Organization, Member], Awaitable[None]],
    ) -> None:
        async def attempt() -> Member:
            organization, roster, target = await self._picture(org, member, etag)
            await check(organization, target)
            without = rules.without_member(roster, target.user_id, target.role)
            told = self._told(org, actor, action, target, {"role": target.role}, None)
            batch = self._store.batch(org).delete(Member, target.id, etag=target.etag)
            await batch.replace(without).create(told).commit()
            return target

        # The roster changes with every joining and leaving: a conflict there is not the caller's, and is tried again.
        # One on the member itself is theirs: `_picture` compares the ETag that they sent.
        target = await self._fresh(org, again_on_conflict(attempt))
        await self._users.forget_membership(target.user_id, org)

    async def grant(
        self,
        org: OrgId,
        member: MemberId,
        grant_id: GrantId,
        *,
        effect: Effect,
        permission: Permission,
        resource: Resource | None,
        expires_at: datetime | None,
        by: Caller,
    ) -> Grant:
        """Give a member one permission more, or take one away, perhaps for one resource, perhaps for a time.

        Raises:
            CannotPassOn: the actor lacks it, there or for that long.
            Invalid: the permission is not about a thing of that kind: the limit would mean nothing.
            NotOverThem, MemberNotFound, TooManyGrants
        """
        now = self._clock.now()
        if expires_at is not None and expires_at <= now:
            raise Invalid(f"expires_at is {(now - expires_at).total_seconds():.0f} s ago")
        _check_limit(permission, resource)
        allowed = by.access.may_pass_on(permission, resource, expires_at, now)
        if isinstance(allowed, Denied):
            raise CannotPassOn(allowed.reason)
        grant = Grant(
            id=grant_id,
            effect=effect,
            permission=permission,
            resource=resource,
            expires_at=expires_at,
            granted_by=by.user,
            created_at=now,
        )

        def add(target: Member) -> Member:
            kept = tuple(g for g in target.grants if g.live(now) and g.id != grant_id)
            if len(kept) >= MAX_GRANTS:
                raise TooManyGrants(f"the member has {len(kept)} grants; {MAX_GRANTS} are allowed", limit=MAX_GRANTS)
            return target.having(grants=(*kept, grant))

        await self._change_grants(org, member, add, by, "grant.created", after=_shown(grant))
        return grant

    async def revoke_grant(self, org: OrgId, member: MemberId, grant_id: GrantId, *, by: Caller) -> None:
        """Take a grant (or a deny) back.

        Raises:
            GrantNotFound, NotOverThem, MemberNotFound
        """
        found = next((g for g in (await self.get(org, member)).grants if g.id == grant_id), None)
        if found is None:
            raise GrantNotFound(f"the member has no grant {grant_id}")
        if found.effect is Effect.DENY:  # lifting a deny gives something: only who holds it gives it
            allowed = by.access.may_pass_on(found.permission, found.resource, None, self._clock.now())
            if isinstance(allowed, Denied):
                raise CannotPassOn(allowed.reason)
        await self._change_grants(
            org,
            member,
            lambda m: m.having(grants=tuple(g for g in m.grants if g.id != grant_id)),
            by,
            "grant.revoked",
            before=_shown(found),
        )

    async def _change_grants(
        self,
        org: OrgId,
        member: MemberId,
        change: Callable[[Member], Member],
        by: Caller,
        action: str,
        *,
        before: dict[str, object] | None = None,
        after: dict[str, object] | None = None,
    ) -> None:
        async def attempt() -> Member:
            target = await self.get(org, member)
            organization = await self._store.get(org, Organization, org)
            await self._check_over(organization, target, by, self._clock.now())
            told = self._told(org, by.actor, action, target, before, after)
            await self._store.batch(org).replace(change(target)).create(told).commit()
            return target

        await self._fresh(org, again_on_conflict(attempt))

    async def _picture(self, org: OrgId, member: MemberId, etag: str) -> tuple[Organization, Roster, Member]:
        """The roster is read first: what is decided on it fails if anything about membership changes after."""
        roster = await self._store.get(org, Roster, ROSTER_ID)
        organization = await self._store.get(org, Organization, org)
        target = await self.get(org, member)
        if etag not in (target.etag, "*"):
            raise MemberChanged("the member was changed in the meantime")
        return organization, roster, target

    async def _check_over(self, organization: Organization, target: Member, by: Caller, now: datetime) -> None:
        target_access = await self._access.access_of(organization, target)
        rules.check_may_change(by.access, by.user, target_access, target.user_id, now)

    async def _fresh(self, org: OrgId, work: Awaitable[Member]) -> Member:
        try:
            return await work
        finally:
            self._access.forget(org)

    def _told(
        self,
        org: OrgId,
        actor: Actor,
        action: str,
        target: Member,
        before: dict[str, object] | None,
        after: dict[str, object] | None,
    ) -> AuditEvent:
        about = Target(kind="member", id=target.id, name=target.name)
        return self._audit.entry(org, actor, action, about, before=before, after=after)


def _shown(grant: Grant) -> dict[str, object]:
    """What the trail tells of a grant."""
    return grant.model_dump(mode="json", include={"id", "effect", "permission", "resource", "expires_at"})


def _check_limit(permission: Permission, resource: Resource | None) -> None:
    """A limit that nothing would ask for is refused, so that nobody relies on it."""
    kind = limit_of(permission)
    if resource is None or resource.kind is kind:
        return
    allowed = f"to one {kind.value}" if kind is not None else "to nothing"
    raise Invalid(f"{permission.value} can be limited {allowed}, not to one {resource.kind.value}")
