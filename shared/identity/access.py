"""What a caller may do, and why not: role, grants, denies and an API key's scopes, put together in one place.

The order of the rules: an API key's scopes are a ceiling; a deny beats every grant; what the role gives holds for the
whole organization; a grant may be limited to one resource and to a time. Every answer carries its reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from shared.identity.permissions import ROLE_PERMISSIONS, Permission, Role
from shared.platform.clock import Timestamp
from shared.platform.results import Denied, Ok, Outcome


class ResourceKind(StrEnum):
    """Kinds of things that a grant can be limited to."""

    SERVER = "server"
    NODE = "node"
    TEMPLATE = "template"


_OF_SERVERS: Final = frozenset({"servers", "tasks", "console", "metrics", "files", "mods", "backups", "schedules"})
#: These make a thing: there is none yet that they could be limited to.
_MAKING: Final = frozenset({Permission.SERVERS_CREATE, Permission.TEMPLATES_CREATE})


def limit_of(permission: Permission) -> ResourceKind | None:
    """The kind of thing that a permission can be limited to, everywhere where it is asked for; None: it cannot be."""
    of = permission.value.partition(".")[0]
    if permission in _MAKING:
        return None
    if of in _OF_SERVERS:
        return ResourceKind.SERVER
    return {"nodes": ResourceKind.NODE, "templates": ResourceKind.TEMPLATE}.get(of)


class Resource(BaseModel):
    """One thing of an organization, as a grant names it."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    kind: ResourceKind
    id: str = Field(min_length=5, max_length=64, pattern=r"^[a-z]{3}_[0-9A-Z]+$")


class Effect(StrEnum):
    """Whether a grant gives or takes away."""

    ALLOW = "allow"
    DENY = "deny"


class Grant(BaseModel):
    """A permission given to (or taken from) one member, perhaps for one resource, perhaps until a moment."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    id: str
    effect: Effect
    permission: Permission
    resource: Resource | None = None
    expires_at: Timestamp | None = None
    granted_by: str
    created_at: Timestamp

    def live(self, now: datetime) -> bool:
        """Whether it still counts."""
        return self.expires_at is None or now < self.expires_at

    def covers(self, resource: Resource | None) -> bool:
        """Whether it speaks about this resource (a grant without one speaks about all)."""
        return self.resource is None or self.resource == resource


@dataclass(frozen=True, slots=True)
class Reach:
    """Which resources of one kind a permission reaches: for lists, which show only what the caller may see."""

    everything: bool
    only: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()

    def includes(self, resource_id: str) -> bool:
        """Whether the thing with this id is reached."""
        return resource_id not in self.never and (self.everything or resource_id in self.only)

    def withholds(self, resource_id: str) -> bool:
        """Whether the thing is kept from the caller by name: denied, or not among the only ones that are theirs."""
        return resource_id in self.never or (not self.everything and bool(self.only) and resource_id not in self.only)


@dataclass(frozen=True, slots=True)
class Access:
    """Everything that decides what one caller may do in one organization."""

    role: str
    base: frozenset[Permission]
    grants: tuple[Grant, ...] = ()
    scopes: frozenset[Permission] | None = None

    def decide(self, permission: Permission, resource: Resource | None, now: datetime) -> Outcome[None]:
        """Whether the caller may use the permission on the resource (None: on the organization as a whole)."""
        if self.scopes is not None and permission not in self.scopes:
            return Denied("outside_scopes", f"the API key has no scope {permission.value}")
        for grant in self._live(permission, now):
            if grant.effect is Effect.DENY and grant.covers(resource):
                return Denied("denied_by_grant", f"{permission.value} is denied to you by {grant.id}")
        if permission in self.base:
            return Ok(None)
        for grant in self._live(permission, now):
            if grant.effect is Effect.ALLOW and grant.covers(resource):
                return Ok(None)
        return Denied("permission_missing", f"{permission.value} is needed, and the role {self.role} does not give it")

    def reach(self, permission: Permission, kind: ResourceKind, now: datetime) -> Reach:
        """Which things of the kind the caller may use the permission on."""
        if self.scopes is not None and permission not in self.scopes:
            return Reach(everything=False)
        everything, only, never = permission in self.base, set[str](), set[str]()
        for grant in self._live(permission, now):
            if grant.resource is None:
                if grant.effect is Effect.DENY:
                    return Reach(everything=False)
                everything = True
            elif grant.resource.kind is kind:
                (never if grant.effect is Effect.DENY else only).add(grant.resource.id)
        return Reach(everything, frozenset(only), frozenset(never))

    def limited(self, permission: Permission, now: datetime) -> bool:
        """Whether it makes a difference which thing the permission is asked for."""
        return any(grant.resource is not None for grant in self._live(permission, now))

    def everywhere(self, now: datetime) -> frozenset[Permission]:
        """The permissions that hold for the whole organization now."""
        return frozenset(p for p in Permission if isinstance(self.decide(p, None, now), Ok))

    def may_pass_on(
        self, permission: Permission, resource: Resource | None, until: datetime | None, now: datetime
    ) -> Outcome[None]:
        """Whether the caller may give this permission to another: only what is theirs, there, and for no longer."""
        own = self.decide(permission, resource, now)
        if isinstance(own, Denied):
            return own
        if resource is None and any(g.effect is Effect.DENY for g in self._live(permission, now)):
            return Denied("denied_by_grant", f"{permission.value} is denied to you for some resource: name another one")
        if permission in self.base:
            return Ok(None)
        ends = [g.expires_at for g in self._live(permission, now) if g.effect is Effect.ALLOW and g.covers(resource)]
        if None in ends:
            return Ok(None)
        last = max(end for end in ends if end is not None)
        if until is None or until > last:
            return Denied("outlives_own_grant", f"your own {permission.value} ends at {last.isoformat()}")
        return Ok(None)

    def may_pass_on_all(self, permissions: Iterable[Permission], now: datetime) -> Outcome[None]:
        """Whether the caller may give all of these for good: to assign a role, or to make one."""
        missing = [p.value for p in sorted(permissions) if isinstance(self.may_pass_on(p, None, None, now), Denied)]
        if missing:
            return Denied("permission_not_held", f"you cannot give what you lack: {', '.join(missing)}")
        return Ok(None)

    def _live(self, permission: Permission, now: datetime) -> list[Grant]:
        return [g for g in self.grants if g.permission is permission and g.live(now)]


def role_permissions(role: str, custom: dict[str, frozenset[Permission]]) -> frozenset[Permission]:
    """The permissions of a built-in or custom role; none for a role that is gone (fails closed)."""
    try:
        return ROLE_PERMISSIONS[Role(role)]
    except ValueError:
        return custom.get(role, frozenset())
