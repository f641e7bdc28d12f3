"""The life of an instance: begun, suspended, continued as new, rewound, ended, forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from local.durable.core import statuses
from local.durable.core.core import Refused
from local.durable.core.events import EVENT_RAISED, EXECUTION_TERMINATED, RESUMED, SUSPENDED, Event
from tests.unit.durable.conftest import House

# An event that comes early makes the SDK warn of a duplicate; it is none.
pytestmark = pytest.mark.filterwarnings("ignore:Potential duplicate Task")


async def test_results_of_an_execution_that_continued_as_new_are_dropped(house: House) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    finished: list[int] = []

    @house.activity
    async def work(value: int) -> int:
        await gates[value].wait()
        finished.append(value)
        return value

    @house.orchestrator
    def flow(context: Any) -> Any:
        round_ = context.get_input()
        late = context.call_activity("work", round_)
        go = context.wait_for_external_event(f"go{round_}")
        winner = yield context.task_any([late, go])
        if round_ == 0:
            context.continue_as_new(1)
            return None
        return ["late" if winner == late else "go", late.result]

    await house.start()
    core = house.engine._core
    instance = await house.begin("flow", 0)
    await core.send(instance, Event(EVENT_RAISED, 0, name="go0", data="null"))
    await house.until(lambda: core.kernel.counters.episodes == 3)
    gates[0].set()  # task 0 of the first execution; the second has a task 0 as well
    await house.until(lambda: finished == [0])
    active = core.orchestrations.active.in_memory(instance)
    assert active is not None
    await house.until(lambda: not active.inbox)
    assert [task for _, task in core.store.pending_tasks()] == [0]
    await house.crash()
    await house.start()  # the second execution's task 0 runs again
    gates[1].set()
    assert (await house.ended(instance)).output == '["late", 1]'


async def test_rewinding_takes_up_what_was_under_way_and_children_of_every_fate(house: House) -> None:
    failing = True
    calls: list[str] = []
    gate = asyncio.Event()

    @house.activity
    async def work(value: str) -> str:
        calls.append(value)
        if value == "slow":
            await gate.wait()
        if value == "bad" and failing:
            raise ValueError("not yet")
        return value

    @house.orchestrator
    def child(context: Any) -> Any:
        return (yield context.call_activity("work", context.get_input()))

    @house.orchestrator
    def flow(context: Any) -> Any:
        first = yield context.call_activity("work", "good")
        try:
            rest = yield context.task_all(
                [
                    context.call_activity("work", "slow"),
                    context.call_sub_orchestrator("child", "bad", "bad-child"),
                    context.call_sub_orchestrator("child", "fine", "fine-child"),
                ]
            )
        except Exception as error:
            raise RuntimeError("given up") from error
        return [first, *rest]

    await house.start(executor="live")
    instance = await house.begin("flow")
    await house.until(lambda: calls.count("slow") == 1)
    await house.ended("bad-child")
    await house.ended("fine-child")
    # The orchestration's end waits for "slow" (a failed task_all waits for the rest): then everything has ended.
    gate.set()
    assert (await house.ended(instance)).status == statuses.FAILED
    failing = False
    await house.engine._core.rewind(instance, "again")
    assert (await house.ended(instance)).output == '["good", "slow", "bad", "fine"]'
    assert calls.count("good") == 1
    assert calls.count("fine") == 1
    assert calls.count("bad") == 2


async def test_an_instance_that_was_dropped_from_memory_goes_on(house: House) -> None:
    @house.activity
    def double(value: int) -> int:
        return 2 * value

    @house.orchestrator
    def flow(context: Any) -> Any:
        first = yield context.wait_for_external_event("go")
        return (yield context.call_activity("double", first))

    await house.start(live_orchestrators=4)
    instances = [await house.begin("flow") for _ in range(20)]
    active = house.engine._core.orchestrations.active
    await house.until(lambda: house.engine._core.kernel.counters.episodes >= 20)
    assert len(active) < 20
    for number, instance in enumerate(instances):
        await house.engine._core.send(instance, Event(EVENT_RAISED, 0, name="go", data=str(number)))
    assert [(await house.ended(instance)).output for instance in instances] == [str(2 * n) for n in range(20)]


async def test_a_running_id_is_refused(house: House) -> None:
    @house.orchestrator
    def flow(context: Any) -> Any:
        yield context.wait_for_external_event("go")

    await house.start()
    await house.begin("flow", instance_id="mine")
    with pytest.raises(Refused, match="already exists"):
        await house.begin("flow", instance_id="mine")


async def test_a_child_whose_id_is_taken_fails_in_its_parent(house: House) -> None:
    @house.orchestrator
    def waiting(context: Any) -> Any:
        yield context.wait_for_external_event("go")

    @house.orchestrator
    def flow(context: Any) -> Any:
        try:
            yield context.call_sub_orchestrator("waiting", None, "taken")
        except Exception as error:  # noqa: BLE001 - the SDK raises nothing more special
            return str(error)

    await house.start()
    await house.begin("waiting", instance_id="taken")
    assert "already exists" in await house.run("flow")


async def test_finished_instances_are_forgotten_after_their_time(house: House) -> None:
    @house.orchestrator
    def flow(context: Any) -> Any:
        return context.get_input()
        yield

    await house.start(retention_seconds=3600)
    instances = [await house.begin("flow", number) for number in range(5)]
    for instance in instances:
        await house.ended(instance)
    core = house.engine._core
    assert await core.retention.turn(3600) == 0
    assert await core.retention.turn(-1) == 5
    assert [core.store.find(instance) for instance in instances] == [None] * 5
    assert house.engine._connection.execute("SELECT count(*) FROM history").fetchone() == (0,)


async def test_an_instance_can_be_suspended_and_ended_before_it_has_begun(house: House) -> None:
    @house.orchestrator
    def flow(context: Any) -> Any:
        return (yield context.wait_for_external_event("go"))

    await house.start()
    core = house.engine._core
    with core.kernel.committer.unit():  # the start and the orders in one turn of the loop: no episode in between
        first = core.effects.start("flow", "first", None).row.id
        second = core.effects.start("flow", "second", None).row.id
    orders = [core.send(first, Event(SUSPENDED, 0)), core.send(second, Event(EXECUTION_TERMINATED, 0, data='"no"'))]
    await asyncio.gather(*orders)
    assert (await house.ended(second)).status == statuses.TERMINATED
    await house.until(lambda: (row := core.store.find(first)) is not None and row.status == statuses.SUSPENDED)
    await core.send(first, Event(EVENT_RAISED, 0, name="go", data="1"))
    await core.send(first, Event(RESUMED, 0))
    assert (await house.ended(first)).output == "1"
