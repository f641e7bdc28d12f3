"""The person who is signed in: who they are, where they belong, what they may do, what they are invited to."""

from __future__ import annotations

from pydantic import Field

from functions.organizations import OrganizationView, view_organization
from shared.composition import services
from shared.http import Call, In, Out, Routes
from shared.identity.authorizer import person_of
from shared.identity.models import User
from shared.organizations.errors import (
    AlreadyMember,
    InvitationClosed,
    InvitationNotFound,
    LastOwner,
    MemberLimit,
    OrganizationDeleted,
)
from shared.organizations.models import Offer, member_id
from shared.platform.clock import Timestamp
from shared.platform.ids import InvitationId, OrgId

routes = Routes("me", services)
blueprint = routes.blueprint


class Me(Out):
    """Who is calling."""

    id: str
    name: str | None
    email: str | None
    email_verified: bool
    organization: str | None = Field(description="The organization of the token; null while there is none.")


class MyOrganization(OrganizationView):
    """An organization that the caller belongs to."""

    role: str


class MyOrganizations(Out):
    """All of the caller's organizations (a person belongs to at most 50)."""

    items: list[MyOrganization]


class MyPermissions(Out):
    """What the caller may do in the token's organization."""

    role: str
    everywhere: list[str] = Field(description="Permissions that hold for the whole organization.")
    grants: list[dict[str, object]] = Field(
        description="Grants and denies beside the role, as the member's page shows them."
    )


class MyInvitation(Out):
    """An open invitation of the caller."""

    id: str
    organization: str
    role: str
    expires_at: Timestamp


class MyInvitations(Out):
    """The open invitations of the caller's verified address."""

    items: list[MyInvitation]


class InvitationLink(In):
    """The secret of an invitation's link."""

    token: str = Field(min_length=20, max_length=100)


class Joined(Out):
    """A membership that has just begun. Exchange again to get a token for the organization."""

    organization: str
    member: str
    role: str


@routes.get("/v1/me", organization=False)
async def read_me(call: Call) -> Me:
    """Who is calling."""
    user = await _me(call)
    return Me(
        id=user.id,
        name=user.name,
        email=user.email,
        email_verified=user.email_verified,
        organization=call.principal.org,
    )


@routes.get("/v1/me/organizations", organization=False)
async def list_my_organizations(call: Call) -> MyOrganizations:
    """The organizations that the caller belongs to. A token for another one comes from an exchange that names it."""
    belonging = await call.services.organizations.of_person(await _me(call))
    return MyOrganizations(
        items=[
            MyOrganization(**view_organization(organization).model_dump(), role=member.role)
            for organization, member in belonging
        ]
    )


@routes.get("/v1/me/permissions", organization=False)
async def read_my_permissions(call: Call) -> MyPermissions:
    """What the caller may do in the organization of the token, API keys included."""
    _ = call.org
    access = await call.services.identity.authorizer.access(call.principal)
    return MyPermissions(
        role=access.role,
        everywhere=sorted(access.everywhere(call.services.clock.now())),
        grants=[grant.model_dump(mode="json") for grant in access.grants],
    )


@routes.get("/v1/me/invitations", organization=False)
async def list_my_invitations(call: Call) -> MyInvitations:
    """The open invitations of the caller's e-mail address, if the sign-in site has verified it."""
    offers = await call.services.invitations.offers(await _me(call))
    return MyInvitations(items=[view_offer(offer) for offer in offers])


@routes.post("/v1/me/invitations/{invitation_id}/accept", organization=False)
async def accept_my_invitation(call: Call, invitation_id: InvitationId) -> Joined:
    """Join the organization that has invited the caller's verified address."""
    user = await _me(call)
    return await _join(call, user, await call.services.invitations.of_person(user, invitation_id))


@routes.post("/v1/me/invitations/{invitation_id}/decline", organization=False)
async def decline_my_invitation(call: Call, invitation_id: InvitationId) -> None:
    """Say no to an invitation."""
    user = await _me(call)
    offer = await call.services.invitations.of_person(user, invitation_id)
    await call.services.invitations.decline(offer, user, person_of(call).actor)


_LINK_REFUSALS = (InvitationNotFound, InvitationClosed, OrganizationDeleted)


@routes.post("/v1/invitations/preview", organization=False, rate="sign_in", problems=_LINK_REFUSALS)
async def preview_invitation(call: Call, body: InvitationLink) -> MyInvitation:
    """What an invitation's link invites to."""
    return view_offer(await call.services.invitations.by_secret(body.token))


@routes.post(
    "/v1/invitations/accept",
    organization=False,
    rate="sign_in",
    problems=[*_LINK_REFUSALS, AlreadyMember, MemberLimit],
)
async def accept_invitation(call: Call, body: InvitationLink) -> Joined:
    """Join by an invitation's link, whatever address the caller signed up with."""
    user = await _me(call)
    return await _join(call, user, await call.services.invitations.by_secret(body.token))


@routes.post("/v1/me/leave", organization=False)
async def leave_organization(call: Call) -> None:
    """Leave the organization of the token. The last owner cannot."""
    org, user = call.org, await _me(call)
    person = person_of(call)
    await call.services.members.leave(OrgId(org), member_id(user.user_id), by=person)


@routes.delete("/v1/me", organization=False, if_match=False, problems=[LastOwner])
async def delete_me(call: Call) -> None:
    """Delete the account: every membership ends, name and address are forgotten, the session ends.

    Refused while the caller is the last owner of an organization: hand it over or delete it first.
    """
    person = person_of(call)
    user = await call.services.users.get(person.user)
    await call.services.members.leave_all(await call.services.organizations.of_person(user), by=person)
    await call.services.users.delete(person.user)
    if call.principal.session is not None:
        await call.services.identity.sessions.end(call.principal.session, "the account was deleted")


async def _me(call: Call) -> User:
    return await call.services.users.get(person_of(call).user)


async def _join(call: Call, user: User, offer: Offer) -> Joined:
    member = await call.services.invitations.accept(offer, user, person_of(call).actor)
    return Joined(organization=member.org_id, member=member.id, role=member.role)


def view_offer(offer: Offer) -> MyInvitation:
    """An invitation as the invited person sees it."""
    return MyInvitation(
        id=offer.invitation.id,
        organization=offer.organization.name,
        role=offer.invitation.role,
        expires_at=offer.invitation.expires_at,
    )
