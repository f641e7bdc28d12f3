"""May they: the caller's rights against the permission that a route names. Refusals are audited."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from shared.audit.actors import actor_of
from shared.audit.models import Actor, Target
from shared.identity.access import Access, Reach, Resource, ResourceKind, limit_of
from shared.identity.caller import Caller, user_of
from shared.identity.errors import NotAMember, PermissionMissing, PersonsOnly
from shared.identity.permissions import Permission
from shared.platform.errors import Fault, Kind, NotFound
from shared.platform.ids import UserId
from shared.platform.results import Denied, Ok, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.audit.service import Audit
    from shared.composition import Services
    from shared.http.call import Call
    from shared.http.principal import Principal
    from shared.identity.memberships import Memberships
    from shared.platform.clock import Clock

_TASK: Final = "tsk_"
_KINDS: Final = {"srv": ResourceKind.SERVER, "nod": ResourceKind.NODE, "tpl": ResourceKind.TEMPLATE}


class Authorizer:
    """Implements `shared.http.ports.Authorizer`."""

    def __init__(self, memberships: Memberships, audit: Audit, clock: Clock) -> None:
        self._memberships, self._audit, self._clock = memberships, audit, clock

    async def authorise(self, call: Call, permission: str, resource: str | None) -> None:
        """See `Authorizer.authorise`. The refusal is written to the audit trail before it is given."""
        try:
            access, asked = await self.access(call.principal), Permission(permission)
            about = await self._thing(call, access, asked, resource)
            decided = access.decide(asked, resource_of(about), self._clock.now())
            if resource is None and call.route.narrowed is not None:
                decided = self._narrowed(call, access, asked, decided)
        except NotAMember as refusal:
            await self._note(call, permission, resource, refusal.reason)
            raise
        if isinstance(decided, Denied):
            await self._note(call, permission, resource, decided.reason)
            raise PermissionMissing(decided.reason, permission=permission)

    async def note(self, call: Call, fault: Fault) -> None:
        """See `Authorizer.note`: that somebody tried to give what they lack stands in the trail, as a closed door does."""
        told = isinstance(fault, PermissionMissing | NotAMember)  # by `authorise`
        if fault.kind is Kind.FORBIDDEN and call.principal.org is not None and not told:
            named = call.route.resource or next(iter(call.request.route_params), None)
            resource = call.request.route_params[named] if named else None
            await self._note(call, call.route.permission or call.route.name, resource, fault.reason)

    async def access(self, principal: Principal) -> Access:
        """What the caller may do in the organization of the token.

        Raises:
            NotAMember: they do not belong there (any more).
        """
        if principal.org is None:
            raise NotAMember("this token is for no organization")
        access = await self._memberships.access(principal.org, user_of(principal))
        if principal.scopes is None:
            return access
        return replace(access, scopes=frozenset(Permission(scope) for scope in principal.scopes))

    async def _thing(self, call: Call, access: Access, permission: Permission, resource: str | None) -> str | None:
        """What the permission is asked for: of a task the server that it is about, where that makes a difference."""
        if resource is None or not resource.startswith(_TASK) or not access.limited(permission, self._clock.now()):
            return resource
        try:
            return (await call.services.tasks.get(call.org, resource)).target
        except NotFound:
            return None

    async def reach(self, call: Call, permission: Permission) -> Reach:
        """Which things the caller may use the permission on."""
        kind = limit_of(permission)
        assert kind is not None, f"{permission} is about no single thing"
        return (await self.access(call.principal)).reach(permission, kind, self._clock.now())

    def _narrowed(self, call: Call, access: Access, permission: Permission, decided: Outcome[None]) -> Outcome[None]:
        """For many things: who may single ones gets these, who is denied single ones gets the others."""
        kind = limit_of(permission)
        if kind is None:
            return decided
        reach = access.reach(permission, kind, self._clock.now())
        if not reach.everything and not reach.only:
            return decided
        if not reach.everything or reach.never:
            call.visible = reach.includes
        return Ok(None)

    async def _note(self, call: Call, permission: str, resource: str | None, reason: str) -> None:
        target = Target(kind="permission", id=permission, name=resource)
        await self._audit.refused(call.org, actor_of(call), permission, target, reason)


def resource_of(id: str | None) -> Resource | None:
    """The thing that a path names, if it is of a kind that grants can be limited to.

    An id that no grant could name (malformed: the route's own validation refuses it next) counts as none.
    """
    kind = _KINDS.get(id[:3]) if id else None
    if id is None or kind is None:
        return None
    try:
        return Resource(kind=kind, id=id)
    except ValueError:
        return None


async def caller_of(call: Call) -> Caller:
    """The caller of a route as the domains see them.

    Raises:
        NotAMember: they do not belong to the organization of the token.
    """
    access = await call.services.identity.authorizer.access(call.principal)
    return Caller(actor_of(call), user_of(call.principal), access)


def noting(call: Call) -> Callable[[Fault], Awaitable[None]]:
    """What a bulk call tells of its items' refusals."""
    return lambda fault: call.services.authorizer.note(call, fault)


def build(services: Services) -> Authorizer:
    """For the composition root."""
    return services.identity.authorizer


@dataclass(frozen=True, slots=True)
class Person:
    """A person who calls, in or out of an organization."""

    user: UserId
    actor: Actor


def person_of(call: Call) -> Person:
    """The person who calls.

    Raises:
        PersonsOnly: it is an API key.
    """
    from shared.http.principal import PrincipalKind

    if call.principal.kind is not PrincipalKind.USER:
        raise PersonsOnly("an API key cannot do this; sign in")
    return Person(user_of(call.principal), actor_of(call))
