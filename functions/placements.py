"""Where a server would go, without making it; and what keeps it from going there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from shared.audit.actors import actor_of
from shared.composition import services
from shared.http import Call, In, Out, Routes
from shared.identity.permissions import Permission
from shared.nodes.errors import NodeNotFound
from shared.platform.errors import NotFound
from shared.platform.ids import NodeId
from shared.servers.doors import place_nowhere
from shared.servers.views import PlacementTry
from shared.templates.errors import TemplateNotFound, VariablesInvalid

if TYPE_CHECKING:
    from shared.placement.models import Verdict

routes = Routes("placements", services)
blueprint = routes.blueprint


class ReasonAgainst(Out):
    """One thing that speaks against a node."""

    code: str
    reason: str
    figures: dict[str, str | int | float]


class NodeVerdict(Out):
    """A node: nothing against it, or everything that is; and what is free there."""

    node_id: str
    name: str
    fits: bool
    reasons: list[ReasonAgainst]
    free_memory_mib: int
    free_cpu_millicores: int
    free_disk_mib: int


class PlacementView(Out):
    """Where the server would go now, if anywhere."""

    node_id: str | None
    ports: dict[str, int]
    nodes: list[NodeVerdict]


def _verdict(verdict: Verdict) -> NodeVerdict:
    return NodeVerdict(
        node_id=verdict.node_id,
        name=verdict.node_name,
        fits=not verdict.reasons,
        reasons=[ReasonAgainst(code=r.code, reason=r.text, figures=dict(r.figures)) for r in verdict.reasons],
        free_memory_mib=verdict.free.memory_mib,
        free_cpu_millicores=verdict.free.cpu_millicores,
        free_disk_mib=verdict.free.disk_mib,
    )


@routes.post(
    "/v1/placements:dry-run",
    permission=Permission.PLACEMENTS_SIMULATE,
    response=PlacementView,
    problems=[TemplateNotFound, VariablesInvalid],
)
async def try_placement(call: Call, body: PlacementTry) -> PlacementView:
    """Try a placement: the node that would be chosen, and the reasons of every other."""
    placed, verdicts = await place_nowhere(call, body)
    return PlacementView(
        node_id=placed.node_id if placed else None,
        ports=dict(placed.ports) if placed else {},
        nodes=[_verdict(verdict) for verdict in verdicts],
    )


class ForeignPort(In):
    """A port that something else on the node was seen to have."""

    protocol: Literal["tcp", "udp"]
    port: int = Field(ge=1, le=65_535)


@routes.post(
    "/v1/nodes/{node_id}/foreign-ports/forget",
    permission=Permission.NODES_UPDATE,
    resource="node_id",
    status=204,
    problems=[NodeNotFound, NotFound],
)
async def forget_foreign_port(call: Call, node_id: NodeId, body: ForeignPort) -> None:
    """Give a port out again that something else had; by itself that happens an hour after it was seen.

    Nothing is asked of the node: a server that still cannot have the port is placed again by itself.
    """
    node = await call.services.nodes.get(call.org, node_id)
    await call.services.foreign_ports.forget(call.org, node_id, node.name, body.protocol, body.port, by=actor_of(call))
