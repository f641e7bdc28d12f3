"""Commands about a node itself, as people send them: written down, sent by an orchestration, ended by the node's report."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.audit.models import Actor, Target
from shared.messaging import codec
from shared.messaging.commands import CommandType, Order
from shared.messaging.reports import Outcome
from shared.nodes.errors import NodeNotFound, NodeStateConflict
from shared.nodes.models import NodeCommand, NodeState
from shared.platform import tracing
from shared.platform.errors import AlreadyExists
from shared.platform.ids import NodeId, OrgId

if TYPE_CHECKING:
    from shared.composition import Services

LIFE: Final = timedelta(minutes=2)
KEPT_SECONDS: Final = 7 * 86_400
STEP: Final = "node"


class NodeCommands:
    """See the module."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def create(self, org: OrgId, id: str, node_id: NodeId, command: CommandType, *, by: Actor) -> NodeCommand:
        """Write a command down; asked again with the same id, the one that was written.

        Raises:
            NodeNotFound, NodeStateConflict: nobody would ever answer.
        """
        services = self._services
        node = await services.nodes.get(org, node_id)
        if node.state is NodeState.DECOMMISSIONED:
            raise NodeStateConflict("the node is decommissioned: nobody reads its queue")
        made = NodeCommand(id=id, org_id=org, node_id=node_id, command=command.value, ttl=KEPT_SECONDS)
        target = Target(kind="node", id=node_id, name=node.name)
        entry = services.audit.pending(org, by, "node.command_sent", target, after={"command": command.value})
        try:
            stored = await services.store.batch(org).create(made).create(entry).commit()
        except AlreadyExists:
            return await self.get(org, node_id, id)
        await services.audit.settle(entry)
        assert isinstance(stored[0], NodeCommand)
        return stored[0]

    async def get(self, org: OrgId, node_id: str, id: str) -> NodeCommand:
        """A command's record.

        Raises:
            NodeNotFound: no such command of that node.
        """
        found = await self._services.store.find(org, NodeCommand, id)
        if found is None or found.node_id != node_id:
            raise NodeNotFound(f"node {node_id} was sent no command {id}")
        return found

    async def send(self, org: OrgId, node_id: str, id: str) -> dict[str, Any]:
        """Send it; for an activity. The event to wait for, and until when."""
        found = await self.get(org, node_id, id)
        order = Order(CommandType(found.command), STEP, life=LIFE)
        trace = tracing.current.get()
        sent = await self._services.commands.send(
            org, node_id, order, task_id=id, traceparent=trace.traceparent if trace else None
        )
        return {"event": sent.event, "deadline": sent.expires_at.isoformat()}

    async def end(self, org: OrgId, id: str, outcome: Outcome) -> None:
        """Write down what came of it; the first outcome stands."""

        def change(found: NodeCommand) -> NodeCommand:
            if found.state != "sent":
                return found
            return found.having(state=outcome.status.value, outcome=codec.to_wire(outcome))

        await self._services.store.update(org, NodeCommand, id, change)
