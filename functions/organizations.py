"""The organization of the token; and the founding of new ones."""

from __future__ import annotations

from pydantic import Field

from shared.composition import services
from shared.http import Call, In, Out, Reply, Routes
from shared.identity.authorizer import caller_of, person_of
from shared.identity.errors import TooManyOrganizations
from shared.identity.permissions import Permission
from shared.organizations.errors import MemberNotFound, NotDeleted, OrganizationDeleted
from shared.organizations.models import Organization
from shared.platform.clock import Timestamp, rfc3339
from shared.platform.errors import Conflict
from shared.platform.ids import MemberId, OrgId

routes = Routes("organization", services)
blueprint = routes.blueprint


class OrganizationCreate(In):
    """A new organization."""

    name: str = Field(min_length=1, max_length=200, pattern=r"\S")
    description: str = Field(default="", max_length=2000)


class OrganizationChange(In):
    """What can be changed; what is absent stays."""

    name: str | None = Field(default=None, min_length=1, max_length=200, pattern=r"\S")
    description: str | None = Field(default=None, max_length=2000)
    invitations_open: bool | None = Field(default=None, description="Whether new members can be invited.")


class OrganizationView(Out):
    """An organization."""

    id: str
    name: str
    description: str
    member_limit: int
    invitations_open: bool
    created_at: Timestamp
    updated_at: Timestamp
    deleted_at: Timestamp | None
    erase_at: Timestamp | None = Field(description="When a deleted organization is erased for good.")


class Transfer(In):
    """To whom the organization is handed over."""

    member_id: MemberId = Field(max_length=64)


@routes.post(
    "/v1/organizations",
    organization=False,
    idempotent=True,
    status=201,
    response=OrganizationView,
    problems=[TooManyOrganizations],
)
async def create_organization(call: Call, body: OrganizationCreate) -> Reply:
    """Found an organization. The caller owns it; exchange again, naming it, to get a token for it."""
    person = person_of(call)
    founded = await call.services.organizations.found(
        OrgId(call.new_id("org")), person.user, name=body.name.strip(), description=body.description, actor=person.actor
    )
    return Reply(view_organization(founded), etag=founded.etag, status=201, location="/v1/organization")


@routes.get("/v1/organization", permission=Permission.ORG_READ, response=OrganizationView)
async def read_organization(call: Call) -> Reply:
    """The organization of the token."""
    return _reply(await call.services.organizations.get(call.org))


@routes.patch(
    "/v1/organization",
    permission=Permission.ORG_UPDATE,
    response=OrganizationView,
    problems=[OrganizationDeleted],
)
async def update_organization(call: Call, body: OrganizationChange) -> Reply:
    """Change the organization."""
    changes = body.model_dump(exclude_unset=True, exclude_none=True)
    by = await caller_of(call)
    return _reply(await call.services.organizations.change(call.org, changes, etag=call.if_match or "*", by=by))


@routes.delete("/v1/organization", permission=Permission.ORG_DELETE, response=OrganizationView, durable=True)
async def delete_organization(call: Call) -> Reply:
    """Delete the organization: out of use at once, erased after 30 days, restorable until then."""
    by = await caller_of(call)
    deleted = await call.services.organizations.delete(call.org, etag=call.if_match or "*", by=by)
    await _begin_erasure(call, deleted)
    return _reply(deleted)


@routes.post(
    "/v1/organization/restore", permission=Permission.ORG_DELETE, response=OrganizationView, problems=[NotDeleted]
)
async def restore_organization(call: Call) -> Reply:
    """Take the deletion back."""
    return _reply(await call.services.organizations.restore(call.org, by=await caller_of(call)))


@routes.post(
    "/v1/organization/transfer",
    permission=Permission.ORG_TRANSFER,
    response=OrganizationView,
    problems=[MemberNotFound, Conflict],
)
async def transfer_organization(call: Call, body: Transfer) -> Reply:
    """Hand the organization over to a member; the caller becomes an admin."""
    await call.services.organizations.transfer(call.org, body.member_id, by=await caller_of(call))
    return _reply(await call.services.organizations.get(call.org))


async def _begin_erasure(call: Call, deleted: Organization) -> None:
    """One flow for one deletion, by its id: a repeated call starts what a crash may have left unstarted."""
    if deleted.deleted_at is None or deleted.erase_at is None:
        return
    flow = f"erase-{deleted.id}-{int(deleted.deleted_at.timestamp())}"
    known = await call.durable.get_status(flow)
    if not known or known.runtime_status is None:
        job = {"org_id": deleted.id, "erase_at": rfc3339(deleted.erase_at)}
        await call.durable.start_new("erase_organization", flow, job)


def view_organization(organization: Organization) -> OrganizationView:
    """An organization as callers see it."""
    return OrganizationView.model_validate(organization, from_attributes=True)


def _reply(organization: Organization) -> Reply:
    return Reply(view_organization(organization), etag=organization.etag)
