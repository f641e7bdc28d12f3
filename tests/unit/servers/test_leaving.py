"""What a node owes when a server was placed elsewhere: told once, and again until it has cleaned."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from shared.composition import Services
from shared.messaging.agent_api import ServerState
from shared.messaging.codec import to_wire
from shared.messaging.reports import Outcome, Status
from shared.messaging.server_messages import ALREADY_REMOVED, Observed, ServerReport
from shared.nodes.certificates import Holder
from shared.platform.ids import NodeId
from shared.servers.asking import Asked
from shared.servers.drift import FIRST_REST, Kind
from shared.servers.lifecycle import Status as Seen
from shared.servers.models import Orphan, status_of
from shared.tasks.models import Task, TaskKind, TaskState
from tests.support.clocks import SetClock
from tests.unit.servers.port_house import House
from tests.unit.servers.test_moving import ONE_PORT, SPARE, clock, plain  # noqa: F401  # fixtures
from tests.unit.servers.test_reports import Flows
from tests.unit.servers.test_reserving import ANN, ORG


async def placed_elsewhere(services: Services) -> tuple[House, Asked]:
    """Made for `nod_a`, which met a foreign port; it runs on `nod_b`."""
    house = House(services, ONE_PORT, SPARE)
    asked = await house.create()
    await house.fails(asked, 30_000)
    await house.send(asked, 2)
    here = ServerReport(Observed(asked.server.id, 2, "running", 200.0), asked.task.id)
    await take(house, asked, "nod_b", Outcome(Status.SUCCEEDED, result={"report": to_wire(here)}))
    return house, asked


async def take(house: House, asked: Asked, node_id: str, outcome: Outcome, task_id: str | None = None) -> None:
    await house.services.server_reports.take(
        ORG, node_id, server_id=asked.server.id, task_id=task_id or asked.task.id, payload={}, outcome=outcome
    )


def removed(asked: Asked, code: str = "ok") -> Outcome:
    report = ServerReport(Observed(asked.server.id, 2, "removed", 900.0))
    result = {"report": to_wire(report)} if code == "ok" else {}
    return Outcome(Status.SUCCEEDED, code, result=result)


async def owed(house: House) -> list[str]:
    page = await house.services.store.page(ORG, Orphan, limit=10)
    return [orphan.node_id for orphan in page.items]


async def hear(services: Services, at: SetClock, asked: Asked, node_id: str, revision: int) -> list[Task]:
    """Beats of a node that name the server, hours apart so that each is compared; the reconciliations that came of them."""
    holder = Holder(
        ORG, NodeId(node_id), "c", "t", cast("Any", None), datetime.max.replace(tzinfo=UTC), 1, ord(node_id[-1])
    )
    flows = Flows(set())
    for _ in range(3):
        await services.reconciler.hear(holder, [ServerState(asked.server.id, revision, "stopped")], lambda: flows)
        at.advance(8 * 3600)
    page = await services.tasks.page(
        ORG, filters={"target": asked.server.id, "kind": "server.reconcile"}, active=None, limit=10, cursor=None
    )
    assert {name for name, _ in flows.begun} <= {"reconcile_server"}
    return list(page.items)


@pytest.mark.parametrize("code", ["ok", ALREADY_REMOVED])
async def test_a_node_that_is_left_owes_the_cleaning_until_it_says_so(plain: Services, code: str) -> None:  # noqa: F811
    house, asked = await placed_elsewhere(plain)
    assert await owed(house) == ["nod_a"]
    await take(house, asked, "nod_a", dataclasses.replace(removed(asked, code), status=Status.FAILED))
    await take(house, asked, "nod_b", removed(asked, ALREADY_REMOVED), "tsk_of_another")
    assert await owed(house) == ["nod_a"]
    for _ in range(2):  # reports come twice
        await take(house, asked, "nod_a", removed(asked, code))
    assert await owed(house) == []
    assert status_of(*await plain.servers.get(ORG, asked.server.id)) is Seen.RUNNING


async def test_one_that_was_never_told_is_told_again_and_the_server_goes_on(
    plain: Services,  # noqa: F811
    clock: SetClock,  # noqa: F811
) -> None:
    house, asked = await placed_elsewhere(plain)
    (task,) = await hear(plain, clock, asked, "nod_a", 1)
    assert (task.node_id, task.spec["remove"], task.spec["revision"]) == ("nod_a", True, 2)
    server, _ = await plain.servers.get(ORG, asked.server.id)
    assert (server.node_id, server.operation) == ("nod_b", asked.server.operation), "it has no lease for that"
    assert await plain.operations.send(ORG, task.id, 1)
    assert house.broker.sent[-1] == ("nod_a", "server.reconcile#1")
    await plain.operations.expire(ORG, task.id)  # lost once more
    assert status_of(*await plain.servers.get(ORG, asked.server.id)) is Seen.RUNNING
    again = await plain.operations.retry(ORG, task.id, by=ANN)
    await take(house, asked, "nod_a", removed(asked), again.id)
    assert (await plain.tasks.get(ORG, again.id)).state is TaskState.SUCCEEDED
    assert await owed(house) == []
    after, observed = await plain.servers.get(ORG, asked.server.id)
    assert observed is not None
    assert (after.revision, observed.node_id, status_of(after, observed)) == (server.revision, "nod_b", Seen.RUNNING)
    clock.advance(FIRST_REST.total_seconds() * 100)
    assert len(await hear(plain, clock, asked, "nod_a", 1)) == 1, "nothing is owed: a stranger is left alone"


async def test_deleted_on_its_new_node_the_old_one_still_owes(plain: Services, clock: SetClock) -> None:  # noqa: F811
    from shared.servers.lifecycle import Event

    house, asked = await placed_elsewhere(plain)
    await plain.servers.ask(ORG, asked.server.id, Event.DELETE, task_id="tsk_removal", actor=ANN)
    await take(house, asked, "nod_b", removed(asked), "tsk_removal")
    assert await owed(house) == ["nod_a"]
    (task,) = await hear(plain, clock, asked, "nod_a", 1)
    assert task.kind is TaskKind.RECONCILE
    await take(house, asked, "nod_a", removed(asked), task.id)
    assert await owed(house) == []


async def test_one_that_came_back_is_there_by_right(plain: Services, clock: SetClock) -> None:  # noqa: F811
    house, asked = await placed_elsewhere(plain)
    server, _ = await plain.servers.get(ORG, asked.server.id)
    await plain.store.replace(ORG, server.having(node_id="nod_a"))
    ledgers = await house.ledgers()
    (hold,) = ledgers["nod_b"].holds()
    await plain.store.replace(ORG, ledgers["nod_a"].holding(hold))
    found = await hear(plain, clock, asked, "nod_a", server.revision)
    assert found == [], Kind.OWED
