"""What placement looks at. Frozen, built from stored documents by those who ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class Amount:
    """Memory and disk in MiB, CPU in thousandths of a core."""

    memory_mib: int = 0
    cpu_millicores: int = 0
    disk_mib: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.memory_mib + other.memory_mib,
            self.cpu_millicores + other.cpu_millicores,
            self.disk_mib + other.disk_mib,
        )

    def __sub__(self, other: Amount) -> Amount:
        return Amount(
            self.memory_mib - other.memory_mib,
            self.cpu_millicores - other.cpu_millicores,
            self.disk_mib - other.disk_mib,
        )

    def covers(self, other: Amount) -> bool:
        """Whether there is as much of everything."""
        return (
            self.memory_mib >= other.memory_mib
            and self.cpu_millicores >= other.cpu_millicores
            and self.disk_mib >= other.disk_mib
        )


@dataclass(frozen=True, slots=True)
class PortKey:
    """What can be held only once on a node. `0.0.0.0` takes the number on every IPv4 address, `::` on every address."""

    protocol: Literal["tcp", "udp"]
    address: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.protocol}/{host}:{self.port}"

    @property
    def short(self) -> str:
        """As people write it, where the address goes without saying."""
        return f"{self.port}/{self.protocol}"

    @classmethod
    def parse(cls, text: str) -> PortKey:
        """The reverse of `str`."""
        protocol, _, rest = text.partition("/")
        host, _, port = rest.rpartition(":")
        return cls("tcp" if protocol == "tcp" else "udp", host.strip("[]"), int(port))


@dataclass(frozen=True, slots=True)
class PortWish:
    """One number that a server needs: `protocols` at `offset` from the first number of its group."""

    name: str
    protocols: tuple[Literal["tcp", "udp"], ...]
    offset: int = 0


@dataclass(frozen=True, slots=True)
class PortGroup:
    """Numbers that stand in fixed distances; the first wish has offset 0. `prefer` is tried first."""

    wishes: tuple[PortWish, ...]
    prefer: int | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """What one server has on a node. `until` is when an unconfirmed hold lapses."""

    server_id: str
    amount: Amount
    ports: tuple[PortKey, ...] = ()
    group: str = ""  # no two servers of one group share a node
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Foreign:
    """A port that something else on the node was seen to have. `seen_at` is in seconds since the epoch; `by` may be empty."""

    key: PortKey
    seen_at: float = 0.0
    by: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """What is known of a node's room: the holds of servers, and the ports that are not ours to give."""

    holds: tuple[Hold, ...] = ()
    foreign: tuple[Foreign, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A node as placement sees it: what it has, what is held there, and whether it takes anything."""

    id: str
    name: str
    has: Amount
    holds: tuple[Hold, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    drivers: frozenset[str] = frozenset({"process"})
    state: Literal["online", "silent", "lost", "drained", "maintenance", "decommissioned", "enrolling"] = "online"
    silent_seconds: float = 0.0
    overcommit_memory: float = 1.0
    overcommit_cpu: float = 1.0
    overcommit_disk: float = 1.0
    address: str = "0.0.0.0"  # noqa: S104  # what its games bind
    join_host: str = ""  # what players type
    port_ranges: tuple[tuple[int, int], ...] = ((25_000, 29_999),)
    maximum_servers: int = 1000
    foreign: tuple[Foreign, ...] = ()
    version: str = ""  # of what was read of it: another one may have another state, other labels, other sizes

    def offered(self) -> Amount:
        """What may be promised in all, overcommitted."""
        return Amount(
            int(self.has.memory_mib * self.overcommit_memory),
            int(self.has.cpu_millicores * self.overcommit_cpu),
            int(self.has.disk_mib * self.overcommit_disk),
        )

    def free(self) -> Amount:
        """What is left, always derived from what is held."""
        held = Amount()
        for hold in self.holds:
            held += hold.amount
        return self.offered() - held


@dataclass(frozen=True, slots=True)
class Demand:
    """What a server needs."""

    amount: Amount
    ports: tuple[PortGroup, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    drivers: frozenset[str] = frozenset({"process"})
    group: str = ""
    node_id: str | None = None  # this one or none


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a node cannot take the server; the text names the figure."""

    code: str
    text: str
    figures: Mapping[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about one node: nothing against it, or everything that is."""

    node_id: str
    node_name: str
    reasons: tuple[Reason, ...] = ()
    free: Amount = Amount()


@dataclass(frozen=True, slots=True)
class Placed:
    """The node, and a number for each named port."""

    node_id: str
    ports: Mapping[str, int]
    keys: tuple[PortKey, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """No node can take it; why, for each."""

    verdicts: tuple[Verdict, ...]
    withheld: int = 0  # nodes that are not the caller's to know of

    @property
    def reason(self) -> str:
        """One sentence for a refusal."""
        if not self.verdicts and self.withheld:
            return f"no node has room, of {self.withheld} that you may not see"
        if not self.verdicts:
            return "the organization has no nodes: enrol a machine first"
        named = [f"{v.node_name}: {'; '.join(reason.text for reason in v.reasons)}" for v in self.verdicts[:10]]
        more = f" (and {len(self.verdicts) - 10} more nodes)" if len(self.verdicts) > 10 else ""
        hidden = f" (and {self.withheld} that you may not see)" if self.withheld else ""
        return f"no node has room. {' | '.join(named)}{more}{hidden}"
