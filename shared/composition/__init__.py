"""The composition root: settings -> clients -> stores -> services, each made when it is first asked for.

Nothing here runs at import but definitions, and a service's module is imported inside the function that makes it: the
first health check does not wait for the SDKs of a flow that it does not use. One file a group of services; each domain
adds its service as one function there, and as one line here.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from shared.composition import doors, games, ground, machines, tenant
from shared.platform import telemetry, warmup
from shared.platform.clock import Clock, SystemClock
from shared.platform.ids import Ids
from shared.platform.progress import Progress
from shared.platform.settings import Settings, load_settings

if TYPE_CHECKING:
    from shared.http.ports import Authenticator
    from shared.http.principal import Auth
    from shared.platform.checks import Dependency


class Services:
    """Everything that a door or an activity can call, by name."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        self.ids = ids or Ids(self.clock)
        self.progress = Progress(self.clock)
        self._authenticators: dict[Auth, Authenticator] = {}

    # what everything stands on
    database = cached_property(ground.database)
    store = cached_property(ground.store)
    directory = cached_property(ground.directory)
    secrets = cached_property(ground.secrets)
    mailer = cached_property(ground.mailer)

    # what the request pipeline takes
    authorizer = cached_property(doors.authorizer)
    rate_limiter = cached_property(doors.rate_limiter)
    idempotency = cached_property(doors.idempotency)

    # people and organizations
    audit = cached_property(tenant.audit)
    users = cached_property(tenant.users)
    identity = cached_property(tenant.identity)
    memberships = cached_property(tenant.memberships)
    organizations = cached_property(tenant.organizations)
    erasure = cached_property(tenant.erasure)
    roles = cached_property(tenant.roles)
    members = cached_property(tenant.members)
    invitations = cached_property(tenant.invitations)
    invitation_links = cached_property(tenant.invitation_links)
    invitation_mails = cached_property(tenant.invitation_mails)

    # the customers' machines
    nodes = cached_property(machines.nodes)
    papers = cached_property(machines.papers)
    capacity = cached_property(machines.capacity)
    node_commands = cached_property(machines.node_commands)
    commands = cached_property(machines.commands)
    reports = cached_property(machines.reports)
    enrolments = cached_property(machines.enrolments)
    joining = cached_property(machines.joining)
    fleet = cached_property(machines.fleet)
    comparisons = cached_property(machines.comparisons)
    certificates = cached_property(machines.certificates)
    authority = cached_property(machines.authority)
    namespaces = cached_property(machines.namespaces)

    # servers
    templates = cached_property(games.templates)
    sealer = cached_property(games.sealer)
    servers = cached_property(games.servers)
    dispatcher = cached_property(games.dispatcher)
    server_reports = cached_property(games.server_reports)
    operations = cached_property(games.operations)
    reconciler = cached_property(games.reconciler)
    consoles = cached_property(games.consoles)
    foreign_ports = cached_property(games.foreign_ports)
    history = cached_property(games.history)
    tasks = cached_property(games.tasks)

    def authenticator(self, auth: Auth) -> Authenticator:
        """The authenticator of that kind."""
        found = self._authenticators.get(auth)
        if found is None:
            found = self._authenticators[auth] = doors.authenticator(self, auth)
        return found

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
        if self.settings.smtp_host is not None:
            found["mail"] = Dependency(self.mailer.ping, "invitations' mails wait in their flows and are sent later")
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


@lru_cache(maxsize=1)
def services() -> Services:
    """The services of this process."""
    settings = load_settings()
    telemetry.set_up(settings)
    made = Services(settings)
    if settings.warm_up:
        warmup.schedule(warmup.MODULES, made.database.ping)
    return made
