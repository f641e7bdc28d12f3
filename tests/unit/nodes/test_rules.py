"""Decisions about nodes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.messaging.limits import PROTOCOL_VERSION
from shared.nodes.errors import NodeStateConflict, ProtocolTooOld
from shared.nodes.models import Node, NodeObserved, NodeState, Presence, next_queue, queue_of
from shared.nodes.rules import (
    MOVES,
    NodeEvent,
    accepted_protocol,
    health,
    move,
    name_for,
    next_beat,
    presence,
    worth_keeping,
)
from shared.nodes.shards import Pulse

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
AT = int(NOW.timestamp())


@pytest.mark.parametrize("state", NodeState)
@pytest.mark.parametrize("event", NodeEvent)
def test_every_event_in_every_state_moves_or_is_refused_with_both_names(state: NodeState, event: NodeEvent) -> None:
    if (state, event) in MOVES:
        assert move(state, event) is MOVES[state, event]
    else:
        with pytest.raises(NodeStateConflict, match=f"{state} cannot {event}"):
            move(state, event)


def test_nothing_leads_out_of_decommissioned() -> None:
    assert not [state for state, _ in MOVES if state is NodeState.DECOMMISSIONED]


@pytest.mark.parametrize(
    ("name", "heard", "since", "expected"),
    [
        ("never heard", None, 0, Presence.WAITING),
        ("just now", AT, 0, Presence.ONLINE),
        ("89 s ago", AT - 89, 0, Presence.ONLINE),
        ("90 s ago", AT - 90, 0, Presence.SILENT),
        ("599 s ago", AT - 599, 0, Presence.SILENT),
        ("600 s ago", AT - 600, 0, Presence.LOST),
        ("an hour ago, but we were away until a minute ago", AT - 3600, AT - 60, Presence.ONLINE),
        ("an hour ago, and we are back for two minutes", AT - 3600, AT - 120, Presence.SILENT),
        ("an hour ago, and we are back for ten minutes", AT - 3600, AT - 600, Presence.LOST),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_presence(name: str, heard: int | None, since: int, expected: Presence) -> None:
    assert presence(heard, NOW, since) is expected


def test_the_pulse_takes_the_later_time_and_keeps_the_others() -> None:
    pulse = Pulse(id="pulse-00000").with_heard({0: AT - 50, 3: AT - 10}, AT)
    assert [pulse.heard(place) for place in range(5)] == [AT - 50, None, None, AT - 10, None]
    later = pulse.with_heard({0: AT - 60, 1: AT + 30}, AT + 30)
    assert [later.heard(place) for place in range(4)] == [AT - 50, AT + 30, None, AT - 10]


def test_the_pulse_of_500_nodes_fits_four_bytes_each() -> None:
    pulse = Pulse(id="pulse-00000").with_heard({place: AT - place % 90 for place in range(500)}, AT)
    assert len(str(list(pulse.ago)).replace(" ", "")) <= 2000


@pytest.mark.parametrize(
    ("watched", "restless", "seconds"), [(True, False, 10), (True, True, 10), (False, True, 30), (False, False, 60)]
)
def test_the_beat(watched: bool, restless: bool, seconds: int) -> None:
    assert next_beat(watched=watched, restless=restless) == seconds


@pytest.mark.parametrize(("protocol", "served"), [(PROTOCOL_VERSION, True), (PROTOCOL_VERSION - 1, True)])
def test_ours_and_the_one_before_are_served(protocol: int, served: bool) -> None:
    accepted_protocol(protocol)


@pytest.mark.parametrize(
    ("protocol", "says"),
    [(PROTOCOL_VERSION + 1, "upgrade the control plane"), (PROTOCOL_VERSION - 2, "update the agent")],
)
def test_others_are_refused_with_what_to_do(protocol: int, says: str) -> None:
    with pytest.raises(ProtocolTooOld, match=says):
        accepted_protocol(protocol)


@pytest.mark.parametrize(
    ("wanted", "hostname", "taken", "expected"),
    [
        (None, "Attic PC", set(), "attic-pc"),
        ("Cellar", "attic", set(), "cellar"),
        (None, "attic", {"attic"}, "attic-2"),
        (None, "attic", {"attic", "attic-2", "attic-3"}, "attic-4"),
        (None, "", set(), "node-00000001"),
        ("../../etc", "x", set(), "etc"),
        ("ä" * 99, "x", set(), "node-00000001"),
    ],
)
def test_names(wanted: str | None, hostname: str, taken: set[str], expected: str) -> None:
    assert name_for(wanted, hostname, taken, "nod_00000001") == expected


def a_node(**changes: Any) -> Node:
    inventory = {"hardware": {"cpu_count": 8, "memory_mib": 16_000, "disk_mib": 500_000}}
    return Node(id="nod_1", org_id="org_1", name="attic", enrolled_at=NOW, inventory=inventory).having(**changes)


def seen(**changes: Any) -> NodeObserved:
    usual = {"memory_used_mib": 12_000, "disk_free_mib": 200_000, "cpu_percent": 60.0}
    return NodeObserved(id="observed_nod_1", org_id="org_1", node_id="nod_1", observed_at=NOW, **{**usual, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "there", "changes", "status", "codes"),
    [
        ("an ordinary machine at work", Presence.ONLINE, {}, "healthy", []),
        ("busy is no fault", Presence.ONLINE, {"cpu_percent": 99.0}, "healthy", ["cpu_busy"]),
        ("little memory", Presence.ONLINE, {"memory_used_mib": 15_900}, "degraded", ["memory_short"]),
        ("little disk", Presence.ONLINE, {"disk_free_mib": 4000}, "degraded", ["disk_low"]),
        ("no disk", Presence.ONLINE, {"disk_free_mib": 500}, "degraded", ["disk_short"]),
        ("a wrong clock", Presence.ONLINE, {"clock_skew_seconds": -45.0}, "degraded", ["clock_skew"]),
        ("no line to the broker", Presence.ONLINE, {"link": "down"}, "degraded", ["link_down"]),
        ("reports wait", Presence.ONLINE, {"journal_depth": 5000}, "degraded", ["reports_waiting"]),
        ("an older agent", Presence.ONLINE, {"protocol": 0}, "healthy", ["agent_old"]),
        ("silent", Presence.SILENT, {}, "unreachable", ["silent"]),
        ("lost", Presence.LOST, {}, "unreachable", ["lost"]),
        ("never heard of", Presence.WAITING, {}, "unknown", ["waiting"]),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_health(name: str, there: Presence, changes: dict[str, Any], status: str, codes: list[str]) -> None:
    found = health(a_node(), there, seen(**changes), NOW + timedelta(days=20), NOW)
    assert (found.status, [reason.code for reason in found.reasons]) == (status, codes)
    assert all(reason.text for reason in found.reasons)
    assert 0 <= found.score <= 100


@pytest.mark.parametrize(
    ("name", "changes", "minutes", "watched", "kept"),
    [
        ("nothing changed", {}, 1, False, False),
        ("a little more memory", {"memory_used_mib": 12_400}, 1, False, False),
        ("much more memory", {"memory_used_mib": 13_000}, 5, False, True),
        ("much more memory, and back in a moment perhaps", {"memory_used_mib": 13_000}, 4, False, False),
        ("the line went down", {"link": "down"}, 1, False, True),
        ("another agent", {"agent_version": "9"}, 1, False, True),
        ("a new issue", {"issues": ("x",)}, 1, False, True),
        ("an hour", {}, 60, False, True),
        ("somebody looks", {}, 1, True, True),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_written(name: str, changes: dict[str, Any], minutes: int, watched: bool, kept: bool) -> None:
    later = seen(**changes).having(observed_at=NOW + timedelta(minutes=minutes))
    assert worth_keeping(seen(), later, watched=watched) is kept
    assert worth_keeping(None, later, watched=False)


def test_no_queues_name_begins_another() -> None:
    assert queue_of("nod_01M83M50TNXTTV7FRG7AN91Y0X") == "node-nod-01m83m50tnxttv7frg7an91y0x-0000"


@pytest.mark.parametrize(
    ("queue", "following"),
    [
        ("node-nod-01m83m50tnxttv7frg7an91y0x-0000", "node-nod-01m83m50tnxttv7frg7an91y0x-0001"),
        ("node-nod-01m83m50tnxttv7frg7an91y0x-9999", "node-nod-01m83m50tnxttv7frg7an91y0x-0000"),
        ("node-nod-01m83m50tnxttv7frg7an91y0x", "node-nod-01m83m50tnxttv7frg7an91y0x-0001"),
    ],
)
def test_the_queue_after_this_one(queue: str, following: str) -> None:
    assert next_queue(queue) == following
