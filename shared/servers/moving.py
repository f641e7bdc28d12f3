"""A provisioning that met ports of something else: placed again under the same task, with other ports or elsewhere.

attempt 1: port_taken ──▶ the report's batch: attempt 2, the port marked in the node's ledger
  │ the flow's pause, as after every attempt that may help
attempt 2: one batch: the old hold given back, the new one, server, task with its step, trail ──▶ its command
                                          crash here: the task tells of no failure any more, so it is only sent
"""

from __future__ import annotations

from typing import Final

from shared.audit.models import SYSTEM
from shared.audit.service import Audit
from shared.platform.clock import Clock
from shared.platform.ids import OrgId
from shared.servers.asking import Asked, shown, target_of
from shared.servers.creating import Creation
from shared.servers.errors import NoRoom
from shared.servers.models import Server, ServerObserved, observed_id
from shared.store.batch import Batch
from shared.store.scoped import Store
from shared.tasks.models import PLACE, PortTaken, Step, Task, TaskKind

PORT_TAKEN: Final = "port_taken"


def moves(task: Task, server: Server) -> bool:
    """Whether the task's server is to be placed again before the next attempt. One that was ready once keeps its ports."""
    met = task.failure is not None and task.failure.code == PORT_TAKEN and bool(task.failure.ports)
    ours = server.operation is not None and server.operation.task_id == task.id
    return met and ours and task.kind is TaskKind.PROVISION and not task.cancel_requested


class Moving:
    """See the module."""

    def __init__(self, store: Store, clock: Clock, audit: Audit, creation: Creation) -> None:
        self._store, self._clock, self._audit, self._creation = store, clock, audit, creation

    async def off_taken_ports(self, org: OrgId, task: Task) -> Task:
        """The task as it is to be sent. Where there is no other place the same ports are tried again.

        Raises:
            NotFound: the server is gone, or its template.
            PreconditionFailed: somebody else wrote in this moment: to be called again.
            PlacementContended: as its name says.
        """
        if task.failure is None or task.failure.code != PORT_TAKEN:
            return task  # nearly always: nothing is read
        server = await self._store.get(org, Server, task.target)
        if not moves(task, server):
            return task
        observed = await self._store.find(org, ServerObserved, observed_id(server.id))

        def beside(batch: Batch, again: Asked) -> None:
            if observed is not None and again.server.node_id != server.node_id:
                batch.replace(observed.elsewhere(again.server.node_id))
            before, after = shown(server), shown(again.server)
            target = target_of(server)
            batch.create(self._audit.entry(org, SYSTEM, "server.placed_again", target, before=before, after=after))

        why = _why(task.failure.ports)
        begun = task.having(failure=None)
        # Its own node first: what is installed there is there. One that its maker named is the only one.
        for on in dict.fromkeys((server.node_id, server.spec.get("node_id"))):
            try:
                return (await self._creation.place_again(org, server, begun, beside, on=on, why=why)).task
            except NoRoom as error:
                refused = error
        told = f"{why}, and there is no other place, so the same are tried again ({refused.reason[:1500]})"
        step = Step(name=PLACE, state="skipped", started_at=self._clock.now(), percent=100, detail=told)
        return await self._store.replace(org, begun.having(steps=(*begun.steps, step)))


def _why(ports: tuple[PortTaken, ...]) -> str:
    """Which ports, and who has them, as far as the node could see."""
    named = ", ".join(f"{port.port}/{port.protocol}" for port in ports)
    by = " and ".join(dict.fromkeys(port.by or "something else" for port in ports))
    return f"{f'port {named} is' if len(ports) == 1 else f'ports {named} are'} taken on the node by {by}"
