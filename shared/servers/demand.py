"""From a template and a wish to what placement needs, and to what rendering needs. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from shared.messaging.server_spec import ServerSpec
from shared.placement.models import Amount, Demand, Hold, Placed, PortGroup, PortWish
from shared.servers.models import Server
from shared.templates.models import Resources, Scalar, Template, TemplatePort
from shared.templates.rendering import Instance, render


def demand_of(
    template: Template,
    resources: Resources,
    *,
    node_id: str | None = None,
    node_labels: Mapping[str, str] | None = None,
    group: str = "",
) -> Demand:
    """What a server of the template needs of a node."""
    return Demand(
        amount=amount_of(resources),
        ports=port_groups(template),
        labels={**template.labels, **(node_labels or {})},
        drivers=frozenset(template.drivers),
        group=group,
        node_id=node_id,
    )


def amount_of(resources: Resources) -> Amount:
    """The resources as placement counts them."""
    return Amount(resources.memory_mib, resources.cpu_millicores, resources.disk_mib)


def port_groups(template: Template) -> tuple[PortGroup, ...]:
    """The ports of a template: those in fixed distances of one another stand together."""
    groups = []
    for root in template.ports:
        if root.offset_of is None:
            members = [root, *(port for port in template.ports if port.offset_of == root.name)]
            groups.append(PortGroup(tuple(_wish(port) for port in members), root.prefer))
    return tuple(groups)


def _wish(port: TemplatePort) -> PortWish:
    return PortWish(port.name, ("tcp", "udp") if port.protocol == "both" else (port.protocol,), port.offset)


def hold_of(server_id: str, demand: Demand, placed: Placed) -> Hold:
    """What the server holds on its node."""
    return Hold(server_id, demand.amount, placed.keys, demand.group)


def spec_of(server: Server, template: Template, secrets: Mapping[str, Scalar]) -> ServerSpec:
    """What the agent is told about a server."""
    desired = server.desired
    on = desired.power == "on" and desired.suspended is None and not desired.removed
    return render(
        template,
        Instance(
            server_id=server.id,
            name=server.name,
            revision=server.revision,
            power="on" if on else "off",
            variables={**server.variables, **secrets},
            ports=server.ports,
            resources=server.resources,
            address=server.address,
            generation=desired.generation,
            fresh=desired.fresh,
            restarts=desired.restarts,
        ),
    )
