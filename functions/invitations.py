"""Invitations of the organization. (Answering one is under /v1/me and /v1/invitations/accept.)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from shared.composition import services
from shared.http import Call, In, ListQuery, Out, Page, Reply, Routes
from shared.identity.authorizer import caller_of, noting
from shared.identity.errors import CannotPassOn
from shared.identity.permissions import Permission
from shared.organizations import bulk
from shared.organizations.bulk import BulkResult
from shared.organizations.errors import (
    AlreadyMember,
    InvitationClosed,
    InvitationExists,
    InvitationNotFound,
    InvitationsClosed,
    MemberLimit,
    RoleNotFound,
    TooManyMails,
)
from shared.organizations.models import Invitation, InvitationState, Made, MailState
from shared.platform.clock import Timestamp
from shared.platform.ids import InvitationId

if TYPE_CHECKING:
    from shared.identity.caller import Caller

routes = Routes("invitations", services)
blueprint = routes.blueprint

_INVITING = [
    AlreadyMember, InvitationExists, InvitationsClosed, MemberLimit, RoleNotFound, CannotPassOn, TooManyMails,
]  # fmt: skip

Address = Annotated[str, Field(min_length=3, max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s.]+$")]
RoleName = Annotated[
    str, Field(max_length=64, description="A built-in role, or the id of one of the organization's own.")
]


class InvitationQuery(ListQuery):
    """Filters of the list of invitations."""

    state: InvitationState | None = None


class InvitationCreate(In):
    """Whom to invite, and to which role."""

    email: Address
    role: RoleName = "viewer"


class InvitationsCreate(In):
    """Several addresses for one role."""

    emails: list[Address] = Field(min_length=1, max_length=bulk.MAX_ITEMS)
    role: RoleName = "viewer"


class InvitationView(Out):
    """An invitation."""

    id: str
    email: str
    role: str
    state: InvitationState
    invited_by: str
    mail: MailState
    created_at: Timestamp
    expires_at: Timestamp


class NewInvitation(InvitationView):
    """An invitation just made."""

    token: str | None = Field(description="The secret of the link, shown this once; null where the API mails it.")


@routes.get("/v1/invitations", permission=Permission.MEMBERS_READ)
async def list_invitations(call: Call, query: InvitationQuery) -> Page[InvitationView]:
    """Invitations, newest first."""
    found = await call.services.invitations.page(call.org, state=query.state, limit=query.limit, cursor=query.cursor)
    return call.page(found, view_invitation)


@routes.post(
    "/v1/invitations",
    permission=Permission.MEMBERS_INVITE,
    rate="heavy",  # each may send a mail
    idempotent=True,
    sealed=True,
    status=201,
    durable=True,
    response=NewInvitation,
    problems=_INVITING,
)
async def create_invitation(call: Call, body: InvitationCreate) -> Reply:
    """Invite an e-mail address, with or without an account. Open for 7 days; it counts against the member limit.

    The link is mailed, where mail is set up; else the reply holds its secret. An address has at most one open invitation.
    """
    made = await _invite(call, await caller_of(call), body.email, body.role)
    token = made.secret if made.invitation.mail is MailState.NONE else None
    shown = NewInvitation(**view_invitation(made.invitation).model_dump(), token=token)
    return Reply(shown, status=201, etag=made.invitation.etag, location=f"/v1/invitations/{made.invitation.id}")


@routes.post("/v1/invitations/bulk", permission=Permission.MEMBERS_INVITE, rate="heavy", idempotent=True, durable=True)
async def create_invitations(call: Call, body: InvitationsCreate) -> BulkResult:
    """Invite several addresses; each has a result of its own."""
    by = await caller_of(call)

    async def invite(email: str) -> Invitation:
        return (await _invite(call, by, email, body.role)).invitation

    return await bulk.each(body.emails, invite, noting(call))


async def _invite(call: Call, by: Caller, email: str, role: str) -> Made:
    """Invite one address; with the flow that sends the mail, where mail is set up."""
    invitation_id, mailed = InvitationId(call.new_id("inv")), call.services.settings.smtp_host is not None

    async def begin_mail() -> None:
        # An id of its own for each attempt: one that died may have left a flow, which is looking or has given up looking.
        flow = f"mail-{invitation_id}-{call.services.ids.new('try')}"
        await call.durable.start_new("mail_invitation", flow, {"org_id": call.org, "id": invitation_id})

    return await call.services.invitations.invite(
        call.org, invitation_id, email=email, role=role, by=by, begin_mail=begin_mail if mailed else None
    )


@routes.get(
    "/v1/invitations/{invitation_id}",
    permission=Permission.MEMBERS_READ,
    response=InvitationView,
    problems=[InvitationNotFound],
)
async def read_invitation(call: Call, invitation_id: InvitationId) -> Reply:
    """One invitation."""
    found = await call.services.invitations.get(call.org, invitation_id)
    return Reply(view_invitation(found), etag=found.etag)


@routes.delete(
    "/v1/invitations/{invitation_id}",
    permission=Permission.MEMBERS_INVITE,
    problems=[InvitationNotFound, InvitationClosed],
)
async def withdraw_invitation(call: Call, invitation_id: InvitationId) -> None:
    """Take an open invitation back."""
    by = await caller_of(call)
    await call.services.invitations.withdraw(call.org, invitation_id, etag=call.if_match, by=by)


def view_invitation(invitation: Invitation) -> InvitationView:
    """An invitation as members see it."""
    return InvitationView.model_validate(invitation, from_attributes=True)
