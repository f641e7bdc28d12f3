"""Roles, built in and the organization's own; and the list of all permissions."""

from __future__ import annotations

from pydantic import Field

from shared.composition import services
from shared.http import Call, In, ListQuery, Out, Page, Reply, Routes
from shared.identity.authorizer import caller_of
from shared.identity.errors import CannotPassOn
from shared.identity.permissions import DESCRIPTIONS, ROLE_PERMISSIONS, Permission
from shared.organizations.errors import RoleChanged, RoleInUse, RoleNameTaken, RoleNotFound, TooManyRoles
from shared.organizations.models import CustomRole
from shared.platform.clock import Timestamp
from shared.platform.ids import RoleId

routes = Routes("roles", services)
blueprint = routes.blueprint


class RoleCreate(In):
    """A role of the organization's own."""

    name: str = Field(min_length=1, max_length=50, pattern=r"\S")
    description: str = Field(default="", max_length=500)
    permissions: set[Permission] = Field(min_length=1)


class RoleUpdate(In):
    """What can be changed; what is absent stays."""

    name: str | None = Field(default=None, min_length=1, max_length=50, pattern=r"\S")
    description: str | None = Field(default=None, max_length=500)
    permissions: set[Permission] | None = Field(default=None, min_length=1)


class RoleView(Out):
    """A role of the organization's own."""

    id: str
    name: str
    description: str
    permissions: list[Permission]
    created_at: Timestamp
    updated_at: Timestamp


class BuiltInRole(Out):
    """A role that every organization has."""

    id: str
    permissions: list[Permission]


class PermissionView(Out):
    """A permission and what it lets one do."""

    id: Permission
    description: str


class Catalogue(Out):
    """The built-in roles and all permissions."""

    roles: list[BuiltInRole]
    permissions: list[PermissionView]


@routes.get("/v1/permissions", permission=Permission.ROLES_READ)
async def list_permissions(_call: Call) -> Catalogue:
    """The built-in roles, and every permission there is."""
    return Catalogue(
        roles=[BuiltInRole(id=role, permissions=sorted(held)) for role, held in ROLE_PERMISSIONS.items()],
        permissions=[PermissionView(id=permission, description=text) for permission, text in DESCRIPTIONS.items()],
    )


@routes.get("/v1/roles", permission=Permission.ROLES_READ)
async def list_roles(call: Call, query: ListQuery) -> Page[RoleView]:
    """The organization's own roles, newest first."""
    return call.page(await call.services.roles.page(call.org, limit=query.limit, cursor=query.cursor), view_role)


@routes.post(
    "/v1/roles",
    permission=Permission.ROLES_MANAGE,
    idempotent=True,
    status=201,
    response=RoleView,
    problems=[CannotPassOn, RoleNameTaken, TooManyRoles],
)
async def create_role(call: Call, body: RoleCreate) -> Reply:
    """Make a role of permissions that the caller holds."""
    by, role_id, held = await caller_of(call), RoleId(call.new_id("rol")), frozenset(body.permissions)
    role = await call.services.roles.make(
        call.org, role_id, name=body.name.strip(), description=body.description, permissions=held, by=by
    )
    return _reply(role, status=201, location=f"/v1/roles/{role_id}")


@routes.get("/v1/roles/{role_id}", permission=Permission.ROLES_READ, response=RoleView, problems=[RoleNotFound])
async def read_role(call: Call, role_id: RoleId) -> Reply:
    """One of the organization's own roles."""
    return _reply(await call.services.roles.get(call.org, role_id))


@routes.patch(
    "/v1/roles/{role_id}",
    permission=Permission.ROLES_MANAGE,
    response=RoleView,
    problems=[RoleNotFound, RoleChanged, CannotPassOn, RoleNameTaken],
)
async def update_role(call: Call, role_id: RoleId, body: RoleUpdate) -> Reply:
    """Change a role, and with it the rights of everybody who has it."""
    changed = await call.services.roles.change(
        call.org,
        role_id,
        name=body.name.strip() if body.name else None,
        description=body.description,
        permissions=frozenset(body.permissions) if body.permissions else None,
        etag=call.if_match or "*",
        by=await caller_of(call),
    )
    return _reply(changed)


@routes.delete(
    "/v1/roles/{role_id}",
    permission=Permission.ROLES_MANAGE,
    problems=[RoleNotFound, RoleChanged, RoleInUse, CannotPassOn],
)
async def delete_role(call: Call, role_id: RoleId) -> None:
    """Delete a role that nobody has."""
    await call.services.roles.delete(call.org, role_id, etag=call.if_match or "*", by=await caller_of(call))


def view_role(role: CustomRole) -> RoleView:
    """A role as callers see it."""
    return RoleView.model_validate(role, from_attributes=True)


def _reply(role: CustomRole, *, status: int | None = None, location: str | None = None) -> Reply:
    return Reply(view_role(role), etag=role.etag, status=status, location=location)
