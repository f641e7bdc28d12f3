"""What a node offers and what is free of it: always summed from the holds there are, never a counter of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from shared.nodes.models import NodeState, Presence
from shared.placement.models import Amount, Foreign, Held
from shared.placement.models import Node as PlacementNode
from shared.platform.ids import OrgId

if TYPE_CHECKING:
    from shared.nodes.service import Nodes, Seen

Holds = Callable[[OrgId, str], Awaitable[Held]]
PlacementState = Literal["online", "silent", "lost", "drained", "maintenance", "decommissioned", "enrolling"]

_BY_PRESENCE: Final[dict[Presence, PlacementState]] = {
    Presence.ONLINE: "online",
    Presence.SILENT: "silent",
    Presence.LOST: "lost",
    Presence.WAITING: "enrolling",
}
_BY_STATE: Final[dict[NodeState, PlacementState]] = {
    NodeState.DRAINED: "drained",
    NodeState.MAINTENANCE: "maintenance",
    NodeState.DECOMMISSIONED: "decommissioned",
}


@dataclass(frozen=True, slots=True)
class Capacity:
    """Amounts of a node, and how its ports stand."""

    has: Amount
    offered: Amount
    held: Amount
    free: Amount
    servers: int
    maximum_servers: int
    ports_in_ranges: int
    ports_held: tuple[str, ...]
    ports_foreign: tuple[Foreign, ...] = ()


def placeable(seen: Seen, now: float) -> PlacementNode:
    """A node as placement sees it, without what is held there."""
    node = seen.node
    hardware: dict[str, Any] = node.inventory.get("hardware", {})
    has = Amount(
        max(0, int(hardware.get("memory_mib", 0)) - node.reserve_memory_mib),
        int(hardware.get("cpu_count", 0)) * 1000,
        int(hardware.get("disk_mib", 0)),
    )
    quiet = now - seen.heard_at.timestamp() if seen.heard_at is not None else 0.0
    return PlacementNode(
        id=node.id,
        name=node.name,
        has=has,
        labels=node.labels,
        drivers=frozenset(node.drivers),
        state=_BY_STATE.get(node.state) or _BY_PRESENCE[seen.presence],
        silent_seconds=max(0.0, quiet),
        overcommit_memory=node.overcommit_memory,
        overcommit_cpu=node.overcommit_cpu,
        overcommit_disk=node.overcommit_disk,
        address=node.address,
        join_host=node.join_host,
        port_ranges=tuple((one.first, one.last) for one in node.port_ranges),
        maximum_servers=node.maximum_servers,
        version=node.etag or "",
    )


class Capacities:
    """See the module."""

    def __init__(self, nodes: Nodes, holds: Holds) -> None:
        self._nodes, self._holds = nodes, holds

    async def of_node(self, org: OrgId, node_id: str) -> Capacity:
        """The capacity of one node.

        Raises:
            NodeNotFound: no such node in the organization.
        """
        seen = await self._nodes.see(org, node_id)
        held = await self._holds(org, node_id)
        node = replace(placeable(seen, 0.0), holds=held.holds, foreign=held.foreign)
        return capacity(node)


def capacity(node: PlacementNode) -> Capacity:
    """Sums of a node with its holds."""
    held = Amount()
    for hold in node.holds:
        held += hold.amount
    ports = tuple(sorted(str(port) for hold in node.holds for port in hold.ports))
    return Capacity(
        has=node.has,
        offered=node.offered(),
        held=held,
        free=node.free(),
        servers=len(node.holds),
        maximum_servers=node.maximum_servers,
        ports_in_ranges=sum(last - first + 1 for first, last in node.port_ranges),
        ports_held=ports,
        ports_foreign=node.foreign,
    )
