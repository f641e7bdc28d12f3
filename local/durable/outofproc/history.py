"""The history and the rest of an orchestration trigger's argument, as JSON for the SDK."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from local.durable.core.clock import iso
from local.durable.core.decision import Execution
from local.durable.core.events import (
    EVENT_RAISED,
    EVENT_SENT,
    EXECUTION_COMPLETED,
    EXECUTION_STARTED,
    EXECUTION_TERMINATED,
    ORCHESTRATOR_STARTED,
    RESUMED,
    SCHEDULING,
    SUB_COMPLETED,
    SUB_CREATED,
    SUB_FAILED,
    SUSPENDED,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_SCHEDULED,
    TIMER_CREATED,
    TIMER_FIRED,
    Event,
)
from local.durable.core.statuses import NAMES

UPPER_SCHEMA, UPPER_SCHEMA_NEW = 1, 2  # V2 and V3; the SDK answers with the higher one it knows


def time_span(seconds: float) -> str:
    """.NET's constant ("c") text of a duration: d.hh:mm:ss with seven digits where there is a fraction."""
    ticks = round(seconds * 10_000_000)
    whole, fraction = divmod(ticks, 10_000_000)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, secs = divmod(rest, 60)
    text = (f"{days}." if days else "") + f"{hours:02}:{minutes:02}:{secs:02}"
    return text + (f".{fraction:07}" if fraction else "")


def _completed(event: Event, _: Execution) -> dict[str, Any]:
    return {"TaskScheduledId": event.id, "Result": event.data}


def _failed(event: Event, _: Execution) -> dict[str, Any]:
    return {"TaskScheduledId": event.id, "Reason": event.ref, "Details": event.data}


def _control(event: Event, _: Execution) -> dict[str, Any]:
    return {"Input": event.data, "Reason": event.ref}


def _started(event: Event, execution: Execution) -> dict[str, Any]:
    return {
        "Name": event.name,
        "Version": event.extra,
        "Input": event.data,
        "OrchestrationInstance": {"InstanceId": execution.instance_id, "ExecutionId": execution.execution_id},
        "ParentInstance": _parent(execution),
    }


_FIELDS: dict[int, Callable[[Event, Execution], dict[str, Any]]] = {
    EXECUTION_STARTED: _started,
    TASK_SCHEDULED: lambda event, _: {"Name": event.name, "Version": "", "Input": event.data},
    TASK_COMPLETED: _completed,
    SUB_COMPLETED: _completed,
    TASK_FAILED: _failed,
    SUB_FAILED: _failed,
    SUB_CREATED: lambda event, _: {
        "Name": event.name,
        "InstanceId": event.ref,
        "Input": event.data,
        "Version": event.extra,
    },
    TIMER_CREATED: lambda event, _: {"FireAt": iso(event.due or 0)},
    TIMER_FIRED: lambda event, _: {"TimerId": event.id, "FireAt": iso(event.due or 0)},
    EVENT_SENT: lambda event, _: {"InstanceId": event.ref, "Name": event.name, "Input": event.data},
    EVENT_RAISED: lambda event, _: {"Name": event.name, "Input": event.data},
    EXECUTION_TERMINATED: _control,
    SUSPENDED: _control,
    RESUMED: _control,
    EXECUTION_COMPLETED: lambda event, _: {"OrchestrationStatus": NAMES[event.id], "Result": event.data},
}


def event_json(event: Event, execution: Execution, played: bool) -> dict[str, Any]:
    """One event with the field names that the SDK reads."""
    line: dict[str, Any] = {
        "EventType": event.kind,
        "EventId": event.id if event.kind in SCHEDULING else -1,
        "IsPlayed": played,
        "Timestamp": iso(event.at),
    }
    fields = _FIELDS.get(event.kind)
    return line | fields(event, execution) if fields else line


def _parent(execution: Execution) -> dict[str, Any] | None:
    if execution.parent_id is None:
        return None
    return {"OrchestrationInstance": {"InstanceId": execution.parent_id}, "TaskScheduleId": 0}


def history_json(events: Sequence[Event], execution: Execution) -> list[dict[str, Any]]:
    """A history; everything before its last OrchestratorStarted has been played."""
    newest = max((i for i, event in enumerate(events) if event.kind == ORCHESTRATOR_STARTED), default=0)
    return [event_json(event, execution, i < newest) for i, event in enumerate(events)]


def context_json(
    events: Sequence[Event], execution: Execution, *, short_timer_seconds: float, hop_seconds: float
) -> str:
    """The argument of an orchestration trigger. The misspelling of one field is the extension's."""
    body = orjson.dumps(
        {
            "history": history_json(events, execution),
            "instanceId": execution.instance_id,
            "isReplaying": any(event.kind == ORCHESTRATOR_STARTED for event in events[1:]),
            "parentInstanceId": execution.parent_id,
            "upperSchemaVersion": UPPER_SCHEMA,
            "upperSchemaVersionNew": UPPER_SCHEMA_NEW,
            "longRunningTimerIntervalDuration": time_span(hop_seconds),
            "maximumShortTimerDuration": time_span(short_timer_seconds),
            "defaultHttpAsyncRequestSleepTimeMillseconds": 30_000,
        }
    ).decode()
    # The input is JSON text already and stays as it came: a reading and writing of our own could change a number.
    return f'{body[:-1]},"input":{_input(events)}}}'


def _input(events: Sequence[Event]) -> str:
    for event in events[:2]:
        if event.kind == EXECUTION_STARTED:
            return event.data or "null"
    return "null"


def json_text(value: object) -> str:
    """JSON text in ASCII, so that nothing downstream can stumble over its characters."""
    return json.dumps(value)
