"""Ports that something else has: marked on the node, and a server that was never ready is placed again, once for each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from shared.composition import Services
from shared.messaging.codec import to_wire
from shared.messaging.reports import Outcome, Status
from shared.messaging.server_messages import Observed, ServerReport
from shared.placement.models import Node
from shared.platform.errors import Fault, NotFound
from shared.platform.settings import load_settings
from shared.servers.errors import NoRoom
from shared.servers.lifecycle import Event
from shared.servers.lifecycle import Status as Seen
from shared.servers.models import FOREIGN_SECONDS, Orphan, ServerObserved, ledger_id, status_of
from shared.servers.views import PlacementTry
from shared.store.query import Where
from shared.tasks.models import TaskState
from tests.support.clocks import SetClock
from tests.unit.servers.port_house import BY, House, key, node
from tests.unit.servers.test_reserving import ANN, ORG
from tests.unit.servers.test_trail import Killed, dying


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest_asyncio.fixture
async def plain(values: dict[str, str], clock: SetClock) -> AsyncIterator[Services]:
    made = Services(load_settings(values), clock=clock)
    yield made
    await made.close()


POOL = node("a", (30_000, 30_009))
ONE_PORT = node("a", (30_000, 30_000), memory=1024)  # the fuller one: packing takes it first
SPARE = node("b", (31_000, 31_009))


@pytest.mark.parametrize(
    ("nodes", "body", "place", "told"),
    [
        pytest.param([POOL, SPARE], {}, ("nod_a", 30_001), "placed again on a with game 30001", id="other_port"),
        pytest.param([ONE_PORT, SPARE], {}, ("nod_b", 31_000), "placed again on b with game 31000", id="other_node"),
        pytest.param([ONE_PORT], {}, ("nod_a", 30_000), "no other place", id="no_other_place"),
        pytest.param(
            [ONE_PORT, SPARE], {"node_id": "nod_a"}, ("nod_a", 30_000), "no other place", id="a_named_node_is_not_left"
        ),
        pytest.param(
            [POOL, SPARE], {"node_id": "nod_a"}, ("nod_a", 30_001), "placed again on a", id="other_port_of_a_named_node"
        ),
    ],
)
async def test_a_server_that_was_never_ready_is_placed_again(
    plain: Services, nodes: list[Node], body: dict[str, Any], place: tuple[str, int], told: str
) -> None:
    house = House(plain, *nodes)
    asked = await house.create(**body)
    assert (asked.server.node_id, asked.server.ports["game"]) == ("nod_a", 30_000)
    await house.fails(asked, 30_000)
    task = await house.task(asked)
    assert (task.state, task.attempt) == (TaskState.RUNNING, 2)
    assert task.failure is not None
    assert [(port.port, port.by) for port in task.failure.ports] == [(30_000, BY)]
    for _ in range(2):  # an activity may run twice
        await house.send(asked, 2)
    server, task = await house.server(asked), await house.task(asked)
    assert (server.node_id, server.ports["game"], task.node_id) == (place[0], place[1], place[0])
    assert await house.held() == [(place[0], server.id, (key(place[1]),))], "one hold, and no other"
    steps = [step for step in task.steps if step.name == "place"]
    assert len(steps) == 1
    assert f"port 30000/tcp is taken on the node by {BY}" in steps[0].detail
    assert told in steps[0].detail
    assert server.revision == (1 if "no other place" in told else 2)
    trail = await plain.audit.page(ORG, where=[Where("entry.action", "=", "server.placed_again")], limit=10)
    assert [event.entry.target.id for event in trail.items] == ([] if "no other place" in told else [server.id])
    applied = [(name, step) for name, step in house.broker.sent if step.startswith("server.provision")]
    assert applied == [(place[0], "server.provision#2")] * 2, "the same command"
    left = {(name, step) for name, step in house.broker.sent if step.startswith("leave")}
    assert left == ({("nod_a", "leave#2")} if place[0] == "nod_b" else set())


async def test_what_the_old_node_saw_is_forgotten_and_it_has_no_say_any_more(plain: Services) -> None:
    house = House(plain, ONE_PORT, SPARE)
    asked = await house.create()
    await house.fails(asked, 30_000)
    assert status_of(*await plain.servers.get(ORG, asked.server.id)) is Seen.STOPPED
    await house.send(asked, 2)
    assert status_of(*await plain.servers.get(ORG, asked.server.id)) is Seen.PROVISIONING
    gone = ServerReport(Observed(asked.server.id, 2, "removed", 900.0))
    await plain.server_reports.take(
        ORG, "nod_a", server_id=asked.server.id, task_id=asked.task.id, payload=to_wire(gone)
    )
    assert status_of(*await plain.servers.get(ORG, asked.server.id)) is Seen.PROVISIONING
    here = ServerReport(Observed(asked.server.id, 2, "running", 1.0), asked.task.id)  # its clock is behind
    done = Outcome(Status.SUCCEEDED, result={"report": to_wire(here)})
    await plain.server_reports.take(
        ORG, "nod_b", server_id=asked.server.id, task_id=asked.task.id, payload={}, outcome=done
    )
    task = await house.task(asked)
    assert (task.state, [step.name for step in task.steps]) == (TaskState.SUCCEEDED, ["place"])
    assert status_of(*await plain.servers.get(ORG, asked.server.id)) is Seen.RUNNING


async def test_it_is_placed_again_twice_at_most_and_then_tells_why(plain: Services) -> None:
    house = House(plain, POOL)
    asked = await house.create()
    for attempt, port in enumerate((30_000, 30_001, 30_002), 1):
        assert (await house.server(asked)).ports["game"] == port
        await house.fails(asked, port, attempt=attempt)
        if attempt < 3:
            await house.send(asked, attempt + 1)
    task = await house.task(asked)
    assert task.failure is not None
    assert (task.state, task.failure.code, task.failure.step) == (TaskState.FAILED, "port_taken", "start")
    assert [port.port for port in task.failure.ports] == [30_002]
    assert [step.name for step in task.steps] == ["place", "place", "install", "start"]
    assert not await plain.operations.send(ORG, asked.task.id, 4)
    assert set((await house.ledgers())["nod_a"].foreign) == {key(30_000), key(30_001), key(30_002)}


@pytest_asyncio.fixture
async def second(values: dict[str, str], clock: SetClock) -> AsyncIterator[Services]:
    """Another process's services, at the same time."""
    made = Services(load_settings(values), clock=clock)
    yield made
    await made.close()


