"""Nodes as this instance lately read them: many commands go to few machines, and many servers are placed on the same ones.

Who sends takes from it where a node's commands wait. A node that was changed elsewhere within these seconds is met as one
that changed right after it was read: its queue is gone, the sending fails, and whoever sends again reads the node anew.
Who places chooses among all of an organization's nodes as they were within the last minute, and reads the chosen one
(`still`): if it is another than was thought, all are read anew, and so they are before anybody is told that there is no room.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from shared.platform.clock import Clock
from shared.platform.errors import NotFound

if TYPE_CHECKING:
    from shared.nodes.models import Node
    from shared.platform.ids import OrgId

FRESH_SECONDS: Final = 15.0
ALL_FRESH_SECONDS: Final = 60.0
MAX_KNOWN: Final = 5_000  # of each kind; a node takes some 5 KiB

Read = Callable[["OrgId", str], Awaitable["Node"]]
ReadAll = Callable[["OrgId"], Awaitable[list["Node"]]]


class KnownNodes:
    """See the module."""

    def __init__(self, clock: Clock, read: Read, read_all: ReadAll) -> None:
        self._clock, self._read, self._read_all = clock, read, read_all
        self._known: OrderedDict[tuple[OrgId, str], tuple[float, Node]] = OrderedDict()
        self._all: OrderedDict[OrgId, tuple[float, list[Node]]] = OrderedDict()

    async def get(self, org: OrgId, node_id: str) -> Node:
        """The node, at most 15 s old.

        Raises:
            NodeNotFound: no such node in the organization.
        """
        kept, now = self._known.get((org, node_id)), self._clock.monotonic()
        if kept is not None and now - kept[0] < FRESH_SECONDS:
            return kept[1]
        return await self._look(org, node_id)

    async def all(self, org: OrgId, *, within: float = ALL_FRESH_SECONDS) -> list[Node]:
        """All nodes of an organization, as they were at most so many seconds ago."""
        kept, now = self._all.pop(org, None), self._clock.monotonic()
        if kept is None or now - kept[0] >= within:
            kept = (now, await self._read_all(org))
        self._all[org] = kept
        while sum(len(nodes) for _, nodes in self._all.values()) > MAX_KNOWN:  # one that has more is read each time
            self._all.popitem(last=False)
        return kept[1]

    async def still(self, org: OrgId, node_id: str, version: str) -> bool:
        """Whether a node is of the version that was read with all; if not, they are forgotten. One read."""
        try:
            same = (await self._look(org, node_id)).etag == version
        except NotFound:
            same = False
        if not same:
            self._all.pop(org, None)
        return same

    def forget(self, org: OrgId, node_id: str) -> None:
        """It was made or changed here, or could not be reached where it was thought to be."""
        self._known.pop((org, node_id), None)
        self._all.pop(org, None)

    async def _look(self, org: OrgId, node_id: str) -> Node:
        self._known.pop((org, node_id), None)
        now, node = self._clock.monotonic(), await self._read(org, node_id)
        self._known[org, node_id] = (now, node)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return node
