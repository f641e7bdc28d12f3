"""What a crash, a stop or a full disk in the middle of work costs: nothing that was committed."""

from __future__ import annotations

import asyncio
import datetime
import sqlite3
from typing import Any

import pytest

from local.common.errors import StartError
from local.durable.core.events import EVENT_RAISED, RESUMED, SUSPENDED, Event
from local.durable.engine import DurableEngine
from local.durable.options import DurableOptions
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


def test_a_newer_file_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "durable.db"
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA application_id=0x4D444442; PRAGMA user_version=99; CREATE TABLE t (x);")
    connection.close()
    with pytest.raises(StartError, match="newer version"):
        DurableEngine(tmp_path, object(), DurableOptions())  # type: ignore[arg-type]


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
