"""Decisions about nodes: pure, with the time given."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal

from shared.messaging.limits import (
    BEAT_CALM_SECONDS,
    BEAT_WATCHED_SECONDS,
    CLOCK_WARNING,
    LOST_AFTER,
    PROTOCOL_VERSION,
    SILENT_AFTER,
)
from shared.nodes.errors import NodeStateConflict, ProtocolTooOld
from shared.nodes.models import Node, NodeObserved, NodeState, Presence


class NodeEvent(StrEnum):
    """What an owner does to a node."""

    DRAIN = "drain"
    MAINTAIN = "maintain"
    RESUME = "resume"
    DECOMMISSION = "decommission"


MOVES: Final[Mapping[tuple[NodeState, NodeEvent], NodeState]] = {
    (NodeState.ACTIVE, NodeEvent.DRAIN): NodeState.DRAINED,
    (NodeState.ACTIVE, NodeEvent.MAINTAIN): NodeState.MAINTENANCE,
    (NodeState.ACTIVE, NodeEvent.DECOMMISSION): NodeState.DECOMMISSIONED,
    (NodeState.DRAINED, NodeEvent.MAINTAIN): NodeState.MAINTENANCE,
    (NodeState.DRAINED, NodeEvent.RESUME): NodeState.ACTIVE,
    (NodeState.DRAINED, NodeEvent.DECOMMISSION): NodeState.DECOMMISSIONED,
    (NodeState.MAINTENANCE, NodeEvent.DRAIN): NodeState.DRAINED,
    (NodeState.MAINTENANCE, NodeEvent.RESUME): NodeState.ACTIVE,
    (NodeState.MAINTENANCE, NodeEvent.DECOMMISSION): NodeState.DECOMMISSIONED,
}


def move(state: NodeState, event: NodeEvent) -> NodeState:
    """The state after an event.

    Raises:
        NodeStateConflict: the event has no place in this state.
    """
    try:
        return MOVES[state, event]
    except KeyError:
        raise NodeStateConflict(
            f"a node that is {state} cannot {event}", state=state.value, event=event.value
        ) from None


def presence(heard: int | None, now: datetime, listening_since: int = 0) -> Presence:
    """Whether a node answers; `heard` and `listening_since` in seconds since the epoch.

    `listening_since` is when the control plane itself began to listen: after our own absence nobody is silent
    before they had as long as ever to be heard.
    """
    if heard is None:
        return Presence.WAITING
    quiet = now.timestamp() - max(heard, listening_since)
    if quiet >= LOST_AFTER.total_seconds():
        return Presence.LOST
    return Presence.SILENT if quiet >= SILENT_AFTER.total_seconds() else Presence.ONLINE


def next_beat(*, watched: bool, restless: bool) -> int:
    """Seconds until the next beat: 10 while somebody looks, 60 when calm, in between right after a change."""
    if watched:
        return BEAT_WATCHED_SECONDS
    return BEAT_CALM_SECONDS // 2 if restless else BEAT_CALM_SECONDS


def accepted_protocol(protocol: int) -> None:
    """Whether an agent of this protocol is served: ours and the one before.

    Raises:
        ProtocolTooOld: it is not; says what to do.
    """
    if protocol > PROTOCOL_VERSION:
        raise ProtocolTooOld(
            f"the agent speaks protocol {protocol}, this control plane {PROTOCOL_VERSION}: upgrade the control plane first"
        )
    if protocol < PROTOCOL_VERSION - 1:
        raise ProtocolTooOld(
            f"the agent speaks protocol {protocol}, the oldest served is {PROTOCOL_VERSION - 1}: update the agent"
        )


_NOT_NAME: Final = re.compile(r"[^a-z0-9.-]+")


def name_for(wanted: str | None, hostname: str, taken: Collection[str], node_id: str) -> str:
    """A free name: the wanted one or the machine's, cleaned, with a number where it is taken."""
    base = _NOT_NAME.sub("-", (wanted or hostname).lower()).strip("-.")[:60] or f"node-{node_id[-8:].lower()}"
    if base not in taken:
        return base
    return next(name for number in range(2, len(taken) + 3) if (name := f"{base}-{number}") not in taken)


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is not as it should be, with its figure."""

    code: str
    text: str
    severity: Literal["note", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Health:
    """How a node is: `score` is 100 less what its reasons cost; an ordinary machine at work has none."""

    status: Literal["healthy", "degraded", "unreachable", "unknown"]
    score: int
    reasons: tuple[Reason, ...]


_COST: Final = {"note": 0, "warning": 15, "critical": 50}
#: A busy machine is what game servers are for: only what endangers them counts.
MEMORY_CRITICAL_MIB: Final = 256
DISK_WARNING_MIB: Final = 5 * 1024
DISK_CRITICAL_MIB: Final = 1024
CPU_BUSY_PERCENT: Final = 95.0
JOURNAL_WARNING: Final = 1000
CERTIFICATE_WARNING: Final = timedelta(days=7)


def health(
    node: Node, there: Presence, seen: NodeObserved | None, certificate_end: datetime | None, now: datetime
) -> Health:
    """How a node is, with every reason."""
    reasons: list[Reason] = []
    if there in (Presence.SILENT, Presence.LOST):
        reasons.append(Reason(there.value, f"the node is {there}", "critical"))
    if seen is not None:
        reasons += _machine_reasons(node, seen)
    if certificate_end is not None and certificate_end - now < CERTIFICATE_WARNING:
        left = (certificate_end - now).total_seconds() / 86_400
        reasons.append(Reason("certificate_ends", f"its certificate ends in {left:.1f} days", "warning"))
    score = max(0, 100 - sum(_COST[reason.severity] for reason in reasons))
    if there is Presence.WAITING:
        return Health("unknown", score, (Reason("waiting", "enrolled, and not heard of yet", "note"), *reasons))
    if there in (Presence.SILENT, Presence.LOST):
        return Health("unreachable", 0, tuple(reasons))
    return Health("degraded" if any(_COST[r.severity] for r in reasons) else "healthy", score, tuple(reasons))


def _machine_reasons(node: Node, seen: NodeObserved) -> list[Reason]:
    hardware: Mapping[str, Any] = node.inventory.get("hardware", {})
    found: list[Reason] = []
    free = int(hardware.get("memory_mib", 0)) - seen.memory_used_mib
    if hardware and free < MEMORY_CRITICAL_MIB:
        found.append(Reason("memory_short", f"{free} MiB of memory are free, under {MEMORY_CRITICAL_MIB}", "critical"))
    if 0 < seen.disk_free_mib < DISK_CRITICAL_MIB:
        found.append(
            Reason("disk_short", f"{seen.disk_free_mib} MiB of disk are free, under {DISK_CRITICAL_MIB}", "critical")
        )
    elif 0 < seen.disk_free_mib < DISK_WARNING_MIB:
        found.append(
            Reason("disk_low", f"{seen.disk_free_mib} MiB of disk are free, under {DISK_WARNING_MIB}", "warning")
        )
    if seen.cpu_percent > CPU_BUSY_PERCENT:
        found.append(Reason("cpu_busy", f"the processors are {seen.cpu_percent:.0f} % busy", "note"))
    if abs(seen.clock_skew_seconds) > CLOCK_WARNING.total_seconds():
        found.append(Reason("clock_skew", f"its clock is {seen.clock_skew_seconds:+.0f} s from ours", "warning"))
    if seen.journal_depth > JOURNAL_WARNING:
        found.append(Reason("reports_waiting", f"{seen.journal_depth} reports wait to be sent", "warning"))
    if seen.link != "up":
        found.append(Reason("link_down", f"its line to the message broker is {seen.link}: commands wait", "warning"))
    if seen.protocol < PROTOCOL_VERSION:
        found.append(Reason("agent_old", f"its agent {seen.agent_version} speaks an older protocol: update it", "note"))
    found += [Reason("agent", issue, "warning") for issue in seen.issues if not issue.startswith("clock:")]
    return found


#: What a figure must move by to be written between two regular writes.
_STEPS: Final = {"cpu_percent": 30.0, "memory_used_mib": 512.0, "disk_free_mib": 1024.0, "journal_depth": 100.0}
#: A write is worth ten request units: with four an hour these figures cost more than all of a node's beats.
OBSERVED_EVERY: Final = timedelta(hours=1)
#: Figures of a busy machine swing from beat to beat; who looks at the node has each beat written anyway.
FIGURES_EVERY: Final = timedelta(minutes=5)


def worth_keeping(before: NodeObserved | None, now: NodeObserved, *, watched: bool) -> bool:
    """Whether a beat's figures are written: on a real change, while somebody looks, else once an hour."""
    if before is None or watched:
        return True
    same = ("agent_version", "protocol", "boot_id", "link", "issues", "reports_dropped")
    if any(getattr(before, name) != getattr(now, name) for name in same):
        return True
    if abs(before.clock_skew_seconds - now.clock_skew_seconds) > 5:
        return True
    age = now.observed_at - before.observed_at
    moved = any(abs(getattr(before, name) - getattr(now, name)) > step for name, step in _STEPS.items())
    return age >= (FIGURES_EVERY if moved else OBSERVED_EVERY)
