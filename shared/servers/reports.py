"""What nodes tell about servers, written down: observed state, the task's steps and its end, what is released.

One batch a report, so a report that comes twice changes nothing the second time: the task is over by then, the hold is
gone, and an observation that is older than the kept one is left out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from shared.messaging.codec import from_wire, to_wire
from shared.messaging.commands import command_id
from shared.messaging.reports import Outcome, Report, Status
from shared.messaging.server_messages import ServerReport, StepReport
from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists, NotFound, PreconditionFailed
from shared.platform.ids import OrgId
from shared.servers.dispatch import orphan_id
from shared.servers.history import History
from shared.servers.models import NameHeld, NodeLedger, Orphan, Server, ServerObserved, ledger_id, name_id, observed_id
from shared.store.batch import Batch
from shared.store.scoped import Store
from shared.tasks.models import Failure, Step, Task, TaskKind, TaskState
from shared.tasks.rules import step_name, tries_again

if TYPE_CHECKING:
    from shared.composition import Services

ATTEMPTS: Final = 10
NOT_INSTALLED: Final = ("absent", "install_failed")
ENDS: Final = {
    Status.SUCCEEDED: TaskState.SUCCEEDED,
    Status.FAILED: TaskState.FAILED,
    Status.REJECTED: TaskState.FAILED,
    Status.CANCELLED: TaskState.CANCELLED,
    Status.TIMED_OUT: TaskState.TIMED_OUT,
}


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


class ServerReports:
    """Writes reports down."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._history = History(store)

    async def take(
        self,
        org: OrgId,
        node_id: str,
        *,
        server_id: str,
        task_id: str | None,
        payload: Mapping[str, Any],
        outcome: Outcome | None = None,
        command_id: str | None = None,
    ) -> None:
        """Write one report down. `outcome` is there when a command has ended; its result may hold the report.

        Args: `command_id` names the command that has ended; None takes it for the task's present attempt.

        Raises:
            WireError: the payload is not of the form.
        """
        raw = payload if outcome is None else outcome.result.get("report")
        report = from_wire(ServerReport, raw) if raw else None
        told = Told(node_id, server_id, task_id, report, outcome, command_id)
        for attempt in range(ATTEMPTS):
            try:
                await self._write(org, told)
                break
            except (PreconditionFailed, AlreadyExists, NotFound):
                if attempt == ATTEMPTS - 1:
                    raise
            await asyncio.sleep(random.uniform(0, 0.02 * 2 ** min(attempt, 5)))  # noqa: S311 - spreads writers
        if report is not None and report.samples:
            await self._history.add(org, server_id, report.samples)

    async def _write(self, org: OrgId, told: Told) -> None:
        kept = await self._store.find(org, ServerObserved, observed_id(told.server_id))
        task = await self._store.find(org, Task, told.task_id) if told.task_id else None
        if task is not None and (task.node_id != told.node_id or task.target != told.server_id):
            task = None  # not this node's to speak about
        if task is not None and told.of_another_command(task):
            told = replace(told, outcome=None)
        if task is not None and task.state.final:
            if _cleaned_late(task, told):
                batch = self._store.batch(org)
                await self.erase(org, batch, told.server_id, told.node_id)
                await batch.commit()
            task = None
        server = None
        if kept is None or kept.node_id != told.node_id:
            server = await self._store.find(org, Server, told.server_id)
            speaks = server is not None and server.node_id == told.node_id
            if not speaks and task is None:
                return
        batch = self._store.batch(org)
        over = self._end_of(task, told)
        self._observe(org, batch, kept, told, over)
        if task is not None:
            batch.replace(self._told_task(task, told, over))
        if over is not None:
            await self._consequences(org, batch, over, told, server)
        await batch.commit()

    def _end_of(self, task: Task | None, told: Told) -> Task | None:
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
            failed = next((s.name for s in (told.report.steps if told.report else ()) if s.state == "failed"), "")
            failure = Failure(code=outcome.code, reason=outcome.detail or outcome.code, step=failed)
        return self._with_steps(task, told).ending(
            state, self._clock.now(), failure=failure, output=outcome.output_tail
        )

    def _told_task(self, task: Task, told: Told, over: Task | None) -> Task:
        if over is not None:
            return over
        changed = self._with_steps(task, told).having(state=TaskState.RUNNING)
        if told.outcome is not None and told.outcome.status is Status.FAILED:  # another attempt follows
            failure = Failure(code=told.outcome.code, reason=told.outcome.detail)
            changed = changed.having(attempt=task.attempt + 1, failure=failure, output=told.outcome.output_tail)
        return changed

    @staticmethod
    def _with_steps(task: Task, told: Told) -> Task:
        if told.report is None or not told.report.steps:
            return task
        return task.having(steps=tuple(map(_step, told.report.steps)))

    @staticmethod
    def _observe(org: OrgId, batch: Batch, kept: ServerObserved | None, told: Told, over: Task | None) -> None:
        report = told.report
        done = over.id if over is not None else kept.over if kept is not None else ""
        if report is None:
            if kept is not None and over is not None:
                batch.replace(kept.having(over=done))
            elif over is not None and over.kind is not TaskKind.DELETE:
                batch.upsert(_nothing_seen(org, told, done))
            return
        if kept is not None and kept.at > report.observed.at:
            if over is not None:
                batch.replace(kept.having(over=done))
            return
        seen = {
            "node_id": told.node_id,
            "state": report.observed.state,
            "at": report.observed.at,
            "observed": to_wire(report.observed),
            "over": done,
        }
        if kept is None:
            batch.create(ServerObserved(id=observed_id(told.server_id), org_id=org, server_id=told.server_id, **seen))
        else:
            batch.replace(kept.having(**seen))

    async def _consequences(self, org: OrgId, batch: Batch, task: Task, told: Told, server: Server | None) -> None:
        """What the end of a task brings with it, in the same batch."""
        if task.kind is TaskKind.DELETE and task.state is TaskState.SUCCEEDED:
            await self.erase(org, batch, told.server_id, told.node_id, server)
        elif task.kind is TaskKind.RECONCILE and task.state is TaskState.SUCCEEDED and task.spec["remove"]:
            server = server or await self._store.find(org, Server, told.server_id)
            if server is None or server.desired.removed:
                await self.erase(org, batch, told.server_id, told.node_id, server)
        elif task.kind is TaskKind.PROVISION and task.state is not TaskState.SUCCEEDED:
            state = told.report.observed.state if told.report else "absent"
            if state in NOT_INSTALLED:
                await self.release(org, batch, told.server_id, told.node_id)

    async def release(self, org: OrgId, batch: Batch, server_id: str, node_id: str) -> bool:
        """Give back what the server holds; False when it holds nothing (any more)."""
        ledger = await self._store.find(org, NodeLedger, ledger_id(node_id))
        if ledger is None or server_id not in ledger.spec:
            return False
        batch.replace(ledger.without(server_id))
        return True

    async def erase(self, org: OrgId, batch: Batch, server_id: str, node_id: str, server: Server | None = None) -> None:
        """Everything of a server that its node has cleaned away."""
        await self.release(org, batch, server_id, node_id)
        server = server or await self._store.find(org, Server, server_id)
        if server is not None:
            batch.delete(Server, server.id, etag=server.etag).delete(NameHeld, name_id(server.name))
        if await self._store.find(org, Orphan, orphan_id(server_id)) is not None:
            batch.delete(Orphan, orphan_id(server_id))


