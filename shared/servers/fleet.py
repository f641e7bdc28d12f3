"""The organization's nodes as placement sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.nodes.capacity import placeable
from shared.nodes.models import NodeState
from shared.placement.models import Node
from shared.platform.clock import Clock
from shared.platform.ids import OrgId

if TYPE_CHECKING:
    from shared.nodes.service import Nodes


class NodesForPlacement:
    """See `shared.servers.ports.NodeSource`."""

    def __init__(self, nodes: Nodes, clock: Clock) -> None:
        self._nodes, self._clock = nodes, clock

    async def placeable(self, org: OrgId) -> list[Node]:
        """All nodes but the decommissioned."""
        found: list[Node] = []
        cursor, now = None, self._clock.now().timestamp()
        while True:
            page = await self._nodes.page(org, filters={}, where=[], sort="id", limit=100, cursor=cursor)
            found += [placeable(seen, now) for seen in page.items if seen.node.state is not NodeState.DECOMMISSIONED]
            cursor = page.cursor
            if cursor is None:
                return found
