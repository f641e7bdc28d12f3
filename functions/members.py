"""Members of the organization, their roles, grants and denies."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.composition import services
from shared.http import Call, In, ListQuery, Out, Page, Reply, Routes
from shared.identity.access import Effect, Grant, Resource
from shared.identity.authorizer import caller_of, noting
from shared.identity.errors import CannotPassOn
from shared.identity.permissions import Permission
from shared.organizations import bulk
from shared.organizations.bulk import BulkResult
from shared.organizations.errors import (
    GrantNotFound,
    LastOwner,
    MemberChanged,
    MemberNotFound,
    NotOverThem,
    RoleNotFound,
    TooManyGrants,
)
from shared.organizations.models import Member
from shared.platform.clock import Timestamp
from shared.platform.ids import GrantId, MemberId

routes = Routes("members", services)
blueprint = routes.blueprint

_CHANGING = [MemberNotFound, MemberChanged, NotOverThem, LastOwner]


class MemberQuery(ListQuery):
    """Filters of the list of members."""

    role: str | None = Field(default=None, max_length=64)


class MemberView(Out):
    """A member."""

    id: str
    user_id: str
    name: str | None
    email: str | None
    role: str
    joined_at: Timestamp
    invited_by: str | None


class RoleChange(In):
    """A member's new role."""

    role: str = Field(max_length=64, description="A built-in role, or the id of one of the organization's own.")


class GrantCreate(In):
    """One permission more, or less, for one member."""

    permission: Permission
    effect: Effect = Effect.ALLOW
    resource: Resource | None = Field(default=None, description="Only for this thing; absent: for all.")
    expires_at: Timestamp | None = Field(default=None, description="Until then; absent: for good.")


class GrantView(Out):
    """A grant or deny."""

    id: str
    permission: Permission
    effect: Effect
    resource: Resource | None
    expires_at: Timestamp | None
    granted_by: str
    created_at: Timestamp


class Grants(Out):
    """All of a member's grants (at most 50)."""

    items: list[GrantView]


class BulkMembers(In):
    """Members to act on."""

    member_ids: list[MemberId] = Field(min_length=1, max_length=bulk.MAX_ITEMS)


class BulkRole(BulkMembers):
    """Members, and the role that they get."""

    role: str = Field(max_length=64)


@routes.get("/v1/members", permission=Permission.MEMBERS_READ)
async def list_members(call: Call, query: MemberQuery) -> Page[MemberView]:
    """Members of the organization."""
    found = await call.services.members.page(call.org, role=query.role, limit=query.limit, cursor=query.cursor)
    return call.page(found, view_member)


@routes.get(
    "/v1/members/{member_id}", permission=Permission.MEMBERS_READ, response=MemberView, problems=[MemberNotFound]
)
async def read_member(call: Call, member_id: MemberId) -> Reply:
    """One member."""
    return _reply(await call.services.members.get(call.org, member_id))


@routes.patch(
    "/v1/members/{member_id}",
    permission=Permission.MEMBERS_UPDATE,
    response=MemberView,
    problems=[*_CHANGING, RoleNotFound, CannotPassOn],
)
async def update_member(call: Call, member_id: MemberId, body: RoleChange) -> Reply:
    """Give a member another role: one whose permissions the caller holds, to a member who holds no more than that."""
    by = await caller_of(call)
    members = call.services.members
    return _reply(await members.change_role(call.org, member_id, body.role, etag=call.if_match or "*", by=by))


@routes.delete("/v1/members/{member_id}", permission=Permission.MEMBERS_REMOVE, problems=_CHANGING)
async def remove_member(call: Call, member_id: MemberId) -> None:
    """Remove a member. Their tokens for this organization are refused within 30 seconds."""
    by = await caller_of(call)
    await call.services.members.remove(call.org, member_id, etag=call.if_match or "*", by=by)


@routes.post("/v1/members/bulk-remove", permission=Permission.MEMBERS_REMOVE, rate="heavy")
async def remove_members(call: Call, body: BulkMembers) -> BulkResult:
    """Remove several members; each has a result of its own."""
    by, members = await caller_of(call), call.services.members
    return await bulk.each(body.member_ids, lambda id: members.remove(call.org, id, etag="*", by=by), noting(call))


@routes.post("/v1/members/bulk-role", permission=Permission.MEMBERS_UPDATE, rate="heavy")
async def update_members(call: Call, body: BulkRole) -> BulkResult:
    """Give several members a role; each has a result of its own."""
    by, members = await caller_of(call), call.services.members
    return await bulk.each(
        body.member_ids, lambda id: members.change_role(call.org, id, body.role, etag="*", by=by), noting(call)
    )


@routes.get("/v1/members/{member_id}/grants", permission=Permission.GRANTS_READ, problems=[MemberNotFound])
async def list_grants(call: Call, member_id: MemberId) -> Grants:
    """What a member has been granted and denied beside the role."""
    member = await call.services.members.get(call.org, member_id)
    return Grants(items=[view_grant(grant) for grant in member.grants])


@routes.post(
    "/v1/members/{member_id}/grants",
    permission=Permission.GRANTS_MANAGE,
    idempotent=True,
    status=201,
    problems=[MemberNotFound, NotOverThem, CannotPassOn, TooManyGrants],
)
async def create_grant(call: Call, member_id: MemberId, body: GrantCreate) -> GrantView:
    """Grant or deny a permission, perhaps for one resource, perhaps for a time. Nobody grants what they lack."""
    terms: dict[str, Any] = {name: getattr(body, name) for name in ("effect", "permission", "resource", "expires_at")}
    by = await caller_of(call)
    return view_grant(
        await call.services.members.grant(call.org, member_id, GrantId(call.new_id("grt")), **terms, by=by)
    )


@routes.delete(
    "/v1/members/{member_id}/grants/{grant_id}",
    permission=Permission.GRANTS_MANAGE,
    if_match=False,
    problems=[MemberNotFound, GrantNotFound, NotOverThem, CannotPassOn],
)
async def delete_grant(call: Call, member_id: MemberId, grant_id: GrantId) -> None:
    """Take a grant or deny back. (A grant never changes, so there is no version to name.)"""
    await call.services.members.revoke_grant(call.org, member_id, grant_id, by=await caller_of(call))


def view_member(member: Member) -> MemberView:
    """A member as callers see them."""
    return MemberView.model_validate(member, from_attributes=True)


def view_grant(grant: Grant) -> GrantView:
    """A grant as callers see it."""
    return GrantView.model_validate(grant, from_attributes=True)


def _reply(member: Member) -> Reply:
    return Reply(view_member(member), etag=member.etag)