async def test_two_that_send_the_same_attempt_move_it_once(plain: Services, second: Services) -> None:
    house, other = House(plain, POOL), House(second, POOL)
    asked = await house.create()
    await house.fails(asked, 30_000)
    results = await asyncio.gather(house.send(asked, 2), other.send(asked, 2), return_exceptions=True)
    assert all(result is None or isinstance(result, Fault) for result in results), results
    await house.send(asked, 2)  # as the flow does after a fault
    server = await house.server(asked)
    assert (server.revision, server.ports["game"]) == (2, 30_001)
    assert await house.held() == [("nod_a", server.id, (key(30_001),))]


async def test_a_cancelled_one_is_not_moved(plain: Services) -> None:
    house = House(plain, POOL)
    asked = await house.create()
    await house.fails(asked, 30_000)
    await plain.tasks.request_cancel(ORG, asked.task.id, by=ANN)
    await house.send(asked, 2)
    assert (await house.server(asked)).ports["game"] == 30_000


async def test_a_server_that_existed_keeps_its_ports_and_fails_with_the_reason(plain: Services) -> None:
    house = House(plain, POOL, SPARE)
    asked = await house.create()
    runs = ServerReport(Observed(asked.server.id, 1, "running", 50.0), asked.task.id)
    done = Outcome(Status.SUCCEEDED, result={"report": to_wire(runs)})
    await plain.server_reports.take(
        ORG, "nod_a", server_id=asked.server.id, task_id=asked.task.id, payload={}, outcome=done
    )
    again = await plain.servers.ask(ORG, asked.server.id, Event.RESTART, task_id="tsk_restart", actor=ANN)
    for attempt in (1, 2, 3):
        await house.fails(again, 30_000, attempt=attempt)
        if attempt < 3:
            await house.send(again, attempt + 1)
    task = await house.task(again)
    assert task.failure is not None
    assert (task.state, task.failure.code, task.failure.ports[0].port) == (TaskState.FAILED, "port_taken", 30_000)
    assert (await house.server(asked)).ports["game"] == 30_000
    assert await house.held() == [("nod_a", asked.server.id, (key(30_000),))]
    assert key(30_000) in (await house.ledgers())["nod_a"].foreign


async def test_a_marked_port_is_not_given_out_until_an_hour_has_passed(plain: Services, clock: SetClock) -> None:
    house = House(plain, ONE_PORT)
    asked = await house.create()
    await house.fails(asked, 30_000)
    ledger = (await house.ledgers())["nod_a"]
    await plain.store.batch(ORG).replace(ledger.without(asked.server.id)).commit()  # as its deletion does
    _, verdicts = await plain.servers.creation.dry_run(ORG, PlacementTry(template="echo"))
    reason = verdicts[0].reasons[0]
    assert (reason.code, reason.text) == ("port_taken", "port 30000/tcp is taken on the node by something else")
    with pytest.raises(NoRoom, match="port 30000/tcp is taken on the node by something else"):
        await house.create("two")
    clock.advance(FOREIGN_SECONDS)
    assert (await house.create("two")).server.ports["game"] == 30_000


