"""The engine in this process: what cannot be seen, or not be forced, through HTTP."""

from __future__ import annotations

import asyncio
import datetime
import sqlite3
import threading
from typing import Any

import pytest

from local.common.errors import StartError
from local.durable.core import statuses
from local.durable.core.core import Refused
from local.durable.core.events import EVENT_RAISED, EXECUTION_TERMINATED, RESUMED, SUSPENDED, Event
from local.durable.engine import DurableEngine
from local.durable.options import DurableOptions, Invocation
from tests.unit.durable.conftest import House

# An event that comes early makes the SDK warn of a duplicate; it is none.
pytestmark = pytest.mark.filterwarnings("ignore:Potential duplicate Task")


async def test_an_activity_in_flight_at_a_crash_runs_again_and_a_finished_one_does_not(house: House) -> None:
    ran: list[str] = []
    gate = asyncio.Event()

    @house.activity
    async def work(value: str) -> str:
        ran.append(value)
        if value == "second":
            await gate.wait()
        return value

    @house.orchestrator
    def flow(context: Any) -> Any:
        first = yield context.call_activity("work", "first")
        second = yield context.call_activity("work", "second")
        return [first, second]

    await house.start()
    instance = await house.begin("flow")
    await house.until(lambda: ran == ["first", "second"])
    await house.crash()
    gate.set()
    await house.start()
    assert (await house.ended(instance)).output == '["first", "second"]'
    assert ran == ["first", "second", "second"]
    assert house.engine.counters()["replayed_events"] > 0


async def test_a_result_that_waits_for_its_episode_is_on_disk_already(house: House) -> None:
    """While an instance is suspended, results are written to its inbox: no activity runs again."""
    ran: list[int] = []
    gate = asyncio.Event()

    @house.activity
    async def work(value: int) -> int:
        await gate.wait()
        ran.append(value)
        return value

    @house.orchestrator
    def flow(context: Any) -> Any:
        return (yield context.task_all([context.call_activity("work", n) for n in range(5)]))

    await house.start()
    core = house.engine._core
    instance = await house.begin("flow")
    active = core.orchestrations.active.in_memory(instance)
    assert active is not None
    await house.until(lambda: active.episode == 2)
    await core.send(instance, Event(SUSPENDED, 0))
    gate.set()
    await house.until(lambda: len(active.inbox) == 5)
    await core.kernel.committer.committed()
    await house.crash()
    await house.start()
    await house.engine._core.send(instance, Event(RESUMED, 0))
    assert (await house.ended(instance)).output == "[0, 1, 2, 3, 4]"
    assert sorted(ran) == [0, 1, 2, 3, 4]


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


async def test_a_long_history_is_replayed_in_a_thread(house: House) -> None:
    threads: set[str] = set()

    @house.activity
    def double(value: int) -> int:
        return 2 * value

    @house.orchestrator
    def flow(context: Any) -> Any:
        threads.add(threading.current_thread().name)
        results = yield context.task_all([context.call_activity("double", n) for n in range(300)])
        yield context.wait_for_external_event("go")
        return sum(results)

    await house.start(executor="live")
    instance = await house.begin("flow")
    core = house.engine._core
    await house.until(lambda: core.kernel.counters.activities == 300)
    await house.until(
        lambda: (row := core.store.find(instance)) is not None and not core.store.pending_tasks() and row.status == 0
    )
    await house.crash()
    threads.clear()
    await house.start(executor="live")
    await house.engine._core.send(instance, Event(EVENT_RAISED, 0, name="go", data="null"))
    assert (await house.ended(instance)).output == str(2 * sum(range(300)))
    assert threads != {threading.main_thread().name}


async def test_the_replay_check_finds_code_that_is_not_deterministic(house: House) -> None:
    turns: list[int] = []

    @house.activity
    def double(value: int) -> int:
        return 2 * value

    @house.orchestrator
    def flow(context: Any) -> Any:
        turns.append(1)
        seen = len(turns)
        yield context.call_activity("double", 1)
        return seen

    await house.start(executor="check")
    row = await house.ended(await house.begin("flow"))
    assert row.status == statuses.FAILED
    assert "replay check: output kept alive '1', replayed '3'" in (row.output or "")


