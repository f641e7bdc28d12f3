"""People: found by who their site says they are, never by an e-mail address."""

from __future__ import annotations

from shared.identity.assertions import Assertion
from shared.identity.errors import TooManyOrganizations
from shared.identity.models import MAX_ORGANIZATIONS, IdentityLink, Membership, User
from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists
from shared.platform.ids import Ids, OrgId, UserId
from shared.store.unscoped import Directory, directory_id


class Users:
    """The people that have ever signed in."""

    def __init__(self, directory: Directory, clock: Clock, ids: Ids) -> None:
        self._directory, self._clock, self._ids = directory, clock, ids

    async def signed_in(self, assertion: Assertion) -> User:
        """The user of a checked assertion, made if this is the first time; name and address follow the site's.

        two browsers, first sign-in    A: create link -> user 1        B: create link -> exists, reads user 1
        a crash after the link         next time: link -> user 1, no document yet -> made then
        """
        link_id = directory_id("identity", assertion.issuer, assertion.subject)
        link = await self._directory.find(IdentityLink, link_id)
        if link is None:
            link = await self._link(link_id)
        user = await self._directory.find(User, link.user_id)
        if user is None:
            user = await self._make(link.user_id, assertion)
        if user.deleted_at is not None:
            return user
        seen = _seen(user, assertion, self._clock.now().date().isoformat())
        if seen == user:
            return user
        return await self._directory.update(User, user.id, lambda u: _seen(u, assertion, str(seen.last_seen_on)))

    async def get(self, user: UserId) -> User:
        """The user.

        Raises:
            NotFound: there is none with that id.
        """
        return await self._directory.get(User, user)

    async def find(self, user: UserId) -> User | None:
        """The user, or None."""
        return await self._directory.find(User, user)

    async def remember_membership(self, user: UserId, org: OrgId) -> None:
        """Note the organization with the person, before the membership itself is written: a hint too many is harmless.

        Raises:
            TooManyOrganizations: the person has as many as one may have.
        """
        now = self._clock.now()

        def add(found: User) -> User:
            if any(m.org_id == org for m in found.memberships):
                return found
            if len(found.memberships) >= MAX_ORGANIZATIONS:
                raise TooManyOrganizations(f"one person belongs to at most {MAX_ORGANIZATIONS} organizations")
            return found.having(memberships=(*found.memberships, Membership(org_id=org, since=now)))

        await self._directory.update(User, user, add)

    async def forget_membership(self, user: UserId, org: OrgId) -> None:
        """Remove the hint, after the membership itself is gone."""

        def drop(found: User) -> User:
            kept = tuple(m for m in found.memberships if m.org_id != org)
            preferred = None if found.preferred_org == org else found.preferred_org
            return found if kept == found.memberships else found.having(memberships=kept, preferred_org=preferred)

        await self._directory.update(User, user, drop)

    async def prefer(self, user: UserId, org: OrgId) -> None:
        """Remember the organization that the person last chose."""
        await self._directory.update(User, user, lambda u: u if u.preferred_org == org else u.having(preferred_org=org))

    async def delete(self, user: UserId) -> None:
        """Forget who the person is. The entry stays, so that nobody signs in as them again."""
        now = self._clock.now()
        await self._directory.update(
            User,
            user,
            lambda u: u.having(
                email=None, email_verified=False, name=None, memberships=(), preferred_org=None, deleted_at=now
            ),
        )

    async def _link(self, link_id: str) -> IdentityLink:
        try:
            return await self._directory.create(IdentityLink(id=link_id, user_id=UserId(self._ids.new("usr"))))
        except AlreadyExists:
            return await self._directory.get(IdentityLink, link_id)

    async def _make(self, user: UserId, assertion: Assertion) -> User:
        try:
            return await self._directory.create(User(id=user, issuer=assertion.issuer, subject=assertion.subject))
        except AlreadyExists:
            return await self._directory.get(User, user)


def _seen(user: User, assertion: Assertion, today: str) -> User:
    """The user with what the site says today. The day is kept, not the moment: one write a day, not one a token."""
    return user.model_copy(
        update={
            "email": assertion.email,
            "email_verified": assertion.email_verified,
            "name": assertion.name or user.name,
            "last_seen_on": today,
        }
    )
