"""Servers, what they are made of, and what is being done."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.composition import Services
    from shared.servers.console import Consoles
    from shared.servers.dispatch import Dispatcher
    from shared.servers.foreign import ForeignPorts
    from shared.servers.history import History
    from shared.servers.operations import Operations
    from shared.servers.reconciling import Reconciler
    from shared.servers.reports import ServerReports
    from shared.servers.sealing import Sealer
    from shared.servers.service import Servers
    from shared.tasks.service import Tasks
    from shared.templates.service import Templates


def templates(s: Services) -> Templates:
    """What servers are made of."""
    from shared.templates.service import Templates

    return Templates(s.store, s.audit)


def sealer(s: Services) -> Sealer:
    """Seals the secret variables of servers."""
    from shared.servers.sealing import Sealer

    return Sealer(s.secrets)


def servers(s: Services) -> Servers:
    """What members run."""
    from shared.servers.fleet import NodesForPlacement
    from shared.servers.service import Servers

    nodes = NodesForPlacement(s.nodes, s.clock)
    return Servers(s.store, s.clock, s.audit, s.templates, nodes, s.sealer)


def dispatcher(s: Services) -> Dispatcher:
    """Tells nodes what tasks ask of them."""
    from shared.servers.dispatch import Dispatcher

    return Dispatcher(s.store, s.templates, s.sealer, s.commands)


def server_reports(s: Services) -> ServerReports:
    """Writes down what nodes tell about servers."""
    from shared.servers.reports import ServerReports

    return ServerReports(s.store, s.clock)


def operations(s: Services) -> Operations:
    """What the flows of servers do."""
    from shared.servers.moving import Moving
    from shared.servers.operations import Operations

    moving = Moving(s.store, s.clock, s.audit, s.servers.creation)
    return Operations(s.store, s.clock, s.servers, s.tasks, s.server_reports, s.dispatcher, moving, s.reconciler.doubt)


def reconciler(s: Services) -> Reconciler:
    """Brings nodes back to what is desired."""
    from shared.servers.reconciling import Reconciler

    return Reconciler(s)


def consoles(s: Services) -> Consoles:
    """Lines from and to games."""
    from shared.servers.console import Consoles

    return Consoles(s.store, s.commands, s.audit)


def foreign_ports(s: Services) -> ForeignPorts:
    """Ports that something else on a node was seen to have."""
    from shared.servers.foreign import ForeignPorts

    return ForeignPorts(s.store, s.clock, s.audit)


def history(s: Services) -> History:
    """Metrics of servers."""
    from shared.servers.history import History

    return History(s.store)


def tasks(s: Services) -> Tasks:
    """What is being done."""
    from shared.tasks.service import Tasks

    return Tasks(s.store, s.clock, s.audit)
