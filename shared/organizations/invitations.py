"""Invitations by e-mail address: also for people who have no account yet.

Whoever holds the link (it is in the mail) may answer, and so may whoever signs in with the invited address, once the
site has verified it. The invitation's own ETag decides between two who answer at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from shared.audit.models import Actor, Target
from shared.audit.service import Audit
from shared.identity.caller import Caller
from shared.identity.models import User
from shared.identity.users import Users
from shared.organizations import rules
from shared.organizations.access import AccessReader
from shared.organizations.errors import (
    AlreadyMember,
    InvitationClosed,
    InvitationNotFound,
    InvitationsClosed,
    OrganizationDeleted,
    RoleNotFound,
)
from shared.organizations.index import InvitationIndex
from shared.organizations.mails import InvitationLinks, check_mails_left
from shared.organizations.models import (
    ROSTER_ID,
    Invitation,
    InvitationState,
    Made,
    MailState,
    Member,
    Offer,
    Organization,
    Roster,
    member_by,
    member_id,
)
from shared.organizations.roles import Roles
from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists, PreconditionFailed
from shared.platform.ids import InvitationId, OrgId
from shared.platform.results import Ok
from shared.store.batch import again_on_conflict
from shared.store.query import Slice
from shared.store.scoped import Store

_KEPT_SECONDS: Final = 90 * 24 * 3600  # an answered one stays to be seen for a while


class Invitations:
    """Open and answered invitations."""

    def __init__(
        self,
        store: Store,
        index: InvitationIndex,
        links: InvitationLinks,
        users: Users,
        access: AccessReader,
        roles: Roles,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._store, self._index, self._links, self._users = store, index, links, users
        self._access, self._roles, self._audit, self._clock = access, roles, audit, clock

    async def invite(
        self,
        org: OrgId,
        invitation_id: InvitationId,
        *,
        email: str,
        role: str,
        by: Caller,
        begin_mail: Callable[[], Awaitable[None]] | None = None,
    ) -> Made:
        """Invite an address, to a role whose rights the inviting person holds.

        `begin_mail` begins what will send the mail (None: no mail is sent). It is called before anything is written,
        once all rules have said yes: one that finds no invitation ends by itself, and so no invitation stays without
        its mail, whenever this process dies.

        Raises:
            RoleNotFound, CannotPassOn, AlreadyMember, InvitationExists, MemberLimit, InvitationsClosed, TooManyMails
            SecretsUnavailable: the secret of the link cannot be made.
        """
        now = self._clock.now()
        address, secret = rules.normal_address(email), await self._links.secret_of(org, invitation_id)
        rules.check_may_assign(by.access, await self._roles.permissions(org, role), now)
        if await self._store.count(org, Member, filters={"email": address}):
            raise AlreadyMember(f"a member has the address {address}")
        invitation = Invitation(
            id=invitation_id,
            org_id=org,
            email=address,
            role=role,
            token_hash=self._links.kept(secret),
            mail=MailState.WAITING if begin_mail else MailState.NONE,
            invited_by=by.user,
            expires_at=now + rules.INVITATION_LIFE,
            ttl=_KEPT_SECONDS,
        )
        begin = _once(begin_mail)  # however often the batch meets another writer
        made = await again_on_conflict(lambda: self._enter(invitation, by.actor, begin))
        await self._index.publish(made)
        return Made(made, secret)

    async def _enter(
        self, invitation: Invitation, actor: Actor, begin_mail: Callable[[], Awaitable[None]]
    ) -> Invitation:
        """Count the invitation in the roster and store it, in one batch."""
        org, invitation_id = invitation.org_id, InvitationId(invitation.id)
        roster = await self._store.get(org, Roster, ROSTER_ID)
        organization = await self._store.get(org, Organization, org)
        if not organization.invitations_open:
            raise InvitationsClosed("the organization takes no invitations at the moment")
        key, now = rules.address_key(invitation.email), self._clock.now()
        if (known := roster.pending.get(key)) is not None and known.id == invitation_id:
            return await self.get(org, invitation_id)  # the same request once more: it was made the first time
        counted = rules.with_invitation(roster, key, invitation_id, organization.member_limit, now)
        if invitation.mail is MailState.WAITING:
            await check_mails_left(self._store, org, invitation.email, now)
        await begin_mail()
        shown = {"email": invitation.email, "role": invitation.role}
        told = self._audit.entry(org, actor, "invitation.created", _target(invitation), after=shown)
        await self._store.batch(org).create(invitation).replace(counted).create(told).commit()
        return await self.get(org, invitation_id)

    async def page(
        self, org: OrgId, *, state: InvitationState | None, limit: int, cursor: str | None
    ) -> Slice[Invitation]:
        """Invitations, newest first."""
        return await self._store.page(org, Invitation, filters={"state": state}, limit=limit, cursor=cursor)

    async def get(self, org: OrgId, invitation: InvitationId) -> Invitation:
        """One invitation.

        Raises:
            InvitationNotFound: there is none with that id.
        """
        found = await self._store.find(org, Invitation, invitation)
        if found is None:
            raise InvitationNotFound(f"there is no invitation {invitation}")
        return found

    async def withdraw(self, org: OrgId, invitation_id: InvitationId, *, etag: str | None, by: Caller) -> None:
        """Take an invitation back, at the version that the caller has read (None: at any); one that is closed already
        stays as it is.

        Raises:
            InvitationNotFound
            PreconditionFailed: it is another version by now.
        """
        invitation = await self.get(org, invitation_id)
        if etag not in (invitation.etag, None):
            raise PreconditionFailed("the invitation was changed in the meantime")
        if invitation.open(self._clock.now()):
            await self._close(invitation, InvitationState.WITHDRAWN, None, by.actor, "invitation.withdrawn")

    async def offers(self, user: User) -> list[Offer]:
        """The open invitations of the person's verified address."""
        address = user.verified_email
        if address is None:
            return []
        found = await self._index.of_address(address)
        offers = [await self._offer(entry.org_id, entry.invitation_id) for entry in found]
        return [offer for offer in offers if offer is not None]

    async def by_secret(self, secret: str) -> Offer:
        """The invitation that a link belongs to.

        Raises:
            InvitationNotFound: there is none, or it is no longer open.
        """
        digest = self._links.kept(secret)
        entry = await self._index.of_secret(digest)
        offer = await self._offer(entry.org_id, entry.invitation_id) if entry else None
        if offer is None or not secrets.compare_digest(offer.invitation.token_hash, digest):
            raise InvitationNotFound("the link belongs to no open invitation")
        return offer

    async def of_person(self, user: User, invitation_id: InvitationId) -> Offer:
        """The open invitation with that id, if it is the person's (by their verified address).

        Raises:
            InvitationNotFound: it is not.
        """
        for offer in await self.offers(user):
            if offer.invitation.id == invitation_id:
                return offer
        raise InvitationNotFound("there is no open invitation for your verified address with that id")

    async def accept(self, offer: Offer, user: User, actor: Actor) -> Member:
        """Become a member.

        Raises:
            InvitationClosed: another was faster, or it was withdrawn or is too old.
            AlreadyMember, OrganizationDeleted, TooManyOrganizations
        """
        org, invitation_id = offer.invitation.org_id, InvitationId(offer.invitation.id)
        await self._users.remember_membership(user.user_id, org)

        async def attempt() -> Member:
            now = self._clock.now()
            roster = await self._store.get(org, Roster, ROSTER_ID)
            organization = await self._store.get(org, Organization, org)
            invitation = await self.get(org, invitation_id)
            if organization.deleted_at is not None:
                raise OrganizationDeleted("the organization was deleted")
            if not invitation.open(now):
                raise InvitationClosed(f"the invitation is {invitation.state.value} or older than 7 days")
            await self._check_still_theirs_to_give(organization, invitation)
            member = member_by(invitation, user, now)
            joined = rules.with_member(_closed(roster, invitation), user.user_id, invitation.role)
            answered = invitation.having(state=InvitationState.ACCEPTED, answered_by=user.user_id, answered_at=now)
            told = self._audit.entry(
                org,
                actor,
                "member.joined",
                Target(kind="member", id=member.id, name=member.name),
                after={"role": member.role},
            )
            try:
                await self._store.batch(org).create(member).replace(answered).replace(joined).create(told).commit()
            except AlreadyExists:
                raise AlreadyMember("you are a member already") from None
            return await self._store.get(org, Member, member.id)

        member = await again_on_conflict(attempt)
        self._access.forget(org)
        await self._index.unpublish(offer.invitation)
        return member

    async def _check_still_theirs_to_give(self, organization: Organization, invitation: Invitation) -> None:
        """Whoever invited may have lost what they invited to, or been removed: then so is what they gave away.

        Raises:
            InvitationClosed: they could not invite to that role today.
        """
        inviter = await self._store.find(organization.org_id, Member, member_id(invitation.invited_by))
        if inviter is not None:
            access = await self._access.access_of(organization, inviter)
            with suppress(RoleNotFound):  # a role that is gone is nobody's to give
                permissions = await self._roles.permissions(organization.org_id, invitation.role)
                if isinstance(access.may_pass_on_all(permissions, self._clock.now()), Ok):
                    return
        raise InvitationClosed("whoever invited you may not give that role any more; ask for another invitation")

    async def decline(self, offer: Offer, user: User, actor: Actor) -> None:
        """Say no."""
        await self._close(offer.invitation, InvitationState.DECLINED, user, actor, "invitation.declined")

    async def _close(
        self, invitation: Invitation, state: InvitationState, user: User | None, actor: Actor, action: str
    ) -> None:
        org, invitation_id = invitation.org_id, InvitationId(invitation.id)

        async def attempt() -> None:
            now = self._clock.now()
            roster = await self._store.get(org, Roster, ROSTER_ID)
            current = await self.get(org, invitation_id)
            if not current.open(now):
                raise InvitationClosed(f"the invitation is {current.state.value} or older than 7 days")
            closed = current.having(state=state, answered_by=user.user_id if user else None, answered_at=now)
            told = self._audit.entry(org, actor, action, _target(invitation), after={"state": state.value})
            batch = self._store.batch(org).replace(closed).create(told)
            counted = _closed(roster, current)
            await (batch.replace(counted) if counted is not roster else batch).commit()

        await again_on_conflict(attempt)
        await self._index.unpublish(invitation)

    async def _offer(self, org: OrgId, invitation_id: InvitationId) -> Offer | None:
        invitation = await self._store.find(org, Invitation, invitation_id)
        organization = await self._store.find(org, Organization, org)
        if invitation is None or organization is None or not invitation.open(self._clock.now()):
            return None
        return None if organization.deleted_at is not None else Offer(invitation, organization)


def _once(act: Callable[[], Awaitable[None]] | None) -> Callable[[], Awaitable[None]]:
    """The same act, done at the first call alone."""
    left = [act] if act is not None else []

    async def run() -> None:
        while left:
            await left[0]()
            left.clear()

    return run


def _closed(roster: Roster, invitation: Invitation) -> Roster:
    return rules.without_invitation(roster, rules.address_key(invitation.email), InvitationId(invitation.id))


def _target(invitation: Invitation) -> Target:
    return Target(kind="invitation", id=invitation.id, name=invitation.email)
