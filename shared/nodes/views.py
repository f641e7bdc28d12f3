"""Nodes as members see them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from shared.http.models import Out
from shared.messaging.limits import PROTOCOL_VERSION
from shared.nodes.models import Node, NodeObserved, NodeState, PortRange, Presence
from shared.nodes.rules import Health
from shared.platform.clock import Timestamp

if TYPE_CHECKING:
    from shared.nodes.capacity import Capacity
    from shared.nodes.service import Seen
    from shared.placement.models import Amount, Foreign


class NodeView(Out):
    """A machine. `state` is what its owner wants, `presence` whether it answers."""

    id: str
    name: str
    state: NodeState
    state_reason: str
    presence: Presence
    heard_at: Timestamp | None = Field(description="When it was last heard.")
    labels: dict[str, str]
    agent_version: str
    protocol: int
    protocol_skew: int = Field(description="How many protocol versions its agent is behind; 1 is served, 2 is not.")
    namespace: str
    address: str
    public_host: str
    port_ranges: tuple[PortRange, ...]
    overcommit_memory: float
    overcommit_cpu: float
    overcommit_disk: float
    reserve_memory_mib: int
    maximum_servers: int
    enrolled_at: Timestamp
    decommissioned_at: Timestamp | None

    @classmethod
    def of(cls, seen: Seen) -> NodeView:
        """As shown to members."""
        node = seen.node
        own = {name: getattr(node, name) for name in cls.model_fields if name in Node.model_fields}
        return cls(
            **own, presence=seen.presence, heard_at=seen.heard_at, protocol_skew=PROTOCOL_VERSION - node.protocol
        )


class InventoryView(Out):
    """What the machine is and has."""

    node_id: str
    platform: dict[str, Any]
    hardware: dict[str, Any]
    observed_at: Timestamp

    @classmethod
    def of(cls, node: Node) -> InventoryView:
        """As the agent told it."""
        return cls(
            node_id=node.id,
            platform=node.inventory.get("platform", {}),
            hardware=node.inventory.get("hardware", {}),
            observed_at=node.updated_at,
        )


class AmountView(Out):
    """Memory and disk in MiB, CPU in thousandths of a core."""

    memory_mib: int
    cpu_millicores: int
    disk_mib: int

    @classmethod
    def of(cls, amount: Amount) -> AmountView:
        """The same in JSON."""
        return cls(memory_mib=amount.memory_mib, cpu_millicores=amount.cpu_millicores, disk_mib=amount.disk_mib)


class ForeignPortView(Out):
    """A port that something else on the machine has: no server gets it until an hour after it was last seen so."""

    protocol: Literal["tcp", "udp"]
    address: str
    port: int
    by: str = Field(description="Who has it, where the node could see that.")
    seen_at: Timestamp

    @classmethod
    def of(cls, found: Foreign) -> ForeignPortView:
        """As shown to members."""
        key, seen = found.key, datetime.fromtimestamp(found.seen_at, UTC)
        return cls(protocol=key.protocol, address=key.address, port=key.port, by=found.by, seen_at=seen)


class CapacityView(Out):
    """What a node has, offers (overcommitted, less its reserve), holds for servers, and has free."""

    has: AmountView
    offered: AmountView
    held: AmountView
    free: AmountView
    servers: int
    maximum_servers: int
    ports_in_ranges: int
    ports_held: tuple[str, ...]
    ports_foreign: tuple[ForeignPortView, ...]


def capacity_view(found: Capacity) -> CapacityView:
    """As shown to members."""
    amounts = {name: AmountView.of(getattr(found, name)) for name in ("has", "offered", "held", "free")}
    return CapacityView(
        **amounts,
        servers=found.servers,
        maximum_servers=found.maximum_servers,
        ports_in_ranges=found.ports_in_ranges,
        ports_held=found.ports_held,
        ports_foreign=tuple(map(ForeignPortView.of, found.ports_foreign)),
    )


class ReasonView(Out):
    """One thing that is not as it should be."""

    code: str
    reason: str
    severity: Literal["note", "warning", "critical"]


class DiskView(Out):
    """A file system of the machine."""

    path: str
    size_mib: int
    free_mib: int


class MachineView(Out):
    """What the machine said of itself last: written when it changed, each ten seconds while somebody looks, else once an hour."""

    observed_at: Timestamp
    cpu_percent: float = Field(description="Of all processors.")
    memory_used_mib: int
    disk_free_mib: int = Field(description="Where servers are kept.")
    disks: list[DiskView]
    received_kib_s: float = Field(description="By its network cards.")
    sent_kib_s: float
    clock_skew_seconds: float = Field(description="Its clock minus ours.")
    link: str = Field(description="Its line to the message broker.")
    journal_depth: int = Field(description="Reports that wait to be sent.")
    reports_dropped: int = Field(description="Reports that were lost for want of room, ever.")


class HealthView(Out):
    """How a node is."""

    status: Literal["healthy", "degraded", "unreachable", "unknown"]
    score: int
    reasons: tuple[ReasonView, ...]
    observed: MachineView | None


def health_view(found: Health, observed: NodeObserved | None) -> HealthView:
    """As shown to members."""
    reasons = tuple(ReasonView(code=one.code, reason=one.text, severity=one.severity) for one in found.reasons)
    shown = MachineView.model_validate(observed, from_attributes=True) if observed is not None else None
    return HealthView(status=found.status, score=found.score, reasons=reasons, observed=shown)
