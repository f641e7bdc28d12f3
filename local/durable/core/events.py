"""What happened to an instance, in the order it is remembered.

The kinds, their numbers and their fields are those of DurableTask.Core's history (`EventType`), which the Durable
Functions extension hands to the SDKs: https://github.com/Azure/durabletask/tree/main/src/DurableTask.Core/History.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import orjson

EXECUTION_STARTED: Final = 0
EXECUTION_COMPLETED: Final = 1
EXECUTION_TERMINATED: Final = 3
TASK_SCHEDULED: Final = 4
TASK_COMPLETED: Final = 5
TASK_FAILED: Final = 6
SUB_CREATED: Final = 7
SUB_COMPLETED: Final = 8
SUB_FAILED: Final = 9
TIMER_CREATED: Final = 10
TIMER_FIRED: Final = 11
ORCHESTRATOR_STARTED: Final = 12
ORCHESTRATOR_COMPLETED: Final = 13
EVENT_SENT: Final = 14
EVENT_RAISED: Final = 15
CONTINUE_AS_NEW: Final = 16
GENERIC: Final = 17
SUSPENDED: Final = 19
RESUMED: Final = 20

KIND_NAMES: Final = {
    EXECUTION_STARTED: "ExecutionStarted",
    EXECUTION_COMPLETED: "ExecutionCompleted",
    EXECUTION_TERMINATED: "ExecutionTerminated",
    TASK_SCHEDULED: "TaskScheduled",
    TASK_COMPLETED: "TaskCompleted",
    TASK_FAILED: "TaskFailed",
    SUB_CREATED: "SubOrchestrationInstanceCreated",
    SUB_COMPLETED: "SubOrchestrationInstanceCompleted",
    SUB_FAILED: "SubOrchestrationInstanceFailed",
    TIMER_CREATED: "TimerCreated",
    TIMER_FIRED: "TimerFired",
    ORCHESTRATOR_STARTED: "OrchestratorStarted",
    ORCHESTRATOR_COMPLETED: "OrchestratorCompleted",
    EVENT_SENT: "EventSent",
    EVENT_RAISED: "EventRaised",
    CONTINUE_AS_NEW: "ContinueAsNew",
    GENERIC: "GenericEvent",
    SUSPENDED: "ExecutionSuspended",
    RESUMED: "ExecutionResumed",
}

SCHEDULING: Final = frozenset({TASK_SCHEDULED, SUB_CREATED, TIMER_CREATED, EVENT_SENT})


class Event(NamedTuple):
    """One line of a history.

    Attributes:
        kind: one of the numbers above.
        at: when it was recorded, microseconds since the epoch.
        id: number of the task: its own for what schedules, the scheduled one's for what completes; else -1.
        name: of the function or the event.
        data: input, result or details; JSON text unless said otherwise.
        ref: of a child or an entity its instance id; of a failure its reason; of ExecutionStarted the execution id.
        due: of a timer, microseconds since the epoch.
        extra: of what starts an orchestration, its version.
    """

    kind: int
    at: int
    id: int = -1
    name: str | None = None
    data: str | None = None
    ref: str | None = None
    due: int | None = None
    extra: str | None = None


class Message(NamedTuple):
    """An event on its way to an instance, with what must be deleted when it has been taken in.

    Attributes:
        event: what will stand in the history.
        execution: the only execution it is meant for; None: whichever runs.
        source: the table whose row goes when the message is taken in ("inbox", "task", "timer", or "" for none).
        row: the row of an inbox message, the task's number otherwise.
    """

    event: Event
    execution: str | None = None
    source: str = ""
    row: int = -1


def pack(events: list[Event]) -> bytes:
    """The events of one episode as one compact JSON text."""
    return orjson.dumps([tuple(event) for event in events])


def unpack(text: bytes | str) -> list[Event]:
    """The reverse of `pack`."""
    return [Event(*fields) for fields in orjson.loads(text)]
