"""Telling a node what to do for a task. Asking twice for the same attempt is one command."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from shared.messaging.codec import to_wire
from shared.messaging.commands import CommandType, Order
from shared.messaging.sender import CommandSender
from shared.messaging.server_messages import ApplyServer, CancelInstall, KillServer, RemoveServer
from shared.platform import tracing
from shared.platform.errors import NotFound
from shared.platform.ids import OrgId
from shared.servers.demand import spec_of
from shared.servers.models import Orphan, Server, orphan_id
from shared.servers.sealing import Sealer
from shared.store.scoped import Store
from shared.tasks.models import Task, TaskKind
from shared.tasks.rules import step_name
from shared.templates.service import Templates

#: A node that is away gets what is desired when it is back: the command waits that long in its queue.
LIFE: Final = timedelta(days=6)


class Dispatcher:
    """Makes the order of a task's attempt, and sends it."""

    def __init__(self, store: Store, templates: Templates, sealer: Sealer, sender: CommandSender) -> None:
        self._store, self._templates, self._sealer, self._sender = store, templates, sealer, sender

    async def send(
        self, org: OrgId, task: Task, attempt: int, server: Server | None = None, *, within: float | None = None
    ) -> None:
        """Send what the task's attempt asks of its node; within so many seconds, if they are given.

        Raises:
            NotFound: the server is gone, or its node is.
            Fault: of the kind `UNAVAILABLE`: the broker or the store does not answer.
        """
        if task.node_id is None:
            raise NotFound(f"task {task.id} has no node")
        order = await self._order(org, task, attempt, server)
        trace = tracing.current.get()
        await self._sender.send(
            org,
            task.node_id,
            order,
            task_id=task.id,
            traceparent=trace.traceparent if trace else None,
            within=within,
        )

    async def cancel(self, org: OrgId, task: Task) -> None:
        """Ask the node to end what it does for the task."""
        if task.node_id is None:
            return
        payload = to_wire(CancelInstall(task.target, task.id))
        order = Order(CommandType.SERVER_CANCEL, f"cancel#{task.attempt}", task.target, 0, payload)
        await self._sender.send(org, task.node_id, order, task_id=task.id)

    async def leave(self, org: OrgId, task: Task) -> None:
        """Have the node forget the server that was to be there before it was placed on the task's node.

        Raises:
            NotFound: that node is gone.
        """
        await self.remove(org, task.having(node_id=task.spec["left"]), "leave")

    async def remove(self, org: OrgId, task: Task, step: str = "release") -> None:
        """Have the node forget a server that was never to be: its room is given to others."""
        if task.node_id is None:
            return
        server = await self._store.find(org, Server, task.target)
        revision = server.revision if server is not None else 1
        payload = to_wire(RemoveServer(task.target, revision))
        order = Order(CommandType.SERVER_REMOVE, f"{step}#{task.attempt}", task.target, revision, payload, LIFE)
        await self._sender.send(org, task.node_id, order, task_id=task.id)

    async def _order(self, org: OrgId, task: Task, attempt: int, server: Server | None) -> Order:
        step = step_name(task.kind, attempt)
        if task.kind is TaskKind.RECONCILE and task.spec["remove"]:
            revision = int(task.spec["revision"])
            owed = to_wire(RemoveServer(task.target, revision, task.id))
            return Order(CommandType.SERVER_REMOVE, step, task.target, revision, owed, LIFE)
        if task.kind is TaskKind.DELETE:
            revision = await self._revision_of_removed(org, task, server)
            remove: dict[str, Any] = to_wire(RemoveServer(task.target, revision, task.id))
            return Order(CommandType.SERVER_REMOVE, step, task.target, revision, remove, LIFE)
        server = server or await self._store.get(org, Server, task.target)
        if task.kind is TaskKind.KILL:
            kill = to_wire(KillServer(server.id, server.revision, task.id))
            return Order(CommandType.SERVER_KILL, step, server.id, server.revision, kill, LIFE)
        found = await self._templates.find(org, server.template.id, server.template.version)
        spec = spec_of(server, found.template, await self._sealer.open(server.id, server.spec.get("sealed", "")))
        payload = to_wire(ApplyServer(spec, task.id))
        return Order(CommandType.SERVER_APPLY, step, server.id, server.revision, payload, LIFE)

    async def _revision_of_removed(self, org: OrgId, task: Task, server: Server | None) -> int:
        if server is None:
            server = await self._store.find(org, Server, task.target)
        if server is not None:
            return server.revision
        return (await self._store.get(org, Orphan, orphan_id(task.target, task.node_id or ""))).revision
