"""The organization's nodes as placement sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.nodes.models import NodeState, Presence
from shared.nodes.service import Seen
from shared.placement.models import Amount
from shared.placement.models import Node as Placeable
from shared.platform.clock import Clock
from shared.platform.ids import OrgId

if TYPE_CHECKING:
    from shared.nodes.service import Nodes


class NodesForPlacement:
    """See `shared.servers.ports.NodeSource`."""

    def __init__(self, nodes: Nodes, clock: Clock) -> None:
        self._nodes, self._clock = nodes, clock

    async def placeable(self, org: OrgId) -> list[Placeable]:
        """All nodes but the decommissioned."""
        found: list[Placeable] = []
        cursor = None
        while True:
            page = await self._nodes.page(org, filters={}, where=[], sort="id", limit=100, cursor=cursor)
            found += [self._node(seen) for seen in page.items if seen.node.state is not NodeState.DECOMMISSIONED]
            cursor = page.cursor
            if cursor is None:
                return found

    def _node(self, seen: Seen) -> Placeable:
        node = seen.node
        hardware: dict[str, Any] = node.inventory.get("hardware") or {}
        quiet = (self._clock.now() - seen.heard_at).total_seconds() if seen.heard_at else 0.0
        return Placeable(
            id=node.id,
            name=node.name,
            has=Amount(
                max(0, int(hardware.get("memory_mib", 0)) - node.reserve_memory_mib),
                int(hardware.get("cpu_count", 0)) * 1000,
                int(hardware.get("disk_mib", 0)),
            ),
            labels=node.labels,
            drivers=frozenset(node.drivers),
            state=_state(seen),
            silent_seconds=quiet,
            overcommit_memory=node.overcommit_memory,
            overcommit_cpu=node.overcommit_cpu,
            overcommit_disk=node.overcommit_disk,
            address=node.address,
            join_host=node.join_host,
            port_ranges=tuple((each.first, each.last) for each in node.port_ranges),
            maximum_servers=node.maximum_servers,
        )


def _state(seen: Seen) -> Any:
    if seen.node.state is not NodeState.ACTIVE:
        return seen.node.state.value
    return {Presence.WAITING: "enrolling"}.get(seen.presence, seen.presence.value)
