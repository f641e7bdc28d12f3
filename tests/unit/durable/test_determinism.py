"""Random orchestrators, driven in random order and random batches: the SDK and the walk agree, whatever happens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.durable.core import statuses
from local.durable.core.events import EVENT_RAISED, Event
from local.durable.outofproc.walker import Walker
from tests.unit.durable.programs import has_race, orchestrator, programs
from tests.unit.durable.world import EXECUTION, World

# An event that comes early makes the SDK warn of a duplicate; it is none.
pytestmark = pytest.mark.filterwarnings("ignore:Potential duplicate Task")
NUMBERS_OF_EVENTS = 60


def drive(world: World, data: Any, *, crashes: bool) -> object:
    """Answer everything that is asked, in an order that hypothesis chooses, until the orchestration ends."""
    decision = world.start()
    names = [f"event{number}" for number in range(1, NUMBERS_OF_EVENTS)]
    for _ in range(400):
        if decision.outcome is not None:
            assert decision.outcome == statuses.COMPLETED, decision.output
            return decision.output
        check_agreement(world)
        if crashes and data.draw(st.booleans(), label="crash"):
            world.crash()
        size = data.draw(st.integers(1, 4), label="batch")
        batch: list[Event] = []
        for _ in range(size):
            choices: list[object] = [*sorted(world.pending), *([names[0]] if names else [])]
            if not choices:
                break
            choice = data.draw(st.sampled_from(choices), label="next")
            if isinstance(choice, int):
                batch.append(world.answer(choice))
            else:
                names.remove(str(choice))
                batch.append(Event(EVENT_RAISED, world.now, name=str(choice), data=f'"{choice}"'))
        decision = world.episode(batch)
    raise AssertionError("it does not end")


def check_agreement(world: World) -> None:
    """The SDK's open numbers are the walk's, and a walk from the start comes to where the one kept alive is."""
    walker = world.walker
    assert world.sdk_numbers() == set(walker._open)
    afresh = Walker(EXECUTION.instance_id, EXECUTION.execution_id)
    afresh.replace(walker.actions, walker.facts)
    assert (afresh._next_id, set(afresh._open), afresh._position) == (
        walker._next_id,
        set(walker._open),
        walker._position,
    )
    assert [item[:6] for item in afresh._items.values()] == [item[:6] for item in walker._items.values()]
    assert afresh.take() == []


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(program=programs, data=st.data())
def test_numbers_agree_in_any_order_and_any_batches(program: list[Any], data: Any) -> None:
    drive(World(orchestrator(program)), data, crashes=False)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(program=programs, data=st.data())
def test_a_crash_between_episodes_changes_nothing(program: list[Any], data: Any) -> None:
    world = World(orchestrator(program), mode="live")
    # The numbers can be compared only while the generator is alive, which a crash ends.
    decision = world.start()
    while decision.outcome is None:
        if data.draw(st.booleans(), label="crash"):
            world.crash()
        if world.pending:
            batch = [world.answer(data.draw(st.sampled_from(sorted(world.pending)), label="next"))]
        else:
            batch = [
                Event(EVENT_RAISED, world.now, name=f"event{number}", data="1")
                for number in range(1, NUMBERS_OF_EVENTS)
            ]
        decision = world.episode(batch)
    assert decision.outcome == statuses.COMPLETED, decision.output


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(program=programs.filter(lambda program: not has_race(program)), data=st.data())
def test_the_result_does_not_depend_on_order_or_batches(program: list[Any], data: Any) -> None:
    assert drive(World(orchestrator(program)), data, crashes=False) == drive(
        World(orchestrator(program)), data, crashes=False
    )


@pytest.mark.parametrize("mode", ["live", "replay"])
def test_a_lost_retry_that_goes_on_behind_a_cancelled_timer_is_reported(mode: str) -> None:
    """The SDK and the extension disagree here, in Azure as well: kept alive or replayed, it must be seen.

    numbers by the SDK        0 retry  1 activity  2 timer   3 pause of the retry   4 the last activity
    numbers by the extension  0 retry  1 activity  2 timer   3 the last activity: the timer is cancelled, so the list
                                                             goes on at once, long before the retry fails
    """
    program = [("any", [("retry", 1), ("act", 0)]), ("race", 0), ("fail",)]
    world = World(orchestrator(program), mode=mode)
    world.start()
    world.episode([world.answer(1)])
    world.episode([world.answer(0)])
    decision = world.episode([Event(EVENT_RAISED, world.now, name="event3", data="1")])
    assert decision.outcome == statuses.FAILED
    assert "Non-Deterministic workflow detected" in (decision.output or "")
