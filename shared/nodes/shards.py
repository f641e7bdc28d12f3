"""The documents of the fleet: what is known of five hundred nodes at once, ids and times only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from shared.platform.ids import NodeId, OrgId
from shared.store.unscoped import FleetShard

NODES_PER_SHARD = 500


class Roster(FleetShard):
    """Who stands at which place of a shard. Places are given once and never again: the other documents go by them.

    `gone` are the places of nodes that were let go: nobody expects to hear of them.
    """

    type: Literal["roster"] = "roster"
    nodes: tuple[tuple[NodeId, OrgId], ...] = ()
    gone: tuple[int, ...] = ()

    @staticmethod
    def id_of(shard: int) -> str:
        """The id of a shard's roster."""
        return f"roster-{shard:05d}"


class Pulse(FleetShard):
    """When each node of a shard was last heard: seconds before `base`, by place; -1 is never. Four bytes a node."""

    type: Literal["pulse"] = "pulse"
    base: int = 0  # seconds since the epoch
    ago: tuple[int, ...] = ()

    @staticmethod
    def id_of(shard: int) -> str:
        """The id of a shard's pulse."""
        return f"pulse-{shard:05d}"

    def heard(self, place: int) -> int | None:
        """When the node at a place was last heard, in seconds since the epoch."""
        ago = self.ago[place] if place < len(self.ago) else -1
        return None if ago < 0 else self.base - ago

    def with_heard(self, heard: Mapping[int, int], now: int) -> Pulse:
        """The same pulse with these places heard at these times; the later time counts."""
        size = max(len(self.ago), *(place + 1 for place in heard)) if heard else len(self.ago)
        ago: list[int] = []
        for place in range(size):
            times = [time for time in (self.heard(place), heard.get(place)) if time is not None]
            ago.append(max(0, now - max(times)) if times else -1)
        return self.having(base=now, ago=tuple(ago))


class Sweep(FleetShard):
    """What the sweep last found: one letter a place (o online, s silent, l lost, w waiting), and since when it listens.

    `was` is what the sweep before it had found: so what changed is known, and can be told by whoever comes next.
    """

    type: Literal["sweep"] = "sweep"
    found: str = ""
    was: str = ""
    swept_at: int = 0
    listening_since: int = 0

    @staticmethod
    def id_of(shard: int) -> str:
        """The id of a shard's sweep."""
        return f"sweep-{shard:05d}"


class Watched(FleetShard):
    """Which nodes of a shard somebody looks at: place to the end of the lease, in seconds since the epoch.

    `doubted` names those that may have something else than is desired, and since when: see `shared.nodes.comparing`.
    """

    type: Literal["watched"] = "watched"
    until: dict[str, int] = Field(default_factory=dict)
    doubted: dict[str, int] = Field(default_factory=dict)

    @staticmethod
    def id_of(shard: int) -> str:
        """The id of a shard's leases."""
        return f"watched-{shard:05d}"


class Shards(FleetShard):
    """How many shards there are; the last one takes new nodes."""

    type: Literal["shards"] = "shards"
    count: int = 1


SHARDS_ID = "shards"