async def test_a_marked_port_is_given_out_again_when_its_owner_says_so(plain: Services) -> None:
    house = House(plain, ONE_PORT)
    asked = await house.create()
    await house.fails(asked, 30_000)
    ledger = (await house.ledgers())["nod_a"]
    await plain.store.batch(ORG).replace(ledger.without(asked.server.id)).commit()
    with pytest.raises(NotFound, match="30000/udp is not marked"):
        await plain.foreign_ports.forget(ORG, "nod_a", "a", "udp", 30_000, by=ANN)
    await plain.foreign_ports.forget(ORG, "nod_a", "a", "tcp", 30_000, by=ANN)
    with pytest.raises(NotFound, match="30000/tcp is not marked as taken by something else on a"):
        await plain.foreign_ports.forget(ORG, "nod_a", "a", "tcp", 30_000, by=ANN)
    placed, _ = await plain.servers.creation.dry_run(ORG, PlacementTry(template="echo"))
    assert placed is not None
    assert placed.ports == {"game": 30_000}
    trail = await plain.audit.page(ORG, where=[Where("entry.action", "=", "node.port_freed")], limit=10)
    assert [(event.entry.target.id, event.entry.before) for event in trail.items] == [
        ("nod_a", {"ports": [key(30_000)]})
    ]


@pytest.mark.parametrize(
    "ports", [pytest.param((), id="an_older_agent_tells_none"), pytest.param((30_005,), id="one_it_was_never_given")]
)
async def test_a_node_marks_only_what_it_was_given(plain: Services, ports: tuple[int, ...]) -> None:
    house = House(plain, POOL)
    asked = await house.create()
    await house.fails(asked, *ports)
    assert (await house.ledgers())["nod_a"].foreign == {}
    assert await plain.store.find(ORG, ServerObserved, f"obs_{asked.server.id}") is not None


async def test_what_is_marked_is_seen_with_the_nodes_room(plain: Services) -> None:
    from shared.servers.holds import held_on

    house = House(plain, POOL)
    asked = await house.create()
    await house.fails(asked, 30_000)
    found = await held_on(plain.store, plain.clock, ORG, "nod_a")
    assert [(str(one.key), one.by) for one in found.foreign] == [(key(30_000), BY)]
    assert [hold.server_id for hold in found.holds] == [asked.server.id]
    assert ledger_id("nod_a") == (await house.ledgers())["nod_a"].id


@pytest.mark.parametrize(
    "nodes", [pytest.param([POOL], id="other_port"), pytest.param([ONE_PORT, SPARE], id="other_node")]
)
async def test_died_anywhere_it_holds_one_place_and_goes_on(
    plain: Services, monkeypatch: pytest.MonkeyPatch, nodes: list[Node]
) -> None:
    house = House(plain, *nodes)
    asked = await house.create()
    await house.fails(asked, 30_000)
    died = 0
    for at in range(1, 40):
        with monkeypatch.context() as patched:
            dying(patched, at)
            try:
                await house.send(asked, 2)
            except Killed:
                died += 1
            else:
                break
        server = await house.server(asked)
        assert await house.held() == [(server.node_id, server.id, (key(server.ports["game"]),))]
        trail = await plain.audit.page(ORG, where=[Where("entry.action", "=", "server.placed_again")], limit=10)
        assert len(trail.items) == server.revision - 1, "told if and only if it was done"
        owed = await plain.store.page(ORG, Orphan, limit=10)
        assert [orphan.node_id for orphan in owed.items] == ["nod_a"] * (server.node_id == "nod_b")
    server = await house.server(asked)
    assert (died > 3, server.revision) == (True, 2)
    assert house.broker.sent[-1 if len(nodes) == 1 else -2] == (server.node_id, "server.provision#2")
    assert ("nod_a", "leave#2") in house.broker.sent or len(nodes) == 1


async def test_cancelled_after_it_was_moved_it_lets_go_of_its_new_place(plain: Services) -> None:
    house = House(plain, ONE_PORT, SPARE)
    asked = await house.create()
    await house.fails(asked, 30_000)
    await house.send(asked, 2)
    await plain.operations.cancel(ORG, asked.task.id)
    assert await house.held() == []
    assert ("nod_b", "release#2") in house.broker.sent
