"""The organization's nodes as placement sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shared.nodes.capacity import placeable
from shared.nodes.known import ALL_FRESH_SECONDS
from shared.nodes.models import NodeState
from shared.placement.models import Node
from shared.platform.clock import Clock
from shared.platform.ids import OrgId

if TYPE_CHECKING:
    from shared.nodes.service import Nodes

DECOMMISSIONED: Final = NodeState.DECOMMISSIONED


class NodesForPlacement:
    """See `shared.servers.ports.NodeSource`."""

    def __init__(self, nodes: Nodes, clock: Clock) -> None:
        self._nodes, self._clock = nodes, clock

    async def placeable(self, org: OrgId, *, within: float = ALL_FRESH_SECONDS) -> list[Node]:
        """All nodes but the decommissioned, as they were at most so many seconds ago; whether they answer is of now."""
        now = self._clock.now().timestamp()
        found = [node for node in await self._nodes.known.all(org, within=within) if node.state is not DECOMMISSIONED]
        return [placeable(await self._nodes.seen(node), now) for node in found]

    async def still(self, org: OrgId, node: Node) -> bool:
        """Whether a node is what `placeable` said of it."""
        return await self._nodes.known.still(org, node.id, node.version)
