"""What nodes tell about servers, written down: observed state, the task's steps and its end, what is released.

One batch a report, so a report that comes twice changes nothing the second time: the task is over by then, the hold is
gone, and an observation that is older than the kept one is left out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from shared.messaging.codec import WireError, from_wire
from shared.messaging.limits import CLOCK_LEEWAY
from shared.messaging.reports import Outcome, Report, Status
from shared.messaging.server_messages import ServerReport
from shared.placement.models import PortKey
from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists, NotFound, PreconditionFailed
from shared.platform.ids import OrgId
from shared.servers.history import History
from shared.servers.models import (
    NameHeld,
    NodeLedger,
    Orphan,
    Server,
    ServerObserved,
    ledger_id,
    name_id,
    observed_id,
    orphan_id,
)
from shared.servers.told import (
    Told,
    changes_at_end,
    cleaned_late,
    cleans_elsewhere,
    end_of,
    going_on,
    has_cleaned,
    never_told,
    older_than,
    seen,
)
from shared.store.batch import Batch
from shared.store.scoped import Store
from shared.tasks.models import Task, TaskKind, TaskState

if TYPE_CHECKING:
    from shared.composition import Services

ATTEMPTS: Final = 10
NOT_INSTALLED: Final = ("absent", "install_failed")


class Heard(NamedTuple):
    """What a node may speak about: the report's server, its task."""

    server: bool
    task: bool


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
    ) -> bool:
        """Write one report down; whether its task is the node's. `outcome` is there when a command has ended: its result
        may hold the report.

        Args: `command_id` names the command that has ended; None takes it for the task's present attempt.

        Raises:
            WireError: the payload is not of the form.
        """
        raw = payload if outcome is None else outcome.result.get("report")
        report = from_wire(ServerReport, raw) if raw else None
        if report is not None and report.observed.at > (self._clock.now() + CLOCK_LEEWAY).timestamp():
            raise WireError("observed.at: it is yet to come, and would stand above all that comes before it")
        told = Told(node_id, server_id, task_id, report, outcome, command_id)
        for attempt in range(ATTEMPTS):
            try:
                heard = await self._write(org, told, first=attempt == 0)
                break
            except (PreconditionFailed, AlreadyExists, NotFound):
                if attempt == ATTEMPTS - 1:
                    raise
            await asyncio.sleep(random.uniform(0, 0.02 * 2 ** min(attempt, 5)))  # noqa: S311 - spreads writers
        if heard.server and report is not None and report.samples:
            await self._history.add(org, server_id, report.samples)
        return heard.task

    async def _write(self, org: OrgId, told: Told, *, first: bool) -> Heard:
        task = await self._task_of(org, told)
        theirs = task is not None
        if task is not None and told.of_another_command(task):
            told = replace(told, outcome=None)
        if task is not None and task.state.final:
            if cleaned_late(task, told):
                batch = self._store.batch(org)
                await self.erase(org, batch, told.server_id, told.node_id)
                await batch.commit()
            task = None
        batch = self._store.batch(org)
        over = end_of(task, told, self._clock.now())
        if not await self._observe(org, batch, told, task, over, first=first):
            await self._settle(org, told)
            return Heard(server=False, task=theirs)
        if task is not None:
            written = over or going_on(task, told)
            batch.replace(written)
            await self._keep_ledger(org, batch, written, told)
        if over is not None:
            await self._consequences(org, batch, over, told)
        await batch.commit()
        return Heard(server=True, task=theirs)

    async def _observe(
        self, org: OrgId, batch: Batch, told: Told, task: Task | None, over: Task | None, *, first: bool
    ) -> bool:
        """Add what is observed to the batch; False when the server is not this node's to speak about.

        At first nothing is read that the batch itself can tell: whether a server that is being made is known already, and
        whether what ends a task is newer than what is kept. When it is otherwise the batch is refused, and we come again.
        """
        kept = None
        id, unknown = observed_id(told.server_id), first and task is not None and never_told(task)
        if first and not unknown and over is not None and (older := older_than(told)) is not None:
            batch.patch(ServerObserved, id, changes_at_end(told, over), condition=older)
            return True
        if not unknown:
            kept = await self._store.find(org, ServerObserved, id)
        if task is None and (kept is None or kept.node_id != told.node_id):
            server = await self._store.find(org, Server, told.server_id)
            if server is None or server.node_id != told.node_id:
                return False
        observed = None if cleans_elsewhere(task, kept, told) else seen(org, kept, told, task, over)
        if observed is not None:
            batch.create(observed) if kept is None else batch.replace(observed)
        return True

    async def _task_of(self, org: OrgId, told: Told) -> Task | None:
        """The task that a report tells of, if it is this node's to speak about."""
        task = await self._store.find(org, Task, told.task_id) if told.task_id else None
        mine = task is not None and task.node_id == told.node_id and task.target == told.server_id
        return task if mine else None

    async def _consequences(self, org: OrgId, batch: Batch, task: Task, told: Told) -> None:
        """What the end of a task brings with it, in the same batch."""
        if task.kind is TaskKind.DELETE and task.state is TaskState.SUCCEEDED:
            await self.erase(org, batch, told.server_id, told.node_id)
        elif task.kind is TaskKind.RECONCILE and task.state is TaskState.SUCCEEDED and task.spec["remove"]:
            server = await self._store.find(org, Server, told.server_id)
            if server is not None and server.node_id != told.node_id:
                await self._forgive(org, batch, told)
            elif server is None or server.desired.removed:
                await self.erase(org, batch, told.server_id, told.node_id, server)

    async def _settle(self, org: OrgId, told: Told) -> None:
        """A node from which the server was placed elsewhere has perhaps cleaned it away."""
        if has_cleaned(told):
            batch = self._store.batch(org)
            await self._forgive(org, batch, told)
            await batch.commit()

    async def _forgive(self, org: OrgId, batch: Batch, told: Told) -> None:
        """The node owes us nothing more of the server."""
        if await self._store.find(org, Orphan, orphan_id(told.server_id, told.node_id)) is not None:
            batch.delete(Orphan, orphan_id(told.server_id, told.node_id))

    async def _keep_ledger(self, org: OrgId, batch: Batch, task: Task, told: Told) -> None:
        """A server that was not made lets go of its room; a port that something else has is not given out for a while."""
        if told.outcome is None:
            return
        taken = task.failure.ports if task.failure is not None else ()
        state = told.report.observed.state if told.report else "absent"
        unmade = task.state.final and task.state is not TaskState.SUCCEEDED and state in NOT_INSTALLED
        unmade = unmade and task.kind is TaskKind.PROVISION
        ledger = await self._store.find(org, NodeLedger, ledger_id(told.node_id)) if taken or unmade else None
        if ledger is None:
            return
        seen = [(PortKey(port.protocol, port.address, port.port), port.by) for port in taken]
        kept = ledger.with_foreign(told.server_id, seen, self._clock.now().timestamp())
        kept = kept.without(told.server_id) if unmade else kept
        if kept is not ledger:
            batch.replace(kept)

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
        if await self._store.find(org, Orphan, orphan_id(server_id, node_id)) is not None:
            batch.delete(Orphan, orphan_id(server_id, node_id))


# ---------------------------------------------------------------- who takes which report (see the composition root)


async def on_result(services: Services, report: Report) -> bool:
    """A command about a server has ended."""
    if report.server_id is None:
        return False
    outcome = from_wire(Outcome, report.payload)
    theirs = await services.server_reports.take(
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
    return theirs


async def on_report(services: Services, report: Report) -> bool:
    """How a server is, told by itself."""
    if report.server_id is not None:
        await services.server_reports.take(
            OrgId(report.org_id),
            report.node_id,
            server_id=report.server_id,
            task_id=report.task_id,
            payload=report.payload,
        )
    return True


async def on_console(services: Services, report: Report) -> bool:
    """Lines of a console that somebody watches."""
    if report.server_id is not None:
        await services.consoles.keep(OrgId(report.org_id), report.node_id, report.server_id, report.payload)
    return True
