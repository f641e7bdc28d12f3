"""The mails of invitations, and the secrets of their links.

A link's secret follows from a key in the secret store and the invitation's id. So nothing that opens a door is kept while
a mail waits, and the same mail can be made again by whoever sends it a second time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets as randomness
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from shared.organizations.errors import TooManyMails
from shared.organizations.models import Invitation, MailState, Organization
from shared.platform import telemetry
from shared.platform.errors import NotFound
from shared.platform.mail import Mail, Mailer, MailRefused
from shared.store.query import Where

if TYPE_CHECKING:
    from datetime import datetime

    from shared.platform.clock import Clock
    from shared.platform.ids import InvitationId, OrgId
    from shared.platform.secrets import Secrets
    from shared.store.scoped import Store

LINK_SECRET: Final = "invitation-links"  # noqa: S105 - the secret's name
#: Invitations that one organization mails to one address.
MAILS_A_DAY: Final = 3
DAY: Final = timedelta(days=1)
Outcome = Literal["absent", "closed", "sent", "failed"]
_log = telemetry.log("invitations")

_TEXT: Final = """\
You are invited to {organization} as {role}.

To see the invitation, and to accept it, open

    {link}

until {until:%d %B %Y, %H:%M} UTC. Whoever has this link can use it: do not pass this mail on.
If you do not know what this is about, there is nothing that you need to do.
"""


class InvitationLinks:
    """The secrets of the links, and what is kept of them."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def secret_of(self, org: OrgId, invitation: InvitationId) -> str:
        """The secret of an invitation's link: 256 bits, the same each time.

        Raises:
            SecretsUnavailable: the secret store does not answer.
        """
        key = await self._secrets.get(LINK_SECRET)
        if key is None:
            key = await self._secrets.create(LINK_SECRET, randomness.token_urlsafe(32))
        digest = hmac.digest(key.encode(), f"{org}/{invitation}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    @staticmethod
    def kept(secret: str) -> str:
        """What an invitation keeps of its link's secret."""
        return hashlib.sha256(secret.encode()).hexdigest()


async def check_mails_left(store: Store, org: OrgId, email: str, now: datetime) -> None:
    """Whether the organization may mail this address once more: who withdraws and invites anew is not to pester anybody.

    Told by the invitations themselves. Of two at once the roster lets one through, and the other is asked again.

    Raises:
        TooManyMails: not until the oldest of the last ones is a day old.
    """
    recent = [Where("mail", "!=", MailState.NONE.value), Where("created_at", ">", now - DAY)]
    found = await store.page(org, Invitation, filters={"email": email}, where=recent, limit=MAILS_A_DAY)
    if len(found.items) < MAILS_A_DAY:
        return
    wait = min(invitation.created_at for invitation in found.items) + DAY - now
    raise TooManyMails(
        f"the address was mailed {MAILS_A_DAY} invitations within a day, and more are not sent",
        retry_after=wait.total_seconds(),
        limit=MAILS_A_DAY,
    )


class InvitationMails:
    """Sends an invitation's mail; called by the flow that began before the invitation was stored."""

    def __init__(self, store: Store, links: InvitationLinks, mailer: Mailer, page: str, clock: Clock) -> None:
        """`page`: address of the page that takes the secret, with `{token}` in its place."""
        self._store, self._links, self._mailer, self._page, self._clock = store, links, mailer, page, clock

    async def send(self, org: OrgId, invitation_id: InvitationId) -> Outcome:
        """Send the mail of an open invitation that waits for it.

            mailer.send ............ taken ............ state: sent
                 crash here: it waits still, and is sent again under the same Message-ID

        Raises:
            MailNotTaken: not this time.
            SecretsUnavailable, Fault: likewise.
        """
        invitation = await self._store.find(org, Invitation, invitation_id)
        organization = await self._store.find(org, Organization, org)
        if invitation is None or organization is None:
            return "absent"
        if invitation.mail is not MailState.WAITING:
            return "sent" if invitation.mail is MailState.SENT else "failed"
        if not invitation.open(self._clock.now()) or organization.deleted_at is not None:
            return "closed"
        secret = await self._links.secret_of(org, invitation_id)
        if self._links.kept(secret) != invitation.token_hash:
            return await self.give_up(org, invitation_id, "the key of the links was changed since it was made")
        try:
            await self._mailer.send(self._mail(invitation, organization, secret))
        except MailRefused as refusal:
            return await self.give_up(org, invitation_id, str(refusal))
        await self._note(org, invitation_id, MailState.SENT)
        return "sent"

    async def give_up(self, org: OrgId, invitation_id: InvitationId, reason: str) -> Outcome:
        """Note that the mail will not be sent; whoever invited sees it, and can take the invitation back."""
        _log.warning("no mail for an invitation", extra={"invitation": invitation_id, "reason": reason})
        telemetry.counter("invitations.mail_failed", "{mail}").add(1)
        await self._note(org, invitation_id, MailState.FAILED)
        return "failed"

    async def _note(self, org: OrgId, invitation_id: InvitationId, state: MailState) -> None:
        with suppress(NotFound):  # erased in the meantime, with its organization
            await self._store.update(org, Invitation, invitation_id, lambda found: found.having(mail=state))

    def _mail(self, invitation: Invitation, organization: Organization, secret: str) -> Mail:
        name = " ".join(organization.name.split())
        text = _TEXT.format(
            organization=name,
            role=invitation.role,
            link=self._page.replace("{token}", secret),
            until=invitation.expires_at,
        )
        return Mail(invitation.id, invitation.email, f"Invitation to {name}", text)