def _cleaned_late(task: Task, told: Told) -> bool:
    """Whether the node was away for longer than its deletion's time, and has cleaned now."""
    done = told.outcome is not None and told.outcome.status is Status.SUCCEEDED
    return task.kind is TaskKind.DELETE and task.state is not TaskState.SUCCEEDED and done


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


def _nothing_seen(org: OrgId, told: Told, over: str) -> ServerObserved:
    """The node refused or never got the command: nothing of the server is there."""
    return ServerObserved(
        id=observed_id(told.server_id),
        org_id=org,
        server_id=told.server_id,
        node_id=told.node_id,
        state="absent",
        at=0.0,
        observed={},
        over=over,
    )


# ---------------------------------------------------------------- who takes which report (see the composition root)


async def on_result(services: Services, report: Report) -> None:
    """A command about a server has ended."""
    if report.server_id is None:
        return
    outcome = from_wire(Outcome, report.payload)
    await services.server_reports.take(
        OrgId(report.org_id),
        report.node_id,
        server_id=report.server_id,
        task_id=report.task_id,
        payload={},
        outcome=outcome,
        command_id=report.command_id,
    )
    if outcome.status is Status.REJECTED and report.task_id is not None:  # expired, say: it has not what is desired
        await services.reconciler.doubt(OrgId(report.org_id), report.node_id)


async def on_report(services: Services, report: Report) -> None:
    """How a server is, told by itself."""
    if report.server_id is not None:
        await services.server_reports.take(
            OrgId(report.org_id),
            report.node_id,
            server_id=report.server_id,
            task_id=report.task_id,
            payload=report.payload,
        )


async def on_console(services: Services, report: Report) -> None:
    """Lines of a console that somebody watches."""
    if report.server_id is not None:
        await services.consoles.keep(OrgId(report.org_id), report.node_id, report.server_id, report.payload)