@pytest.mark.parametrize("mode", ["live", "replay"])
async def test_replaying_is_told_to_user_code_only_for_what_has_run_before(house: House, mode: str) -> None:
    fresh: list[str] = []

    @house.activity
    def double(value: int) -> int:
        return 2 * value

    @house.orchestrator
    def flow(context: Any) -> Any:
        def note(what: str) -> None:
            if not context.is_replaying:
                fresh.append(what)

        note("begin")
        early = context.wait_for_external_event("early")
        yield context.task_all([context.call_activity("double", 1), early])
        note("after all")
        yield context.call_activity("double", 2)
        note("after two")
        yield early
        note("complete long ago")
        yield context.call_activity("double", 3)
        note("end")

    await house.start(executor=mode)
    instance = await house.begin("flow")
    await house.engine._core.send(instance, Event(EVENT_RAISED, 0, name="early", data="1"))
    await house.ended(instance)
    # The SDK says "replaying" after a yield of something that completed in an earlier episode, also at the first time.
    assert fresh == ["begin", "after all", "after two", "end"]


async def test_an_unhandled_failure_of_a_commit_loses_nothing(house: House) -> None:
    """A full disk: the transaction is refused; the engine drops its memory, and reads its file once it can write again."""
    ran: list[int] = []

    @house.activity
    async def work(value: int) -> int:
        ran.append(value)
        return value

    @house.orchestrator
    def flow(context: Any) -> Any:
        yield context.call_activity("work", 1)
        yield context.wait_for_external_event("go")
        return (yield context.call_activity("work", 2))

    await house.start()
    core = house.engine._core
    instance = await house.begin("flow")
    await house.until(lambda: (row := core.store.find(instance)) is not None and core.store.episodes(row.key)[0] == 3)
    pages = house.engine._connection.execute("PRAGMA page_count").fetchone()[0]
    house.engine._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(sqlite3.Error):
        await core.send(instance, Event(EVENT_RAISED, 0, name="go", data='"' + "x" * 100_000 + '"'))
    core.kernel.lost(sqlite3.OperationalError("database or disk is full"))
    assert house.engine.broken is not None
    assert house.engine.health()["writes"] > 0
    house.engine._connection.execute("PRAGMA max_page_count=1000000")
    await house.until(lambda: house.engine.broken is None)
    await core.send(instance, Event(EVENT_RAISED, 0, name="go", data="null"))
    assert (await house.ended(instance)).output == "2"
    assert any("could not write" in line for line in house.lines)


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


def test_a_newer_file_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "durable.db"
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA application_id=0x4D444442; PRAGMA user_version=99; CREATE TABLE t (x);")
    connection.close()
    with pytest.raises(StartError, match="newer version"):
        DurableEngine(tmp_path, object(), DurableOptions())  # type: ignore[arg-type]


async def test_call_http_is_refused_with_a_reason(house: House) -> None:
    @house.orchestrator
    def flow(context: Any) -> Any:
        yield context.call_http("GET", "http://localhost/")

    await house.start()
    row = await house.ended(await house.begin("flow"))
    assert row.status == statuses.FAILED
    assert "call_http is not supported here: call an activity" in (row.output or "")


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


async def test_a_stop_in_the_middle_is_quiet_and_loses_nothing(house: House) -> None:
    @house.activity
    async def work(value: int) -> int:
        await asyncio.sleep(0.001)
        return value

    @house.orchestrator
    def flow(context: Any) -> Any:
        total = 0
        for number in range(5):
            total += yield context.call_activity("work", number)
        return total

    engine = await house.start(executor="live")
    instances = [await house.begin("flow") for _ in range(50)]
    await house.until(lambda: engine.counters()["activities"] > 40)
    await house.stop()
    house._engines.clear()
    await asyncio.sleep(0.05)  # callbacks left over would fail in here
    assert house.lines == []
    await house.start(executor="live")
    assert {(await house.ended(instance)).output for instance in instances} == {"10"}
    assert house.lines == []


async def test_a_full_disk_stops_nothing_for_good(house: House) -> None:
    """Every path that writes runs against a file that cannot grow; when it can again, all that was asked for is done."""

    @house.activity
    async def work(value: str) -> str:
        return value * 3_000

    @house.entity
    def keeper(context: Any) -> None:
        context.set_state(context.get_state(str) + context.get_input())
        context.set_result(len(context.get_state()))

    @house.orchestrator
    def flow(context: Any) -> Any:
        import azure.durable_functions as df

        text = yield context.call_activity("work", "x")
        yield context.create_timer(context.current_utc_datetime + datetime.timedelta(seconds=0.05))
        size = yield context.call_entity(df.EntityId("keeper", context.instance_id), "add", text)
        return size

    await house.start(executor="live")
    connection, core = house.engine._connection, house.engine._core
    instances = [await house.begin("flow") for _ in range(20)]
    await house.until(lambda: core.kernel.counters.activities >= 3)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    await house.until(lambda: house.engine.broken is not None)
    connection.execute("PRAGMA max_page_count=1000000")
    assert {(await house.ended(instance)).output for instance in instances} == {"3000"}
    assert house.lines[-1] == "the durable engine writes again"
