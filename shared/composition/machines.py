"""The customers' machines."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Final

from shared.messaging.reports import ReportType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.composition import Services
    from shared.messaging.reports import Report
    from shared.nodes.authority import Authority
    from shared.nodes.capacity import Capacities
    from shared.nodes.certificates import Certificates
    from shared.nodes.commands import NodeCommands
    from shared.nodes.comparing import Comparisons
    from shared.nodes.enrolment import Enrolments
    from shared.nodes.joining import Joining
    from shared.nodes.liveness import Fleet
    from shared.nodes.namespaces import Namespaces
    from shared.nodes.papers import Papers
    from shared.nodes.reports import Reports
    from shared.nodes.sending import NodeSender
    from shared.nodes.service import Nodes

#: Who takes which report of a node: `module:function`, the function takes the services and the report.
REPORT_HANDLERS: Final = {
    ReportType.NODE_EVENT: "shared.nodes.reports:on_event",
    ReportType.NODE_INVENTORY: "shared.nodes.reports:on_inventory",
    ReportType.COMMAND_RESULT: "shared.servers.reports:on_result",
    ReportType.SERVER_REPORT: "shared.servers.reports:on_report",
    ReportType.SERVER_CONSOLE: "shared.servers.reports:on_console",
}


def report_handler(report: Report) -> Callable[[Services, Report], Awaitable[bool]] | None:
    """What to do with a report, beside waking the orchestration that waits for it."""
    place = REPORT_HANDLERS.get(report.type)
    if report.type is ReportType.COMMAND_RESULT and report.server_id is None:
        place = "shared.nodes.commands:on_result"
    if place is None:
        return None
    module, _, name = place.partition(":")
    found: Callable[[Services, Report], Awaitable[bool]] = getattr(import_module(module), name)
    return found


def nodes(s: Services) -> Nodes:
    """The customers' machines."""
    from shared.nodes.service import Nodes

    return Nodes(s)


def papers(s: Services) -> Papers:
    """Their certificates, as their owner sees them."""
    from shared.nodes.papers import Papers

    return Papers(s)


def capacity(s: Services) -> Capacities:
    """What nodes offer and what is free."""
    from shared.nodes.capacity import Capacities
    from shared.servers.holds import held_on

    return Capacities(s.nodes, partial(held_on, s.store, s.clock))


def node_commands(s: Services) -> NodeCommands:
    """Commands that people send to nodes."""
    from shared.nodes.commands import NodeCommands

    return NodeCommands(s)


def commands(s: Services) -> NodeSender:
    """Sends commands to nodes."""
    from shared.nodes.sending import NodeSender

    return NodeSender(s)


def reports(s: Services) -> Reports:
    """What nodes tell."""
    from shared.nodes.reports import Reports

    return Reports(s, report_handler)


def enrolments(s: Services) -> Enrolments:
    """Tokens with which machines join."""
    from shared.nodes.enrolment import Enrolments

    return Enrolments(s)


def joining(s: Services) -> Joining:
    """How they join."""
    from shared.nodes.joining import Joining

    return Joining(s)


def fleet(s: Services) -> Fleet:
    """Which nodes live."""
    from shared.nodes.liveness import Fleet

    return Fleet(s.directory, s.clock)


def comparisons(s: Services) -> Comparisons:
    """When nodes are held against what is desired."""
    from shared.nodes.comparing import Comparisons

    return Comparisons(s.clock, s.settings.compare_pause_seconds)


def certificates(s: Services) -> Certificates:
    """Which certificates of nodes hold."""
    from shared.nodes.certificates import Certificates

    return Certificates(s.directory, s.clock)


def authority(s: Services) -> Authority:
    """The certificate authority of nodes, and the keys that sign commands."""
    from urllib.parse import urlsplit

    from shared.nodes.authority import Authority

    domain = s.settings.agent_domain or urlsplit(s.settings.public_url).hostname or "localhost"
    return Authority(s.secrets, s.clock, domain)


def namespaces(s: Services) -> Namespaces:
    """Service Bus namespaces that nodes are connected to."""
    from shared.nodes.namespaces import Namespaces

    return Namespaces(s.settings, s.secrets, s.clock)
