"""Placement: each reason, each strategy; and the index, which must answer as the plain scan does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.placement.index import NodeIndex
from shared.placement.models import (
    Amount,
    Demand,
    Foreign,
    Hold,
    Node,
    Placed,
    PortGroup,
    PortKey,
    PortWish,
    Refused,
)
from shared.placement.ports import clash
from shared.placement.rules import judge, place
from shared.placement.strategy import Strategy

HAS = Amount(4096, 4000, 50_000)
GAME = PortGroup((PortWish("game", ("udp",)),), prefer=25_010)


def node(id: str = "nod_a", **changes: Any) -> Node:
    return replace(Node(id, id, HAS), **changes)


def hold(server: str, memory: int = 1024, ports: tuple[PortKey, ...] = (), group: str = "") -> Hold:
    return Hold(server, Amount(memory, 100, 100), ports, group)


NEED = Demand(Amount(1024, 500, 1000), (GAME,))


@pytest.mark.parametrize(
    ("where", "demand", "code", "text"),
    [
        pytest.param(
            node(has=Amount(512, 4000, 50_000)),
            NEED,
            "insufficient_memory",
            "short of memory by 512 MiB (needs 1024, has 512 free)",
            id="memory",
        ),
        pytest.param(
            node(has=Amount(4096, 100, 50_000)), NEED, "insufficient_cpu", "short of CPU by 400 millicores", id="cpu"
        ),
        pytest.param(
            node(has=Amount(4096, 4000, 10)), NEED, "insufficient_disk", "short of disk by 990 MiB", id="disk"
        ),
        pytest.param(
            node(holds=(hold("s", 3600),)),
            NEED,
            "insufficient_memory",
            "short of memory by 528 MiB",
            id="what_is_held_counts",
        ),
        pytest.param(node(state="drained"), NEED, "drained", "drained", id="drained"),
        pytest.param(node(state="silent", silent_seconds=240), NEED, "silent", "silent for 4 min", id="silent"),
        pytest.param(node(state="lost", silent_seconds=90_000), NEED, "silent", "silent for 25 h", id="lost"),
        pytest.param(node(state="enrolling"), NEED, "enrolling", "has not reported yet", id="enrolling"),
        pytest.param(
            node(labels={"disk": "hdd"}),
            replace(NEED, labels={"disk": "ssd"}),
            "label_mismatch",
            "label does not match: disk=ssd is wanted, it has disk=hdd",
            id="label",
        ),
        pytest.param(
            node(),
            replace(NEED, drivers=frozenset({"container"})),
            "no_driver",
            "needs the driver container",
            id="driver",
        ),
        pytest.param(
            node(holds=(hold("s", 10, group="web"),)),
            replace(NEED, group="web"),
            "anti_affinity",
            "group 'web'",
            id="anti_affinity",
        ),
        pytest.param(node(port_ranges=()), NEED, "port_pool_empty", "no port ranges", id="no_ports"),
        pytest.param(
            node(port_ranges=((9, 9),), holds=(hold("s", 10, (PortKey("udp", "0.0.0.0", 9),)),)),
            NEED,
            "port_pool_empty",
            "free in 9-9",
            id="ports_taken",
        ),
        pytest.param(
            node(port_ranges=((9, 9),), foreign=(Foreign(PortKey("udp", "0.0.0.0", 9)),)),
            NEED,
            "port_taken",
            "port 9/udp is taken on the node by something else",
            id="port_of_something_else",
        ),
        pytest.param(
            node(port_ranges=((1, 7),), foreign=tuple(Foreign(PortKey("udp", "::", port)) for port in range(1, 9))),
            NEED,
            "port_taken",
            "ports 1/udp, 2/udp, 3/udp, 4/udp, 5/udp (and 2 more) are taken on the node by something else",
            id="ports_of_something_else",
        ),
        pytest.param(
            node(
                port_ranges=((9, 9),),
                holds=(hold("s", 10, (PortKey("udp", "0.0.0.0", 9),)),),
                foreign=(Foreign(PortKey("udp", "0.0.0.0", 9)),),
            ),
            NEED,
            "port_pool_empty",
            "free in 9-9",
            id="held_by_a_server_too",
        ),
        pytest.param(
            node(maximum_servers=1, holds=(hold("s", 10),)),
            NEED,
            "too_many_servers",
            "holds 1 servers, at most 1",
            id="count",
        ),
        pytest.param(node(), replace(NEED, node_id="nod_b"), "other_node", "another node", id="other_node"),
    ],
)
def test_a_node_is_refused_with_its_reason(where: Node, demand: Demand, code: str, text: str) -> None:
    verdict = judge(demand, where)
    assert [reason.code for reason in verdict.reasons] == [code]
    assert text in verdict.reasons[0].text
    refused = place(demand, [where])
    assert isinstance(refused, Refused)
    assert text in refused.reason


@pytest.mark.parametrize(
    ("foreign", "port"),
    [
        pytest.param((), 25_010, id="the_preferred"),
        pytest.param((PortKey("udp", "0.0.0.0", 25_010),), 25_000, id="the_preferred_is_not_ours"),
        pytest.param((PortKey("udp", "127.0.0.1", 25_010),), 25_000, id="on_one_address_is_enough"),
        pytest.param((PortKey("tcp", "0.0.0.0", 25_010),), 25_010, id="the_other_protocol_is_not"),
        pytest.param((PortKey("udp", "::", 25_010), PortKey("udp", "::", 25_000)), 25_001, id="two"),
    ],
)
def test_a_port_of_something_else_is_avoided(foreign: tuple[PortKey, ...], port: int) -> None:
    where = node(foreign=tuple(map(Foreign, foreign)))
    for placed in (place(NEED, [where]), NodeIndex([where]).place(NEED)):
        assert isinstance(placed, Placed)
        assert placed.ports == {"game": port}


def test_all_reasons_are_told_not_the_first() -> None:
    verdict = judge(replace(NEED, amount=Amount(9000, 9000, 90_000)), node(state="drained"))
    assert {reason.code for reason in verdict.reasons} == {
        "drained",
        "insufficient_memory",
        "insufficient_cpu",
        "insufficient_disk",
    }


def test_no_nodes_at_all_says_so() -> None:
    refused = place(NEED, [])
    assert isinstance(refused, Refused)
    assert "enrol a machine first" in refused.reason


def test_packed_fills_and_spread_evens_out() -> None:
    nodes = [node("a"), node("b", holds=(hold("s", 2000),)), node("c", holds=(hold("s", 1000),))]
    assert [place(NEED, nodes, s).node_id for s in (Strategy.PACKED, Strategy.SPREAD)] == ["b", "a"]  # type: ignore[union-attr]


def test_overcommit_makes_room() -> None:
    small = node(has=Amount(512, 4000, 50_000))
    assert isinstance(place(NEED, [small]), Refused)
    assert isinstance(place(NEED, [replace(small, overcommit_memory=2.0)]), Placed)


@pytest.mark.parametrize(
    ("one", "other", "clashes"),
    [
        ("0.0.0.0", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("::", "10.0.0.1", True),
        ("::", "fe80::1", True),
        ("fe80::1", "fe80::2", False),
        ("0.0.0.0", "fe80::1", False),
    ],
)
def test_which_addresses_fight_for_a_number(one: str, other: str, clashes: bool) -> None:
    assert clash(one, other) is clashes
    assert clash(other, one) is clashes


def test_ports_prefer_keep_distances_and_protocols_apart() -> None:
    valheim = PortGroup(
        (PortWish("base", ("udp",)), PortWish("query", ("udp",), 1), PortWish("plus", ("tcp", "udp"), 2)), 25_100
    )
    taken = hold("s", 10, (PortKey("udp", "0.0.0.0", 25_101), PortKey("tcp", "0.0.0.0", 25_000)))
    placed = place(Demand(Amount(1, 1, 1), (valheim, GAME)), [node(holds=(taken,))])
    assert isinstance(placed, Placed)
    assert placed.ports == {"base": 25_000, "query": 25_001, "plus": 25_002, "game": 25_010}
    assert PortKey("udp", "0.0.0.0", 25_000) in placed.keys, "tcp 25000 is taken, udp 25000 is not"


def test_a_key_reads_back() -> None:
    for key in (PortKey("tcp", "0.0.0.0", 1), PortKey("udp", "fe80::1", 65_535)):
        assert PortKey.parse(str(key)) == key


NODES = st.lists(
    st.builds(
        lambda number, memory, held, state, label: replace(
            node(f"nod_{number:03d}", has=Amount(memory, 4000, 50_000), state=state, labels={"zone": label}),
            holds=tuple(hold(f"s{index}", each) for index, each in enumerate(held)),
        ),
        st.integers(0, 40),
        st.sampled_from([512, 1024, 2048, 4096]),
        st.lists(st.sampled_from([100, 500, 1000]), max_size=3),
        st.sampled_from(["online", "online", "online", "drained", "silent"]),
        st.sampled_from(["x", "y"]),
    ),
    max_size=12,
    unique_by=lambda each: each.id,
)


@settings(max_examples=200, deadline=None)
@given(NODES, st.sampled_from([100, 600, 1500]), st.sampled_from(list(Strategy)), st.sampled_from([{}, {"zone": "x"}]))
def test_the_index_answers_as_the_scan_does(
    nodes: list[Node], memory: int, strategy: Strategy, labels: dict[str, str]
) -> None:
    index = NodeIndex(nodes)
    demand = Demand(Amount(memory, 100, 100), (GAME,), labels)
    for step in range(6):
        expected = place(demand, [index.get(each.id) or each for each in nodes], strategy)
        found = index.place(demand, strategy)
        if isinstance(expected, Refused):
            assert isinstance(found, Refused)
            assert {v.node_id for v in found.verdicts} == {v.node_id for v in expected.verdicts}
            return
        assert found == expected
        before = index.get(expected.node_id)
        assert before is not None
        index.put(replace(before, holds=(*before.holds, Hold(f"new{step}", demand.amount, expected.keys))))
