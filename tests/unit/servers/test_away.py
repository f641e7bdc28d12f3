"""What members ask while a node is away, and of servers that hold no room: nothing waits for the node, nothing is held twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.composition import Services
from shared.messaging.codec import to_wire
from shared.messaging.reports import Outcome, Status
from shared.messaging.server_messages import Observed, ServerReport, StepReport
from shared.servers.asking import Asked
from shared.servers.errors import NoRoom, NotInThisState, OperationUnderWay
from shared.servers.lifecycle import Event
from shared.servers.lifecycle import Status as Seen
from shared.servers.models import operation_of, status_of
from shared.servers.views import ServerEdit
from shared.tasks.models import TaskKind, TaskState
from shared.templates.models import Resources
from tests.unit.servers.port_house import House, key, node
from tests.unit.servers.test_reserving import ANN, ORG

ONE = node("a", (30_000, 30_000))
TWO = node("b", (31_000, 31_009))


async def status(house: House, asked: Asked) -> Seen:
    return status_of(*await house.services.servers.get(ORG, asked.server.id))


async def told(house: House, asked: Asked, state: str, ends: Status = Status.SUCCEEDED, at: float = 100.0) -> None:
    """Its node reports the end of the task, with the server in that state."""
    server, _ = await house.services.servers.get(ORG, asked.server.id)
    failed = (StepReport("install", "failed", 1.0, code="why", error="why"),) if ends is Status.FAILED else ()
    report = ServerReport(Observed(server.id, 1, state, at), asked.task.id, failed)  # type: ignore[arg-type]
    outcome = Outcome(ends, "why", "why", result={"report": to_wire(report)})
    await house.services.server_reports.take(
        ORG, str(server.node_id), server_id=server.id, task_id=asked.task.id, payload={}, outcome=outcome
    )


async def running(house: House) -> Asked:
    asked = await house.create()
    await told(house, asked, "running")
    return asked


async def failed(house: House) -> Asked:
    """Its install failed, so its room was given back."""
    asked = await house.create()
    await told(house, asked, "install_failed", Status.FAILED)
    assert await house.held() == []
    return asked


async def ask(house: House, asked: Asked, event: Event) -> Asked:
    return await house.services.servers.ask(ORG, asked.server.id, event, task_id=f"tsk_{event}", actor=ANN)


@pytest.mark.parametrize("end", ["cancel", "expire"])
async def test_a_provisioning_that_ends_while_its_node_is_silent_is_over_at_once(services: Services, end: str) -> None:
    house = House(services, ONE)
    asked = await house.create()
    assert await status(house, asked) is Seen.PROVISIONING
    ending: Callable[..., Awaitable[None]] = getattr(services.operations, end)
    for _ in range(2):  # an activity may run twice
        await ending(ORG, asked.task.id)
    assert await status(house, asked) is Seen.FAILED, "not at work until the lease ends"
    assert operation_of(*await services.servers.get(ORG, asked.server.id)) is None
    assert await house.held() == []
    task = await services.operations.retry(ORG, asked.task.id, by=ANN)
    assert (task.state, await status(house, asked)) == (TaskState.PENDING, Seen.PROVISIONING)
    assert await house.held() == [("nod_a", asked.server.id, (key(30_000),))]


async def test_retried_on_another_node_nothing_of_the_first_is_shown(services: Services) -> None:
    house = House(services, ONE)
    asked = await failed(house)
    house.there.nodes = [TWO]
    await services.operations.retry(ORG, asked.task.id, by=ANN)
    server, observed = await services.servers.get(ORG, asked.server.id)
    assert observed is not None
    assert (server.node_id, observed.node_id, observed.state, observed.observed) == ("nod_b", "nod_b", "absent", {})
    assert status_of(server, observed) is Seen.PROVISIONING
    house.there.nodes = [ONE]
    late = ServerReport(Observed(server.id, 9, "install_failed", 999.0), asked.task.id)
    await services.server_reports.take(
        ORG, "nod_a", server_id=server.id, task_id=asked.task.id, payload=to_wire(late)
    )  # from the node that it left
    assert await status(house, asked) is Seen.PROVISIONING
    here = ServerReport(Observed(server.id, 2, "installing", 5.0), asked.task.id)  # its clock is behind
    await services.server_reports.take(ORG, "nod_b", server_id=server.id, task_id=asked.task.id, payload=to_wire(here))
    assert await status(house, asked) is Seen.INSTALLING


async def test_sizes_of_what_holds_nothing_are_changed_and_held_when_it_is_tried_again(services: Services) -> None:
    house = House(services, ONE)
    asked = await failed(house)
    sizes = Resources(memory_mib=512, cpu_millicores=100, disk_mib=64)
    await services.servers.edit(ORG, asked.server.id, ServerEdit(resources=sizes), etag=None, actor=ANN)
    assert await house.held() == []
    await services.operations.retry(ORG, asked.task.id, by=ANN)
    assert [hold.m for hold in (await house.ledgers())["nod_a"].spec.values()] == [512]


async def test_sizes_of_a_server_whose_node_is_gone_are_refused_with_that_reason(services: Services) -> None:
    house = House(services, ONE)
    asked = await running(house)
    house.there.nodes = []
    sizes = Resources(memory_mib=512, cpu_millicores=100, disk_mib=64)
    with pytest.raises(NoRoom, match="not there any more"):
        await services.servers.edit(ORG, asked.server.id, ServerEdit(resources=sizes), etag=None, actor=ANN)


async def test_installing_anew_what_holds_nothing_holds_it_first(services: Services) -> None:
    house = House(services, ONE)
    asked = await failed(house)
    again = await ask(house, asked, Event.REINSTALL)
    assert await house.held() == [("nod_a", asked.server.id, (key(30_000),))]
    assert (again.task.kind, again.server.desired.generation) == (TaskKind.REINSTALL, 2)
    trail = await services.audit.page(ORG, where=[], limit=10)
    assert [event.entry.action for event in trail.items].count("server.reinstalled") == 1


async def test_installing_anew_is_refused_when_the_room_is_another_servers_by_now(
    services: Services, others: Services
) -> None:
    house = House(services, ONE)
    asked = await failed(house)
    other = await House(others, ONE).create("two")  # by another process
    with pytest.raises(NoRoom, match="no port is free in 30000-30000"):
        await ask(house, asked, Event.REINSTALL)
    assert await house.held() == [("nod_a", other.server.id, (key(30_000),))]
    assert (await house.server(asked)).desired.generation == 1


@pytest.mark.parametrize(
    ("first", "then", "wanted"),
    [
        pytest.param(Event.STOP, Event.START, {"power": "on"}, id="a_stop"),
        pytest.param(Event.KILL, Event.START, {"power": "on"}, id="a_kill"),
        pytest.param(Event.SUSPEND, Event.RESUME, {"suspended": None}, id="a_suspension"),
    ],
)
async def test_what_was_asked_is_taken_back_before_the_node_has_done_it(
    services: Services, first: Event, then: Event, wanted: dict[str, Any]
) -> None:
    house = House(services, ONE)
    asked = await running(house)
    one = await ask(house, asked, first)
    two = await ask(house, asked, then)
    server = await house.server(asked)
    assert {name: getattr(server.desired, name) for name in wanted} == wanted
    assert server.operation is not None
    assert (server.operation.task_id, server.revision) == (two.task.id, one.server.revision + 1)


@pytest.mark.parametrize(
    ("first", "then", "refusal"),
    [
        pytest.param(Event.RESTART, Event.START, OperationUnderWay, id="a_restart_is_no_stop"),
        pytest.param(Event.STOP, Event.RESTART, OperationUnderWay, id="a_restart_takes_nothing_back"),
        pytest.param(Event.STOP, Event.RESUME, OperationUnderWay, id="nothing_was_suspended"),
        pytest.param(None, Event.START, NotInThisState, id="it_runs"),
    ],
)
async def test_nothing_else_is_taken_back(
    services: Services, first: Event | None, then: Event, refusal: type[Exception]
) -> None:
    house = House(services, ONE)
    asked = await running(house)
    if first is not None:
        await ask(house, asked, first)
    with pytest.raises(refusal):
        await ask(house, asked, then)
