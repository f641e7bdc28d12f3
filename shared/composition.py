"""The composition root: settings -> clients -> stores -> services, each made when it is first asked for.

Nothing here runs at import but definitions, and a service's module is imported inside its property: the first health
check does not wait for the SDKs of a flow that it does not use. Each domain adds its service as one property.
"""

from __future__ import annotations

from functools import cached_property, lru_cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

from shared.http.principal import Auth
from shared.messaging.reports import ReportType
from shared.platform import telemetry, warmup
from shared.platform.clock import Clock, SystemClock
from shared.platform.ids import Ids
from shared.platform.progress import Progress
from shared.platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.audit.service import Audit
    from shared.http.idempotency import Idempotency
    from shared.http.ports import Authenticator, Authorizer
    from shared.http.ratelimit import RateLimiter
    from shared.identity.service import Identity
    from shared.identity.users import Users
    from shared.messaging.reports import Report
    from shared.messaging.sender import CommandSender
    from shared.nodes.authority import Authority
    from shared.nodes.capacity import Capacities
    from shared.nodes.certificates import Certificates
    from shared.nodes.commands import NodeCommands
    from shared.nodes.enrolment import Enrolments
    from shared.nodes.liveness import Fleet
    from shared.nodes.namespaces import Namespaces
    from shared.nodes.reports import Reports
    from shared.nodes.service import Nodes
    from shared.organizations.access import AccessReader
    from shared.organizations.erasure import Erasure
    from shared.organizations.invitations import Invitations
    from shared.organizations.members import Members
    from shared.organizations.roles import Roles
    from shared.organizations.service import Organizations
    from shared.platform.checks import Dependency
    from shared.platform.secrets import Secrets
    from shared.servers.console import Consoles
    from shared.servers.dispatch import Dispatcher
    from shared.servers.history import History
    from shared.servers.operations import Operations
    from shared.servers.reports import ServerReports
    from shared.servers.sealing import Sealer
    from shared.servers.service import Servers
    from shared.store.client import Database
    from shared.store.scoped import Store
    from shared.store.unscoped import Directory
    from shared.tasks.service import Tasks
    from shared.templates.service import Templates

