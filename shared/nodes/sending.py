"""Commands on their way to nodes: signed, and put into the node's queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.messaging.commands import Order, build_command, report_event, seal_command
from shared.messaging.limits import MAX_COMMAND_LIFE
from shared.messaging.sender import SentCommand
from shared.nodes.errors import BrokerUnavailable, NodeStateConflict
from shared.nodes.models import Node, NodeState
from shared.platform.ids import OrgId

if TYPE_CHECKING:
    from shared.composition import Services


class NodeSender:
    """See the module; it is the house's `CommandSender`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def send(
        self,
        org_id: str,
        node_id: str,
        order: Order,
        *,
        task_id: str,
        traceparent: str | None = None,
        within: float | None = None,
    ) -> SentCommand:
        """See `shared.messaging.sender.CommandSender.send`."""
        node = await self._services.nodes.known.get(OrgId(org_id), node_id)
        return await self.send_to(node, order, task_id=task_id, traceparent=traceparent, within=within)

    async def send_to(
        self,
        node: Node,
        order: Order,
        *,
        task_id: str,
        traceparent: str | None = None,
        within: float | None = None,
        turn: str = "",
    ) -> SentCommand:
        """As `send`, to a node that was read lately; within so many seconds, if they are given.

        `turn` names a sending after an earlier one's life, which the queue would else take for a repetition of that; to
        the node it is the same command still.
        """
        services = self._services
        if node.state is NodeState.DECOMMISSIONED:
            raise NodeStateConflict(f"node {node.id} is decommissioned: nobody reads its queue")
        signer = await services.authority.signer()
        command = build_command(order, node.org_id, node.id, task_id, services.clock.now(), traceparent)
        envelope = seal_command(command, signer.key, signer.key_id)
        life = min(order.life, MAX_COMMAND_LIFE)
        try:
            await services.namespaces.senders.send(
                node.namespace,
                node.queue,
                envelope,
                id=command.id + turn,
                subject=command.type.value,
                life=life,
                within=within,
            )
        except BrokerUnavailable:
            services.nodes.known.forget(node.org_id, node.id)  # whoever tries again looks where its queue is now
            raise
        return SentCommand(command.id, report_event(command.id), command.expires_at)
