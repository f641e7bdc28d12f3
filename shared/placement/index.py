"""Placement over many nodes without looking at them all: the same answers as `rules.place`, from sorted lists.

Nodes stand in lists sorted by free memory, one list for each set of labels that was asked for. Packing begins at the
first that has the memory, spreading at the last; the walk ends at the first that `judge` finds fit, which is usually
the first looked at. A change moves one node in each list it stands in.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from shared.placement.models import Demand, Node, Placed, Refused
from shared.placement.rules import judge, settle
from shared.placement.strategy import Strategy

_LabelSet = tuple[tuple[str, str], ...]


class NodeIndex:
    """All nodes of an organization."""

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self._nodes: dict[str, Node] = {}
        self._free: dict[str, int] = {}
        self._lists: dict[_LabelSet, list[tuple[int, str]]] = {(): []}
        for node in nodes:
            self.put(node)

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, node_id: str) -> Node | None:
        """The node as it is known here."""
        return self._nodes.get(node_id)

    def put(self, node: Node) -> None:
        """Add a node, or replace what is known about it."""
        self.drop(node.id)
        free = node.free().memory_mib
        self._nodes[node.id], self._free[node.id] = node, free
        for labels, entries in self._lists.items():
            if _carries(node, labels):
                insort(entries, (free, node.id))

    def drop(self, node_id: str) -> None:
        """Forget a node."""
        node = self._nodes.pop(node_id, None)
        if node is None:
            return
        entry = (self._free.pop(node_id), node_id)
        for labels, entries in self._lists.items():
            if _carries(node, labels):
                del entries[bisect_left(entries, entry)]

    def place(self, demand: Demand, strategy: Strategy = Strategy.PACKED) -> Placed | Refused:
        """As `rules.place` over all nodes."""
        for node in self._candidates(demand, strategy):
            if not judge(demand, node).reasons:
                return settle(demand, node)
        return Refused(tuple(judge(demand, node) for node in self._nodes.values()))

    def _candidates(self, demand: Demand, strategy: Strategy) -> Iterator[Node]:
        if demand.node_id is not None:
            node = self._nodes.get(demand.node_id)
            yield from () if node is None else (node,)
            return
        entries = self._list(tuple(sorted(demand.labels.items())))
        start = bisect_left(entries, (demand.amount.memory_mib, ""))
        if strategy is Strategy.PACKED:
            for position in range(start, len(entries)):
                yield self._nodes[entries[position][1]]
            return
        end = len(entries)
        while end > start:  # runs of equal free memory, each in the order of the ids
            begin = max(bisect_left(entries, (entries[end - 1][0], "")), start)
            for position in range(begin, end):
                yield self._nodes[entries[position][1]]
            end = begin

    def _list(self, labels: _LabelSet) -> list[tuple[int, str]]:
        """The list of the nodes that carry these labels; made when first asked for."""
        found = self._lists.get(labels)
        if found is None:
            found = sorted((self._free[node.id], node.id) for node in self._nodes.values() if _carries(node, labels))
            self._lists[labels] = found
        return found


def _carries(node: Node, labels: _LabelSet) -> bool:
    return all(node.labels.get(key) == value for key, value in labels)
