"""What replaying an orchestrator tells its code, and what gives code away that is not deterministic."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from local.durable.core import statuses
from local.durable.core.events import EVENT_RAISED, Event
from tests.unit.durable.conftest import House

# An event that comes early makes the SDK warn of a duplicate; it is none.
pytestmark = pytest.mark.filterwarnings("ignore:Potential duplicate Task")


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
