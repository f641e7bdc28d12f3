"""The walk along an action list: what is scheduled when, and under which number."""

from __future__ import annotations

from typing import Any

import pytest

from local.durable.core.events import (
    EVENT_RAISED,
    EVENT_SENT,
    EXECUTION_STARTED,
    ORCHESTRATOR_STARTED,
    SUB_CREATED,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_SCHEDULED,
    TIMER_CREATED,
    TIMER_FIRED,
    Event,
)
from local.durable.outofproc.walker import BadAction, NonDeterminism, Walker

RETRY = {"firstRetryIntervalInMilliseconds": 1000, "maxNumberOfAttempts": 2}
BEGIN = [Event(ORCHESTRATOR_STARTED, 1_000_000), Event(EXECUTION_STARTED, 1_000_000)]


def activity(name: str = "a") -> dict[str, Any]:
    return {"actionType": 0, "functionName": name, "input": "null"}


def retried(name: str = "r") -> dict[str, Any]:
    return {"actionType": 12, "compoundActions": [{**activity(name), "actionType": 1, "retryOptions": RETRY}]}


def wait(name: str) -> dict[str, Any]:
    return {"actionType": 6, "externalEventName": name, "reason": "ExternalEvent"}


def timer(cancelled: bool = False) -> dict[str, Any]:
    return {"actionType": 5, "fireAt": "1970-01-01T00:00:09.000000Z", "isCanceled": cancelled}


def every(*actions: dict[str, Any]) -> dict[str, Any]:
    return {"actionType": 12, "compoundActions": list(actions)}


def first(*actions: dict[str, Any]) -> dict[str, Any]:
    return {"actionType": 11, "compoundActions": list(actions)}


def done(number: int) -> Event:
    return Event(TASK_COMPLETED, 0, number)


def failed(number: int) -> Event:
    return Event(TASK_FAILED, 0, number)


def raised(name: str) -> Event:
    return Event(EVENT_RAISED, 0, name=name)


def walk(actions: list[dict[str, Any]], events: list[Event]) -> Walker:
    walker = Walker("instance", "execution")
    walker.replace(actions, [*BEGIN, *events])
    return walker


# Actions, what happened, the kinds and numbers that are scheduled in the end, whether all has been awaited.
WALKS: dict[str, tuple[list[dict[str, Any]], list[Event], list[tuple[int, int]], bool]] = {
    "the first action alone is invoked": ([activity(), activity()], [], [(TASK_SCHEDULED, 0)], False),
    "the second after the first": (
        [activity(), activity()],
        [done(0)],
        [(TASK_SCHEDULED, 0), (TASK_SCHEDULED, 1)],
        False,
    ),
    "a failure goes on as well": (
        [activity(), activity()],
        [failed(0), done(1)],
        [(TASK_SCHEDULED, 0), (TASK_SCHEDULED, 1)],
        True,
    ),
    "all at once": ([every(activity(), timer())], [], [(TASK_SCHEDULED, 0), (TIMER_CREATED, 1)], False),
    "all waits for the rest after a failure": (
        [every(activity(), activity()), activity()],
        [failed(0)],
        [(TASK_SCHEDULED, 0), (TASK_SCHEDULED, 1)],
        False,
    ),
    "any goes on with the first": (
        [first(activity(), timer()), activity()],
        [done(0)],
        [(TASK_SCHEDULED, 0), (TIMER_CREATED, 1), (TASK_SCHEDULED, 2)],
        False,
    ),
    "none of all": ([every(), activity()], [], [(TASK_SCHEDULED, 0)], False),
    "a cancelled timer is over at once": (
        [first(timer(cancelled=True), wait("e")), activity()],
        [],
        [(TIMER_CREATED, 0), (TASK_SCHEDULED, 1)],
        False,
    ),
    "a signal takes a number and no time": (
        [{"actionType": 9, "instanceId": "@c@k", "operation": "add", "input": "1"}, activity()],
        [],
        [(EVENT_SENT, 0), (TASK_SCHEDULED, 1)],
        False,
    ),
    "events take no number": ([wait("e"), activity()], [raised("e")], [(TASK_SCHEDULED, 0)], False),
    "event names know no case": ([wait("Go"), activity()], [raised("gO")], [(TASK_SCHEDULED, 0)], False),
    "early events wait in line": (
        [activity(), wait("e"), wait("e")],
        [raised("e"), raised("e"), done(0)],
        [(TASK_SCHEDULED, 0)],
        True,
    ),
    "a retry takes a number for its pause": (
        [retried()],
        [failed(0)],
        [(TASK_SCHEDULED, 0), (TIMER_CREATED, 1)],
        False,
    ),
    "and another for its attempt": (
        [retried()],
        [failed(0), Event(TIMER_FIRED, 0, 1)],
        [(TASK_SCHEDULED, 0), (TIMER_CREATED, 1), (TASK_SCHEDULED, 2)],
        False,
    ),
    "the pause after the last attempt": (
        [retried(), activity()],
        [failed(0), Event(TIMER_FIRED, 0, 1), failed(2)],
        [(TASK_SCHEDULED, 0), (TIMER_CREATED, 1), (TASK_SCHEDULED, 2), (TIMER_CREATED, 3)],
        False,
    ),
    "only then it gives up": (
        [retried(), activity()],
        [failed(0), Event(TIMER_FIRED, 0, 1), failed(2), Event(TIMER_FIRED, 0, 3)],
        [(TASK_SCHEDULED, 0), (TIMER_CREATED, 1), (TASK_SCHEDULED, 2), (TIMER_CREATED, 3), (TASK_SCHEDULED, 4)],
        False,
    ),
    "what nobody waits for is not heard": ([activity()], [done(7), raised("x")], [(TASK_SCHEDULED, 0)], False),
    "an empty list": ([], [], [], True),
}


