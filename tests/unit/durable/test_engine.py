"""What functions do in the engine: activities, timers, entities, values, and what it counts of them."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest

from local.durable.core import statuses
from local.durable.core.events import EVENT_RAISED, Event
from local.durable.options import Invocation
from tests.unit.durable.conftest import House

# An event that comes early makes the SDK warn of a duplicate; it is none.
pytestmark = pytest.mark.filterwarnings("ignore:Potential duplicate Task")


@pytest.mark.parametrize("rest", [-1.0, 1000.0], ids=["after every episode", "never"])
async def test_a_rest_between_episodes_changes_no_result(house: House, rest: float) -> None:
    @house.activity
    async def work(value: int) -> int:
        await asyncio.sleep(0)
        return value

    @house.orchestrator
    def flow(context: Any) -> Any:
        first = yield context.task_all([context.call_activity("work", n) for n in range(150)])
        second = yield context.call_activity("work", 7)
        return sum(first) + second

    await house.start(coalesce_after_seconds=rest)
    assert await house.run("flow") == sum(range(150)) + 7


async def test_long_timers_go_in_hops(house: House) -> None:
    @house.orchestrator
    def flow(context: Any) -> Any:
        yield context.create_timer(context.current_utc_datetime + datetime.timedelta(seconds=0.5))
        return "awake"

    await house.start(short_timer_seconds=0.2, long_timer_hop_seconds=0.15)
    began = asyncio.get_running_loop().time()
    instance = await house.begin("flow")
    assert (await house.ended(instance)).output == '"awake"'
    assert asyncio.get_running_loop().time() - began >= 0.5
    row = house.engine._core.store.find(instance)
    assert row is not None
    fired = [event for event in house.engine._core.store.history(row.key) if event.kind == 11]
    assert len(fired) >= 3


async def test_a_message_and_what_it_decides_are_one_commit(house: House) -> None:
    @house.orchestrator
    def flow(context: Any) -> Any:
        return (yield context.wait_for_external_event("go"))

    engine = await house.start()
    before = engine.counters()["commits"]
    instance = await house.begin("flow")
    await house.until(lambda: engine.counters()["episodes"] == 1)
    await engine._core.send(instance, Event(EVENT_RAISED, 0, name="go", data="1"))
    assert (await house.ended(instance)).output == "1"
    await asyncio.sleep(0.1)  # whatever else there is to write
    assert engine.counters()["episodes"] == 2
    assert engine.counters()["commits"] - before == 2


async def test_an_entity_runs_its_operations_in_order_and_in_batches(house: House) -> None:
    sizes: list[int] = []

    @house.entity
    def log(context: Any) -> None:
        context.set_state([*context.get_state(list), context.get_input()])
        context.set_result(len(context.get_state()))

    @house.orchestrator
    def flow(context: Any) -> Any:
        import azure.durable_functions as df

        entity = df.EntityId("log", "one")
        results = yield context.task_all([context.call_entity(entity, "add", n) for n in range(7)])
        return results

    def note(call: Invocation) -> None:
        if call.kind == "entity":
            sizes.append(1)

    await house.start(entity_batch=3, on_invocation=note)
    assert await house.run("flow") == [1, 2, 3, 4, 5, 6, 7]
    assert len(sizes) == 3
    assert house.engine._core.store.entity("@log@one") == "[0, 1, 2, 3, 4, 5, 6]"


async def test_an_entity_that_nobody_wrote_answers_with_a_failure(house: House) -> None:
    @house.orchestrator
    def flow(context: Any) -> Any:
        import azure.durable_functions as df

        try:
            yield context.call_entity(df.EntityId("nobody", "a"), "get")
        except Exception as error:  # noqa: BLE001 - the SDK raises nothing more special
            return str(error)

    await house.start()
    assert "nobody" in await house.run("flow")


async def test_what_is_counted(house: House) -> None:
    @house.activity
    def double(value: int) -> int:
        return 2 * value

    @house.orchestrator
    def flow(context: Any) -> Any:
        for number in range(3):
            yield context.call_activity("double", number)

    await house.start(executor="live")
    await house.run("flow")
    counters = house.engine.counters()
    assert counters["actions"] == 7  # a start, and two for each activity
    assert (counters["episodes"], counters["activities"], counters["replayed_events"]) == (4, 3, 0)
    assert counters["history_events"] == 15  # ExecutionStarted comes before the first episode
    assert set(house.engine.health()) == {"timers", "retention", "writes"}


async def test_a_thousand_activities_take_few_commits(house: House) -> None:
    @house.activity
    async def double(value: int) -> int:
        return 2 * value

    @house.orchestrator
    def flow(context: Any) -> Any:
        return sum((yield context.task_all([context.call_activity("double", n) for n in range(1000)])))

    await house.start(executor="live")
    assert await house.run("flow") == 999_000
    assert house.engine.counters()["commits"] < 500


async def test_call_http_is_refused_with_a_reason(house: House) -> None:
    @house.orchestrator
    def flow(context: Any) -> Any:
        yield context.call_http("GET", "http://localhost/")

    await house.start()
    row = await house.ended(await house.begin("flow"))
    assert row.status == statuses.FAILED
    assert "call_http is not supported here: call an activity" in (row.output or "")


async def test_what_cannot_be_written_as_json_fails_the_orchestration(house: House) -> None:
    @house.orchestrator
    def flow(context: Any) -> Any:
        yield context.create_timer(context.current_utc_datetime)
        return object()

    await house.start()
    row = await house.ended(await house.begin("flow"))
    assert row.status == statuses.FAILED
    assert "not JSON serializable" in (row.output or "")


async def test_odd_characters_pass(house: House) -> None:
    @house.activity
    def echo(value: str) -> str:
        if value == "fail":
            raise ValueError("lone \ud800 surrogate")
        return value

    @house.orchestrator
    def flow(context: Any) -> Any:
        text = yield context.call_activity("echo", "ä 界 \U0001f3ae \u0000 \ud800")
        try:
            yield context.call_activity("echo", "fail")
        except Exception as error:  # noqa: BLE001 - the SDK raises nothing more special
            return [text, "surrogate" in str(error)]

    await house.start()
    assert await house.run("flow") == ["ä 界 \U0001f3ae \u0000 \ud800", True]
