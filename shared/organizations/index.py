"""How an invitation is found before its organization is known: by the secret of its link, or by the invited address.

Both are hints with a TTL: what they lead to is checked on the invitation itself, so one that a crash left behind opens
nothing.
"""

from __future__ import annotations

from typing import Final

from shared.organizations import rules
from shared.organizations.models import AddressInvitations, Invitation, InvitationToken, Invited
from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists, NotFound
from shared.platform.ids import InvitationId
from shared.store.unscoped import Directory, directory_id

_KEPT_SECONDS: Final = int(rules.INVITATION_LIFE.total_seconds()) + 24 * 3600
_MAX_OF_ADDRESS: Final = 50


class InvitationIndex:
    """The directory's entries about invitations."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory, self._clock = directory, clock

    async def publish(self, invitation: Invitation) -> None:
        """Make it findable by its link and by its address."""
        invitation_id = InvitationId(invitation.id)
        token = InvitationToken(
            id=_token_id(invitation.token_hash),
            org_id=invitation.org_id,
            invitation_id=invitation_id,
            ttl=_KEPT_SECONDS,
        )
        await self._directory.upsert(token)
        entry = Invited(org_id=invitation.org_id, invitation_id=invitation_id, expires_at=invitation.expires_at)
        now = self._clock.now()

        def add(found: AddressInvitations) -> AddressInvitations:
            live = [i for i in found.invitations if now < i.expires_at and i.invitation_id != invitation_id]
            return found.having(invitations=(*live, entry)[-_MAX_OF_ADDRESS:])

        address = _address_id(invitation.email)
        try:
            await self._directory.create(AddressInvitations(id=address, invitations=(entry,), ttl=_KEPT_SECONDS))
        except AlreadyExists:
            await self._directory.update(AddressInvitations, address, add)

    async def unpublish(self, invitation: Invitation) -> None:
        """It has been answered or withdrawn."""

        def drop(found: AddressInvitations) -> AddressInvitations:
            return found.having(invitations=tuple(i for i in found.invitations if i.invitation_id != invitation.id))

        try:
            await self._directory.update(AddressInvitations, _address_id(invitation.email), drop)
        except NotFound:
            return

    async def of_address(self, email: str) -> tuple[Invited, ...]:
        """The invitations that an address may have."""
        listed = await self._directory.find(AddressInvitations, _address_id(email))
        return listed.invitations if listed else ()

    async def of_secret(self, digest: str) -> InvitationToken | None:
        """The invitation whose link has a secret with this SHA-256."""
        return await self._directory.find(InvitationToken, _token_id(digest))


def _token_id(digest: str) -> str:
    return directory_id("invitation", digest)


def _address_id(email: str) -> str:
    return directory_id("address-invitations", rules.normal_address(email))
