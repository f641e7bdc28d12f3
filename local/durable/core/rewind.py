"""The history of a failed orchestration without its failures."""

from __future__ import annotations

from local.durable.core.events import (
    EXECUTION_COMPLETED,
    SUB_CREATED,
    SUB_FAILED,
    TASK_FAILED,
    TASK_SCHEDULED,
    TIMER_CREATED,
    TIMER_FIRED,
    Event,
)


def rewound(history: list[Event]) -> tuple[list[Event], list[str]]:
    """A history in which nothing has failed yet, and the ids of the children that failed.

    A failed activity is forgotten with its scheduling, so that the replay schedules it anew; a failed child keeps its
    scheduling and is rewound itself. With the first failure goes every timer set after it: pauses between attempts, which
    the attempts to come will set again.
    """
    failed = {event.id for event in history if event.kind == TASK_FAILED}
    lost_children = {event.id for event in history if event.kind == SUB_FAILED}
    children = [event.ref or "" for event in history if event.kind == SUB_CREATED and event.id in lost_children]
    pauses = _pauses(history)
    kept = [
        event
        for event in history
        if not (
            event.kind in (TASK_FAILED, SUB_FAILED, EXECUTION_COMPLETED)
            or (event.kind == TASK_SCHEDULED and event.id in failed)
            or (event.kind in (TIMER_CREATED, TIMER_FIRED) and event.id in pauses)
        )
    ]
    return kept, children


def _pauses(history: list[Event]) -> set[int]:
    first = next((i for i, event in enumerate(history) if event.kind == TASK_FAILED), len(history))
    return {event.id for event in history[first:] if event.kind == TIMER_CREATED}