@pytest.mark.parametrize(("actions", "events", "scheduled", "finished"), WALKS.values(), ids=WALKS.keys())
def test_walks(
    actions: list[dict[str, Any]], events: list[Event], scheduled: list[tuple[int, int]], finished: bool
) -> None:
    walker = walk(actions, events)
    assert [(event.kind, event.id) for event in walker.take()] == scheduled
    assert walker.finished is finished


def test_a_child_without_an_id_gets_one_of_its_execution() -> None:
    child = {"actionType": 2, "functionName": "c", "input": "1", "instanceId": None, "version": None}
    (event,) = walk([child], []).take()
    assert (event.kind, event.ref, event.data) == (SUB_CREATED, "execution:0", '"1"')


def test_a_call_to_an_entity_ends_with_the_event_that_bears_its_request_id() -> None:
    walker = walk([{"actionType": 7, "instanceId": "@c@k", "operation": "add", "input": "1"}, activity()], [])
    (sent,) = walker.take()
    assert (sent.kind, sent.ref) == (EVENT_SENT, "@c@k")
    import json

    request = json.loads(sent.data or "")
    assert (request["op"], request["input"], request["signal"], request["parent"]) == ("add", '"1"', False, "instance")
    walker.feed([raised(request["id"])])
    assert [event.kind for event in walker.take()] == [TASK_SCHEDULED]


REFUSED = {
    "another kind": Event(TIMER_CREATED, 0, 0),
    "another name": Event(TASK_SCHEDULED, 0, 0, "b"),
    "another number": Event(TASK_SCHEDULED, 0, 5, "a"),
}


@pytest.mark.parametrize("event", REFUSED.values(), ids=REFUSED.keys())
def test_a_list_that_does_not_lead_to_the_history(event: Event) -> None:
    with pytest.raises(NonDeterminism, match="Non-Deterministic workflow detected"):
        walk([activity("a")], [event])


def test_names_of_functions_know_no_case() -> None:
    walk([activity("Say")], [Event(TASK_SCHEDULED, 0, 0, "say")])


@pytest.mark.parametrize("kind", [8, 99])
def test_actions_that_cannot_be_carried_out(kind: int) -> None:
    with pytest.raises(BadAction):
        walk([{"actionType": kind}], [])
