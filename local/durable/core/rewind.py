"""The history of a failed orchestration without its failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

from local.durable.core.events import (
    EVENT_RAISED,
    EVENT_SENT,
    EXECUTION_COMPLETED,
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


class Rewound(NamedTuple):
    """A history in which nothing has failed yet, and the children whose end it does not know."""

    history: list[Event]
    children: list[Event]


def rewound(history: list[Event]) -> Rewound:
    """Take back what failed, and what was still under way when the orchestration ended: its results were not heard.

    An activity, a timer or a call to an entity without a result is forgotten, so that the replay schedules it anew. With
    the first failed activity goes every timer set after it: pauses between attempts, which the attempts to come will set
    again. Children stay: they have lives of their own.
    """
    kinds: dict[int, set[int]] = {}
    for event in history:
        kinds.setdefault(event.kind, set()).add(event.id)
    tasks = kinds.get(TASK_COMPLETED, set())
    timers = kinds.get(TIMER_FIRED, set()) - _pauses(history)
    replies = {event.name for event in history if event.kind == EVENT_RAISED}
    keeps: dict[int, Callable[[Event], bool]] = {
        TASK_SCHEDULED: lambda event: event.id in tasks,
        TIMER_CREATED: lambda event: event.id in timers,
        TIMER_FIRED: lambda event: event.id in timers,
        EVENT_SENT: lambda event: _is_over(event, replies),
        TASK_FAILED: lambda _: False,
        SUB_FAILED: lambda _: False,
        EXECUTION_COMPLETED: lambda _: False,
    }
    ended = kinds.get(SUB_COMPLETED, set())
    return Rewound(
        [event for event in history if event.kind not in keeps or keeps[event.kind](event)],
        [event for event in history if event.kind == SUB_CREATED and event.id not in ended],
    )


def _pauses(history: list[Event]) -> set[int]:
    first = next((i for i, event in enumerate(history) if event.kind == TASK_FAILED), len(history))
    return {event.id for event in history[first:] if event.kind == TIMER_CREATED}


def _is_over(sent: Event, replies: set[str | None]) -> bool:
    request = json.loads(sent.data or "{}")
    return bool(request.get("signal")) or request.get("id") in replies
