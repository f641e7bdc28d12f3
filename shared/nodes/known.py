"""Nodes as this instance lately read them, for those who send to them: many commands go to few machines.

What is taken from it is where a node's commands wait. A node that was changed elsewhere within these seconds is met as one
that changed right after it was read: its queue is gone, the sending fails, and whoever sends again reads the node anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from shared.platform.clock import Clock

if TYPE_CHECKING:
    from shared.nodes.models import Node
    from shared.platform.ids import OrgId

FRESH_SECONDS: Final = 15.0
MAX_KNOWN: Final = 5_000


class KnownNodes:
    """See the module."""

    def __init__(self, clock: Clock, read: Callable[[OrgId, str], Awaitable[Node]]) -> None:
        self._clock, self._read = clock, read
        self._known: OrderedDict[tuple[OrgId, str], tuple[float, Node]] = OrderedDict()

    async def get(self, org: OrgId, node_id: str) -> Node:
        """The node, at most 15 s old.

        Raises:
            NodeNotFound: no such node in the organization.
        """
        kept, now = self._known.get((org, node_id)), self._clock.monotonic()
        if kept is not None and now - kept[0] < FRESH_SECONDS:
            return kept[1]
        self.forget(org, node_id)
        node = await self._read(org, node_id)
        self._known[org, node_id] = (now, node)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return node

    def forget(self, org: OrgId, node_id: str) -> None:
        """It was changed here, or could not be reached where it was thought to be."""
        self._known.pop((org, node_id), None)
