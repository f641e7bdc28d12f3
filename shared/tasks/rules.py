"""Decisions about tasks: what follows an attempt, and how long things may take."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from shared.tasks.models import TaskKind

MAX_ATTEMPTS: Final = 3
PAUSES: Final = (timedelta(seconds=5), timedelta(seconds=30))  # before the second and the third attempt

#: How often the sweep comes, and how old what it begins must be: a flow begins with its request, so that one which has not
#: begun by then was forgotten by a process that died. The next process has just begun then, and looks each minute at first.
SWEEP_EVERY: Final = timedelta(minutes=5)
LEFT_BEHIND: Final = timedelta(minutes=1)
YOUNG: Final = timedelta(minutes=3)
#: From the request to the end, whatever happens. An install may download tens of gigabytes. None is so short that the
#: sweep could come too late for what it is to save.
DEADLINES: Final[dict[TaskKind, timedelta]] = {
    TaskKind.PROVISION: timedelta(hours=2),
    TaskKind.REINSTALL: timedelta(hours=2),
    TaskKind.UPDATE: timedelta(hours=2),
    TaskKind.START: timedelta(minutes=20),
    TaskKind.RESTART: timedelta(minutes=30),
    TaskKind.RESUME: timedelta(minutes=20),
    TaskKind.STOP: timedelta(minutes=12),
    TaskKind.SUSPEND: timedelta(minutes=12),
    TaskKind.KILL: timedelta(minutes=12),
    TaskKind.DELETE: timedelta(minutes=30),
    TaskKind.RECONCILE: timedelta(hours=2),
}
#: A server's lease outlives its task's deadline by this: whatever ends the task has had its time.
LEASE_MARGIN: Final = timedelta(minutes=5)


def sweeps(now: datetime, age: timedelta) -> bool:
    """Whether the sweep that is woken each minute looks now, in a process of that age."""
    return age < YOUNG or now.minute % (SWEEP_EVERY // timedelta(minutes=1)) == 0


def tries_again(attempt: int, outcome: Mapping[str, Any]) -> bool:
    """Whether a failed attempt is followed by another: the node says that it may help, and attempts are left."""
    report = (outcome.get("result") or {}).get("report") or {}
    steps = report.get("steps") or []
    retryable = any(
        step.get("state") == "failed" and step.get("retryable") for step in steps if isinstance(step, Mapping)
    )
    return outcome.get("status") == "failed" and retryable and attempt % MAX_ATTEMPTS != 0


def pause_after(attempt: int) -> timedelta:
    """How long to wait before the next attempt."""
    return PAUSES[min((attempt - 1) % MAX_ATTEMPTS, len(PAUSES) - 1)]


def step_name(kind: TaskKind, attempt: int) -> str:
    """The wait of an attempt: the command's id follows from it."""
    return f"{kind.value}#{attempt}"
