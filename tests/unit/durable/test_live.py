"""What keeps an orchestrator alive must equal what the SDK makes of the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pytest
from azure.durable_functions.models import DurableOrchestrationContext
from azure.durable_functions.models.history.HistoryEvent import HistoryEvent
from azure.durable_functions.models.TaskOrchestrationExecutor import TaskOrchestrationExecutor

from local.durable.core.decision import Execution
from local.durable.core.events import (
    EVENT_RAISED,
    EVENT_SENT,
    EXECUTION_STARTED,
    ORCHESTRATOR_STARTED,
    SUB_COMPLETED,
    SUB_FAILED,
    TASK_COMPLETED,
    TASK_FAILED,
    TIMER_FIRED,
    Event,
)
from local.durable.outofproc.history import context_json, event_json
from local.durable.outofproc.live import ContextOptions, _Executor, _LiveEvent, new_context

NOW = 1_767_225_600_123_000
OPTIONS = ContextOptions(518_400, 259_200)
EXECUTIONS = {
    "with a parent": Execution("i", "e", "flow", "p"),
    "alone": Execution("i", "e", "flow", None),
}
INPUTS = {"text": '"{\\"a\\": 1}"', "object": '{"a": 1}', "number": "5", "none": None}


def fields(thing: Any) -> dict[str, Any]:
    """Everything in an object, with the objects inside made comparable."""
    return {
        name: fields(value) if hasattr(value, "__dict__") and not isinstance(value, Enum) else value
        for name, value in vars(thing).items()
    }


@pytest.mark.parametrize("execution", EXECUTIONS.values(), ids=EXECUTIONS.keys())
@pytest.mark.parametrize("data", INPUTS.values(), ids=INPUTS.keys())
def test_a_new_context_equals_the_one_read_from_json(execution: Execution, data: str | None) -> None:
    events = [
        Event(ORCHESTRATOR_STARTED, NOW),
        Event(EXECUTION_STARTED, NOW - 5, name="flow", data=data, extra="2.0"),
        Event(EVENT_RAISED, NOW - 1, name="early", data="1"),
    ]
    text = context_json(events, execution, **OPTIONS._asdict())
    read = DurableOrchestrationContext.from_json(text)
    made = new_context(execution, events, [_LiveEvent(event) for event in events], OPTIONS)
    ours, theirs = fields(made), fields(read)
    for one in (ours, theirs):
        del one["_histories"], one["decision_started_event"]
    assert ours == theirs
    assert made.current_utc_datetime.tzinfo is not None
    assert type(made.current_utc_datetime.tzinfo) is type(read.current_utc_datetime.tzinfo)
    assert made.new_uuid() == read.new_uuid()
    assert made.new_guid() == read.new_guid()


def test_contexts_share_nothing() -> None:
    events = [Event(ORCHESTRATOR_STARTED, NOW), Event(EXECUTION_STARTED, NOW)]
    one, other = (new_context(EXECUTIONS["alone"], events, [_LiveEvent(events[0])], OPTIONS) for _ in range(2))
    shared = [
        name for name, value in vars(one).items() if isinstance(value, (dict, list)) and value is vars(other)[name]
    ]
    assert shared == []


EVENTS = [
    Event(ORCHESTRATOR_STARTED, NOW),
    Event(TASK_COMPLETED, NOW, 3, data='"r"'),
    Event(TASK_FAILED, NOW, 3, ref="reason", data="details"),
    Event(SUB_COMPLETED, NOW, 3, data="1"),
    Event(SUB_FAILED, NOW, 3, ref="reason", data=""),
    Event(TIMER_FIRED, NOW, 3, due=NOW),
    Event(EVENT_RAISED, NOW, name="e", data="1"),
    Event(EVENT_SENT, NOW, 3, "op", '{"id": "x"}', "@counter@a"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.kind))
def test_a_live_event_says_what_the_sdks_says(event: Event) -> None:
    line = event_json(event, EXECUTIONS["alone"], played=False)
    read, made = vars(HistoryEvent(**line)), vars(_LiveEvent(event))
    spoken = {name for name, value in read.items() if value is not None} - {"FireAt"}
    assert {name: made[name] for name in spoken} == {name: read[name] for name in spoken}
    assert made["_timestamp"] == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=event.at)


def test_our_executor_has_every_field_of_the_sdks() -> None:
    theirs = vars(TaskOrchestrationExecutor())
    ours = vars(_Executor())
    assert set(ours) - set(theirs) == {"heard", "quiet"}
    assert set(theirs) <= set(ours)
    assert ours["event_to_SetTaskValuePayload"] == theirs["event_to_SetTaskValuePayload"]
