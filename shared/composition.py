"""The composition root: settings -> clients -> stores -> services, each made when it is first asked for.

Nothing here runs at import but definitions, and a service's module is imported inside its property: the first health
check does not wait for the SDKs of a flow that it does not use. Each domain adds its service as one property.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

from shared.http.principal import Auth
from shared.platform import telemetry
from shared.platform.clock import Clock, SystemClock
from shared.platform.ids import Ids
from shared.platform.progress import Progress
from shared.platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from shared.audit.service import Audit
    from shared.http.idempotency import Idempotency
    from shared.http.ports import Authenticator, Authorizer
    from shared.http.ratelimit import RateLimiter
    from shared.identity.service import Identity
    from shared.identity.users import Users
    from shared.organizations.access import AccessReader
    from shared.organizations.invitations import Invitations
    from shared.organizations.members import Members
    from shared.organizations.roles import Roles
    from shared.organizations.service import Organizations
    from shared.platform.secrets import Secrets
    from shared.store.client import Database
    from shared.store.scoped import Store
    from shared.store.unscoped import Directory

#: Where the ways to prove who one is live: `module:function`, the function takes the services.
AUTHENTICATORS: Final = {
    Auth.USER: "shared.identity.authenticator:build",
    Auth.AGENT: "shared.nodes.authenticator:build",
}
AUTHORIZER: Final = "shared.identity.authorizer:build"


class Services:
    """Everything that a door or an activity can call, by name."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.ids = ids or Ids(self.clock)
        self.progress = Progress(self.clock)
        self._authenticators: dict[Auth, Authenticator] = {}

    # --- the ground -------------------------------------------------------------------------------------------------

    @cached_property
    def database(self) -> Database:
        """The one Cosmos client."""
        from shared.store.client import Database

        return Database(self.settings)

    @cached_property
    def store(self) -> Store:
        """Documents of organizations."""
        from shared.store.cursors import Cursors
        from shared.store.scoped import Store

        return Store(self.database, self.clock, Cursors(self.settings.cursor_secret()))

    @cached_property
    def directory(self) -> Directory:
        """What is looked up before the organization is known."""
        from shared.store.unscoped import Directory

        return Directory(self.database, self.clock)

    # --- what the doors need ----------------------------------------------------------------------------------------

    def authenticator(self, auth: Auth) -> Authenticator:
        """The authenticator of that kind."""
        found = self._authenticators.get(auth)
        if found is None:
            found = self._authenticators[auth] = _build(AUTHENTICATORS[auth], self)
        return found

    @cached_property
    def authorizer(self) -> Authorizer:
        """Who may what."""
        found: Authorizer = _build(AUTHORIZER, self)
        return found

    @cached_property
    def rate_limiter(self) -> RateLimiter:
        """How often."""
        from shared.http.ratelimit import RateLimiter, StoredWindows

        return RateLimiter(self.clock, StoredWindows(self.directory), enabled=self.settings.rate_limits)

    @cached_property
    def idempotency(self) -> Idempotency:
        """Replies kept by Idempotency-Key."""
        from shared.http.idempotency import Idempotency

        return Idempotency(self.directory, self.clock, self.ids)

    # --- the domains: one property each, its module imported inside ---------------------------------------------------

    @cached_property
    def secrets(self) -> Secrets:
        """Key Vault, or files of one machine."""
        from shared.platform.secrets import open_secrets

        return open_secrets(self.settings, self.clock)

    @cached_property
    def audit(self) -> Audit:
        """Who did what."""
        from shared.audit.service import Audit

        return Audit(self.store, self.clock, self.ids)

    @cached_property
    def users(self) -> Users:
        """The people that have ever signed in."""
        from shared.identity.users import Users

        return Users(self.directory, self.clock, self.ids)

    @cached_property
    def identity(self) -> Identity:
        """Tokens, sessions, API keys, permissions."""
        from shared.identity.service import Identity

        return Identity(self)

    @cached_property
    def memberships(self) -> AccessReader:
        """What a person may do in an organization."""
        from shared.organizations.access import AccessReader

        return AccessReader(self.store, self.clock)

    @cached_property
    def organizations(self) -> Organizations:
        """The tenants."""
        from shared.organizations.service import Organizations

        return Organizations(self.store, self.users, self.memberships, self.audit, self.clock)

    @cached_property
    def roles(self) -> Roles:
        """Roles of an organization's own making."""
        from shared.organizations.roles import Roles

        return Roles(self.store, self.memberships, self.audit, self.clock)

    @cached_property
    def members(self) -> Members:
        """Who belongs to an organization."""
        from shared.organizations.members import Members

        return Members(self.store, self.users, self.memberships, self.roles, self.audit, self.clock)

    @cached_property
    def invitations(self) -> Invitations:
        """Invitations to organizations."""
        from shared.organizations.invitations import Invitations

        parts = (self.users, self.memberships, self.roles, self.audit, self.clock)
        return Invitations(self.store, self.directory, *parts)

    async def close(self) -> None:
        """Close what was opened."""
        if "secrets" in self.__dict__:
            await self.secrets.close()
        if "database" in self.__dict__:
            await self.database.close()


def _build(place: str, services: Services):  # type: ignore[no-untyped-def]
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)(services)


@lru_cache(maxsize=1)
def services() -> Services:
    """The services of this process."""
    settings = load_settings()
    telemetry.set_up(settings)
    return Services(settings)
