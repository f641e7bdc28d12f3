"""What the flows do: send an attempt, end a task that was cancelled or ran out of time, begin what was left behind."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from shared.audit.models import Actor
from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists, Fault, NotFound, PreconditionFailed
from shared.platform.ids import OrgId
from shared.servers.asking import Asked, at_work
from shared.servers.dispatch import Dispatcher
from shared.servers.models import (
    NameHeld,
    Server,
    ServerObserved,
    name_id,
    nothing_seen,
    observed_id,
    owed_by,
)
from shared.servers.moving import Moving
from shared.servers.reports import NOT_INSTALLED, ServerReports
from shared.servers.service import Servers
from shared.store.batch import Batch
from shared.store.scoped import Store
from shared.tasks.errors import TaskNotRetryable
from shared.tasks.models import Failure, Task, TaskKind, TaskState
from shared.tasks.service import Tasks

ATTEMPTS: Final = 8
INSTALLS: Final = (TaskKind.PROVISION, TaskKind.REINSTALL)


class Operations:
    """What activities call. Each may be run twice for one task."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        servers: Servers,
        tasks: Tasks,
        reports: ServerReports,
        dispatcher: Dispatcher,
        moving: Moving,
        doubt: Callable[[OrgId, str], Awaitable[None]],
    ) -> None:
        """`doubt` has a node compared soon: it may not get what it is told."""
        self._store, self._clock, self._servers, self._tasks = store, clock, servers, tasks
        self._reports, self._dispatcher, self._moving, self._doubt = reports, dispatcher, moving, doubt

    async def send(self, org: OrgId, task_id: str, attempt: int) -> bool:
        """Send what the task's attempt asks of its node; False when there is nothing left to ask.

        Raises:
            Fault: the store or the broker does not answer: the flow tries again.
        """
        task = await self._store.find(org, Task, task_id)
        if task is None or task.state.final:
            return False
        try:
            task = await self._moving.off_taken_ports(org, task)
            await self._dispatcher.send(org, task, attempt)
        except NotFound as error:
            await self._end(org, task_id, TaskState.FAILED, Failure(code="gone", reason=error.reason))
            return False
        if "left" in task.spec:
            with contextlib.suppress(NotFound):  # that node is gone, and what it had with it
                await self._dispatcher.leave(org, task)
            await self._doubt(org, task.spec["left"])
        return True

    async def cancel(self, org: OrgId, task_id: str) -> None:
        """End a task that shall not go on: the node is told, and a server that was never installed lets go of its room."""
        task = await self._store.find(org, Task, task_id)
        if task is None or task.state.final:
            return
        with contextlib.suppress(NotFound):  # the node is gone, and what it did with it
            await self._dispatcher.cancel(org, task)
        await self._end(org, task_id, TaskState.CANCELLED, Failure(code="cancelled", reason="a member cancelled it"))

    async def expire(self, org: OrgId, task_id: str) -> None:
        """End a task whose time is over. What is desired stays: a node that comes back will follow it."""
        task = await self._store.find(org, Task, task_id)
        if task is None or task.state.final:
            return
        if task.kind is TaskKind.DELETE:
            await self.orphan(org, task.target, task.node_id)
        reason = "the node did not answer in time" if not task.steps else f"{task.steps[-1].name} took too long"
        await self._end(org, task_id, TaskState.TIMED_OUT, Failure(code="timed_out", reason=reason))

    async def orphan(self, org: OrgId, server_id: str, node_id: str | None) -> None:
        """A deleted server whose node is away: it leaves the list, and its node owes us the cleaning."""
        server = await self._store.find(org, Server, server_id)
        if server is None or node_id is None:
            return
        batch = self._store.batch(org).create(owed_by(server, node_id)).delete(Server, server_id, etag=server.etag)
        try:
            await batch.delete(NameHeld, name_id(server.name)).commit()
        except (AlreadyExists, NotFound):
            return  # done before

    async def retry(self, org: OrgId, task_id: str, *, by: Actor) -> Task:
        """Try a task again from the step that failed; the room is held anew where it was released.

        Raises:
            TaskNotRetryable: it has not failed, or something newer was asked since.
            NoRoom: there is no room any more.
        """
        task = await self._tasks.get(org, task_id)
        renewed = self._tasks.renewed(task)
        entry = self._tasks.retried(org, task, renewed, by=by)
        cleans = task.kind is TaskKind.DELETE or (task.kind is TaskKind.RECONCILE and task.spec["remove"])
        there = await self._store.find(org, Server, task.target) if cleans else None
        if cleans and (there is None or there.node_id != task.node_id):
            await self._store.batch(org).replace(renewed).create(entry).commit()
            return await self._tasks.get(org, task_id)
        server, observed = await self._servers.get(org, task.target)
        if server.operation is not None and server.operation.task_id != task.id:
            raise TaskNotRetryable(f"{server.operation.kind} was asked since (task {server.operation.task_id})")

        def beside(batch: Batch, again: Asked | None = None) -> None:
            """The operation is under way again, and the trail tells of it."""
            if observed is not None and again is not None and again.server.node_id != observed.node_id:
                batch.replace(observed.elsewhere(again.server.node_id))
            elif observed is not None and observed.over == task.id:
                batch.replace(observed.having(over=""))
            batch.create(entry)

        if task.kind in INSTALLS and not await self._servers.creation.holds(org, server):
            await self._servers.creation.place_again(org, server, renewed, beside)
        else:
            again = at_work(server.having(revision=server.revision + 1), renewed)
            batch = self._store.batch(org).replace(again).replace(renewed)
            beside(batch)
            await batch.commit()
        return await self._tasks.get(org, task_id)

    async def _end(self, org: OrgId, task_id: str, state: TaskState, failure: Failure) -> None:
        for attempt in range(ATTEMPTS):
            task = await self._store.find(org, Task, task_id)
            if task is None or task.state.final:
                return
            batch = self._store.batch(org).replace(task.ending(state, self._clock.now(), failure=failure))
            observed = await self._store.find(org, ServerObserved, observed_id(task.target))
            if observed is not None:
                if observed.node_id == task.node_id:  # a node that it has left does not speak of it
                    batch.replace(observed.having(over=task_id))
            elif task.kind is TaskKind.PROVISION and task.node_id is not None:
                # Its node is away and never spoke of it: without this the server would be at work until the lease ends.
                batch.create(nothing_seen(org, task.target, task.node_id, over=task_id))
            installed = observed is not None and observed.state not in (*NOT_INSTALLED, "installing")
            unmade = task.kind is TaskKind.PROVISION and not installed and task.node_id is not None
            if unmade and await self._reports.release(org, batch, task.target, task.node_id or ""):
                await self._let_go(org, task)
            try:
                await batch.commit()
                return
            except (PreconditionFailed, AlreadyExists, NotFound):
                if attempt == ATTEMPTS - 1:
                    raise

    async def _let_go(self, org: OrgId, task: Task) -> None:
        """Its room is given away: a node that comes back must not install it after all."""
        try:
            await self._dispatcher.remove(org, task)
        except Fault:
            return  # the node is gone, or its queue is not there: reconciliation removes what it does not know
