"""What a report says of a server and its task, and what becomes of the two documents. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

from shared.messaging.codec import to_wire
from shared.messaging.commands import command_id
from shared.messaging.reports import Outcome, Status
from shared.messaging.server_messages import ALREADY_REMOVED, ServerReport, StepReport
from shared.platform.ids import OrgId
from shared.servers.models import ServerObserved, nothing_seen, observed_id
from shared.tasks.models import PLACE, Failure, PortTaken, Step, Task, TaskKind, TaskState
from shared.tasks.rules import step_name, tries_again

ENDS: Final = {
    Status.SUCCEEDED: TaskState.SUCCEEDED,
    Status.FAILED: TaskState.FAILED,
    Status.REJECTED: TaskState.FAILED,
    Status.CANCELLED: TaskState.CANCELLED,
    Status.TIMED_OUT: TaskState.TIMED_OUT,
}
#: These move from one report to the next, and nobody waits for them while a task is told of.
_MOVING: Final = frozenset({"at", "cpu_percent", "memory_mib"})
_MOST_PORTS: Final = 64  # of one failure


@dataclass(frozen=True, slots=True)
class Told:
    """A report, read: from which node, about which server and task."""

    node_id: str
    server_id: str
    task_id: str | None
    report: ServerReport | None
    outcome: Outcome | None
    command_id: str | None = None

    def of_another_command(self, task: Task) -> bool:
        """Whether what ended is not the task's present attempt: the command that cancels it, or an attempt before.

        A cancelled task's node tells of two commands, and the cancelling one ends first, and well.
        """
        return self.command_id not in (None, command_id(task.id, step_name(task.kind, task.attempt)))


def end_of(task: Task | None, told: Told, now: datetime) -> Task | None:
    """The task, ended, if this report ends it."""
    if task is None or told.outcome is None:
        return None
    outcome = told.outcome
    if tries_again(task.attempt, to_wire(outcome)):
        return None
    state = ENDS[outcome.status]
    if task.cancel_requested and state is TaskState.FAILED:
        state = TaskState.CANCELLED
    failure = None
    if state is not TaskState.SUCCEEDED:
        failure = _failure(told, outcome)
    return _with_steps(task, told).ending(state, now, failure=failure, output=outcome.output_tail)


def going_on(task: Task, told: Told) -> Task:
    """The task with what the report says of it; it has not ended."""
    changed = _with_steps(task, told).having(state=TaskState.RUNNING)
    if told.outcome is not None and told.outcome.status is Status.FAILED:  # another attempt follows
        failure = _failure(told, told.outcome)
        changed = changed.having(attempt=task.attempt + 1, failure=failure, output=told.outcome.output_tail)
    return changed


def seen(
    org: OrgId, kept: ServerObserved | None, told: Told, task: Task | None, over: Task | None
) -> ServerObserved | None:
    """The observed document as it is to be written, or None when it stays as it is.

    `task` is told of by this report, `over` is it when it has ended. While a task goes on, each report would write both
    documents, and the task alone says what is new: the observed one is written when the server's state has changed.
    """
    report = told.report
    done = over.id if over is not None else kept.over if kept is not None else ""
    if report is None or (kept is not None and kept.at > report.observed.at):
        if over is None:
            return None
        if kept is not None:
            return kept.having(over=done)
        return None if over.kind is TaskKind.DELETE else nothing_seen(org, told.server_id, told.node_id, over=done)
    fields = {"node_id": told.node_id, **_shown(report), "over": done}
    mine = kept is not None and kept.node_id == told.node_id
    if (
        kept is not None
        and mine
        and task is not None
        and over is None
        and not _differs(kept.observed, fields["observed"])
    ):
        return None
    if kept is not None:
        return kept.having(**fields)
    return ServerObserved(id=observed_id(told.server_id), org_id=org, server_id=told.server_id, **fields)


def older_than(told: Told) -> str | None:
    """A filter of the store: what is kept of the server is of this node, and older. None where none can be made."""
    if told.report is None or not isfinite(told.report.observed.at):
        return None
    return f"from c where c.node_id = {json.dumps(told.node_id)} and c.at <= {told.report.observed.at!r}"


def changes_at_end(told: Told, over: Task) -> list[dict[str, Any]]:
    """As `seen`, of a task that has ended, as a change to what is kept."""
    fields = {**(_shown(told.report) if told.report is not None else {}), "over": over.id}
    return [{"op": "set", "path": f"/{name}", "value": value} for name, value in fields.items()]


def _shown(report: ServerReport) -> dict[str, Any]:
    observed = report.observed
    return {"state": observed.state, "at": observed.at, "observed": to_wire(observed)}


def never_told(task: Task) -> bool:
    """Whether nothing is likely to be known of a server yet: it is made by this task, of which no node has told."""
    return task.kind is TaskKind.PROVISION and task.state is TaskState.PENDING and task.attempt == 1


def cleaned_late(task: Task, told: Told) -> bool:
    """Whether the node was away for longer than its deletion's time, and has cleaned now."""
    done = told.outcome is not None and told.outcome.status is Status.SUCCEEDED
    return task.kind is TaskKind.DELETE and task.state is not TaskState.SUCCEEDED and done


def has_cleaned(told: Told) -> bool:
    """Whether a command has ended with nothing of the server left on the node."""
    if told.outcome is None or told.outcome.status is not Status.SUCCEEDED:
        return False
    removed = told.report is not None and told.report.observed.state == "removed"
    return removed or told.outcome.code == ALREADY_REMOVED


def cleans_elsewhere(task: Task | None, kept: ServerObserved | None, told: Told) -> bool:
    """Whether a node tells of cleaning away what was placed elsewhere: that says nothing of the server."""
    cleans = task is not None and task.kind is TaskKind.RECONCILE and bool(task.spec["remove"])
    return cleans and kept is not None and kept.node_id != told.node_id


def _differs(before: dict[str, Any], now: dict[str, Any]) -> bool:
    return any(before.get(name) != now.get(name) for name in (before.keys() | now.keys()) - _MOVING)


def _with_steps(task: Task, told: Told) -> Task:
    if told.report is None or not told.report.steps:
        return task
    ours = (step for step in task.steps if step.name == PLACE)
    return task.having(steps=(*ours, *map(_step, told.report.steps)))


def _failure(told: Told, outcome: Outcome) -> Failure:
    failed = next((step for step in (told.report.steps if told.report else ()) if step.state == "failed"), None)
    ports = tuple(
        PortTaken.model_validate(to_wire(port)) for port in ((failed.taken or ())[:_MOST_PORTS] if failed else ())
    )
    name = failed.name if failed else ""
    return Failure(code=outcome.code, reason=outcome.detail or outcome.code, step=name, ports=ports)


def _step(told: StepReport) -> Step:
    return Step(
        name=told.name,
        state=told.state,
        started_at=datetime.fromtimestamp(max(0.0, told.started_at), UTC),
        seconds=round(told.seconds, 3),
        percent=told.percent,
        detail=told.detail,
        code=told.code,
        error=told.error,
    )
