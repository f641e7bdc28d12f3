"""An instance's state as the management API shows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from local.durable.core import statuses
from local.durable.core.clock import iso, iso_seconds
from local.durable.core.events import (
    EVENT_RAISED,
    EVENT_SENT,
    EXECUTION_COMPLETED,
    EXECUTION_STARTED,
    EXECUTION_TERMINATED,
    KIND_NAMES,
    ORCHESTRATOR_COMPLETED,
    ORCHESTRATOR_STARTED,
    SCHEDULING,
    SUB_COMPLETED,
    SUB_CREATED,
    SUB_FAILED,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_SCHEDULED,
    TIMER_CREATED,
    TIMER_FIRED,
    Event,
)
from local.durable.core.store import InstanceRow

_ENDS = frozenset({TASK_COMPLETED, TASK_FAILED, SUB_COMPLETED, SUB_FAILED, TIMER_FIRED})


def object_text(fields: Iterable[tuple[str, str]]) -> str:
    """A JSON object from names and JSON texts: what user code wrote passes through unread."""
    return "{" + ",".join(f'"{name}":{text}' for name, text in fields) + "}"


def status_json(row: InstanceRow, started: Event | None, history: Sequence[Event] | None, *, outputs: bool) -> str:
    """The status object of the API.

    Args:
        row: the instance.
        started: ExecutionStarted, for the input; None: the input is left out.
        history: events to show, or None.
        outputs: whether results stand in those events.
    """
    fields = [
        ("name", json.dumps(row.name)),
        ("instanceId", json.dumps(row.id)),
        ("runtimeStatus", f'"{statuses.NAMES[row.status]}"'),
        ("input", (started.data or "null") if started is not None else "null"),
        ("customStatus", row.custom_status or "null"),
        ("output", row.output or "null"),
        ("createdTime", f'"{iso_seconds(row.created)}"'),
        ("lastUpdatedTime", f'"{iso_seconds(row.updated)}"'),
    ]
    if history is not None:
        fields.append(("historyEvents", json.dumps(history_events(history, outputs=outputs))))
    return object_text(fields)


def history_events(history: Sequence[Event], *, outputs: bool) -> list[dict[str, Any]]:
    """The history for readers: what completed stands with when it was scheduled, and episodes are left out."""
    scheduled = {event.id: event for event in history if event.kind in SCHEDULING and event.kind != EVENT_SENT}
    ended = {event.id for event in history if event.kind in _ENDS}
    lines = []
    for event in history:
        if event.kind in (ORCHESTRATOR_STARTED, ORCHESTRATOR_COMPLETED):
            continue
        if event.kind in SCHEDULING and event.id in ended:
            continue
        lines.append(_line(event, scheduled, outputs=outputs))
    return lines


def _line(event: Event, scheduled: dict[int, Event], *, outputs: bool) -> dict[str, Any]:
    line: dict[str, Any] = {"EventType": KIND_NAMES[event.kind], "Timestamp": iso(event.at)}
    origin = scheduled.get(event.id) if event.kind in _ENDS else None
    if origin is not None:
        line["ScheduledTime"] = iso(origin.at)
        if origin.name:
            line["FunctionName"] = origin.name
    details = _DETAILS.get(event.kind, _nothing)(event)
    return line | {name: value for name, value in details.items() if outputs or name not in _OUTPUTS}


def _nothing(_: Event) -> dict[str, Any]:
    return {}


def _completed(event: Event) -> dict[str, Any]:
    return {"Result": _value(event.data)}


def _failed(event: Event) -> dict[str, Any]:
    return {"Reason": event.ref, "Details": event.data}


def _named(event: Event) -> dict[str, Any]:
    return {"FunctionName": event.name}


def _timer(event: Event) -> dict[str, Any]:
    return {"FireAt": iso(event.due or 0)}


_OUTPUTS = frozenset({"Result", "Input"})
_DETAILS: dict[int, Callable[[Event], dict[str, Any]]] = {
    TASK_SCHEDULED: _named,
    SUB_CREATED: _named,
    EXECUTION_STARTED: _named,
    TASK_COMPLETED: _completed,
    SUB_COMPLETED: _completed,
    TASK_FAILED: _failed,
    SUB_FAILED: _failed,
    TIMER_CREATED: _timer,
    TIMER_FIRED: _timer,
    EVENT_RAISED: lambda event: {"Name": event.name, "Input": _value(event.data)},
    EXECUTION_TERMINATED: lambda event: {"Reason": _value(event.data)},
    EXECUTION_COMPLETED: lambda event: {
        "OrchestrationStatus": statuses.NAMES[event.id],
        "Result": _value(event.data),
    },
}


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)