#: Where the ways to prove who one is live: `module:function`, the function takes the services.
AUTHENTICATORS: Final = {
    Auth.USER: "shared.identity.authenticator:build",
    Auth.AGENT: "shared.nodes.authenticator:build",
}
#: Who takes which report of a node: `module:function`, the function takes the services and the report.
REPORT_HANDLERS: Final = {
    ReportType.NODE_EVENT: "shared.nodes.reports:on_event",
    ReportType.NODE_INVENTORY: "shared.nodes.reports:on_inventory",
    ReportType.COMMAND_RESULT: "shared.servers.reports:on_result",
    ReportType.SERVER_REPORT: "shared.servers.reports:on_report",
    ReportType.SERVER_CONSOLE: "shared.servers.reports:on_console",
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
    def erasure(self) -> Erasure:
        """The end of organizations whose grace is over."""
        from shared.organizations.erasure import Erasure

        return Erasure(self.store, self.users, self.identity.api_keys, self.nodes, self.memberships, self.clock)

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
        from shared.organizations.index import InvitationIndex
        from shared.organizations.invitations import Invitations

        parts = (self.users, self.memberships, self.roles, self.audit, self.clock)
        return Invitations(self.store, InvitationIndex(self.directory, self.clock), *parts)

    @cached_property
    def nodes(self) -> Nodes:
        """The customers' machines."""
        from shared.nodes.service import Nodes

        return Nodes(self)

    @cached_property
    def capacity(self) -> Capacities:
        """What nodes offer and what is free."""
        from shared.nodes.capacity import Capacities
        from shared.servers.holds import held_on

        return Capacities(self.nodes, partial(held_on, self.store))

    @cached_property
    def node_commands(self) -> NodeCommands:
        """Commands that people send to nodes."""
        from shared.nodes.commands import NodeCommands

        return NodeCommands(self)

    @cached_property
    def commands(self) -> CommandSender:
        """Sends commands to nodes; for activities."""
        return self.nodes

    @cached_property
    def reports(self) -> Reports:
        """What nodes tell."""
        from shared.nodes.reports import Reports

        return Reports(self, report_handler)

    @cached_property
    def enrolments(self) -> Enrolments:
        """How machines join."""
        from shared.nodes.enrolment import Enrolments

        return Enrolments(self)

    @cached_property
    def fleet(self) -> Fleet:
        """Which nodes live."""
        from shared.nodes.liveness import Fleet

        return Fleet(self.directory, self.clock)

    @cached_property
    def certificates(self) -> Certificates:
        """Which certificates of nodes hold."""
        from shared.nodes.certificates import Certificates

        return Certificates(self.directory, self.clock)

    @cached_property
    def authority(self) -> Authority:
        """The certificate authority of nodes, and the keys that sign commands."""
        from urllib.parse import urlsplit

        from shared.nodes.authority import Authority

        domain = self.settings.agent_domain or urlsplit(self.settings.public_url).hostname or "localhost"
        return Authority(self.secrets, self.clock, domain)

    @cached_property
    def namespaces(self) -> Namespaces:
        """Service Bus namespaces that nodes are connected to."""
        from shared.nodes.namespaces import Namespaces

        return Namespaces(self.settings, self.secrets, self.clock)

    # servers

    @cached_property
    def templates(self) -> Templates:
        """What servers are made of."""
        from shared.templates.service import Templates

        return Templates(self.store, self.clock)

    @cached_property
    def sealer(self) -> Sealer:
        """Seals the secret variables of servers."""
        from shared.servers.sealing import Sealer

        return Sealer(self.secrets)

    @cached_property
    def servers(self) -> Servers:
        """What members run."""
        from shared.servers.fleet import NodesForPlacement
        from shared.servers.service import Servers

        nodes = NodesForPlacement(self.nodes, self.clock)
        return Servers(self.store, self.clock, self.ids, self.audit, self.templates, nodes, self.sealer)

    @cached_property
    def dispatcher(self) -> Dispatcher:
        """Tells nodes what tasks ask of them."""
        from shared.servers.dispatch import Dispatcher

        return Dispatcher(self.store, self.templates, self.sealer, self.commands)

    @cached_property
    def server_reports(self) -> ServerReports:
        """Writes down what nodes tell about servers."""
        from shared.servers.reports import ServerReports

        return ServerReports(self.store, self.clock)

    @cached_property
    def operations(self) -> Operations:
        """What the flows of servers do."""
        from shared.servers.operations import Operations

        parts = (self.servers, self.tasks, self.server_reports, self.dispatcher)
        return Operations(self.store, self.clock, *parts)

    @cached_property
    def consoles(self) -> Consoles:
        """Lines from and to games."""
        from shared.servers.console import Consoles

        return Consoles(self.store, self.commands)

    @cached_property
    def history(self) -> History:
        """Metrics of servers."""
        from shared.servers.history import History

        return History(self.store)

    @cached_property
    def tasks(self) -> Tasks:
        """What is being done."""
        from shared.tasks.service import Tasks

        return Tasks(self.store, self.clock)

    def dependencies(self) -> dict[str, Dependency]:
        """What this app needs from outside, and what callers see while it is away."""
        from shared.platform.checks import Dependency

        found = {
            "store": Dependency(
                self.database.ping, "503 for everything but health and documentation; rate windows count alone"
            ),
            "secrets": Dependency(
                lambda: self.secrets.get("access-token-keys"), "kept copies serve on; new tokens are 503"
            ),
        }
        if self.settings.service_bus_connection is not None:
            found["messages"] = Dependency(self._ask_broker, "commands wait in their tasks and are sent again")
        return found

    async def _ask_broker(self) -> None:
        """Open a link to the reports queue, and close it."""
        from shared.nodes.models import DEFAULT_NAMESPACE, REPORTS_QUEUE

        async with self.namespaces.client(DEFAULT_NAMESPACE).get_queue_sender(REPORTS_QUEUE):
            pass

    async def close(self) -> None:
        """Close what was opened."""
        if "namespaces" in self.__dict__:
            await self.namespaces.close()
        if "secrets" in self.__dict__:
            await self.secrets.close()
        if "database" in self.__dict__:
            await self.database.close()


def report_handler(kind: ReportType) -> Callable[[Services, Report], Awaitable[None]] | None:
    """What to do with a report of that kind, beside waking the orchestration that waits for it."""
    place = REPORT_HANDLERS.get(kind)
    if place is None:
        return None
    module, _, name = place.partition(":")
    found: Callable[[Services, Report], Awaitable[None]] = getattr(import_module(module), name)
    return found


def _build(place: str, services: Services):  # type: ignore[no-untyped-def]
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)(services)


@lru_cache(maxsize=1)
def services() -> Services:
    """The services of this process."""
    settings = load_settings()
    telemetry.set_up(settings)
    made = Services(settings)
    if settings.warm_up:
        warmup.schedule(warmup.MODULES, made.database.ping)
    return made
