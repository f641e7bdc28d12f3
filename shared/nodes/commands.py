"""Commands about a node itself, as people send them.

    door: written down ─┬─▶ sent ──▶ agent ──▶ report's trigger: the outcome is written down, the flow is told
                        └─▶ flow: waits for the report until the deadline, and ends what nobody answered

The door sends at once, beside the start of the flow. What it could not send, since the broker was away, a flow of its own
sends again and again. Sent twice it is one command: the queue knows its id.

    door: written down ─ ✗       nobody waits, nothing ends it: who reads it after its end is told so, and the same request
                                 come again sends it, with a life from then on
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.audit.models import Actor, Target
from shared.messaging import codec
from shared.messaging.commands import CommandType, Order, command_id, report_event
from shared.messaging.reports import Outcome, Report, Status
from shared.nodes.errors import BrokerUnavailable, NodeNotFound, NodeStateConflict
from shared.nodes.models import Node, NodeCommand, NodeState
from shared.platform import tracing
from shared.platform.clock import rfc3339
from shared.platform.errors import NotFound, PreconditionFailed
from shared.platform.flows import Client, start_once
from shared.platform.ids import PREFIXES, NodeId, OrgId, pattern

if TYPE_CHECKING:
    from shared.composition import Services
    from shared.store.batch import Batch

LIFE: Final = timedelta(minutes=2)
#: An update ends after a download, and a release that does not hold is taken back only after its trial.
UPDATE_LIFE: Final = timedelta(minutes=20)
#: After a command's end, for its flow to write that down.
MARGIN: Final = timedelta(minutes=1)
SILENCE: Final = Outcome(Status.TIMED_OUT, "no_report", "the node did not answer in time")
KEPT_SECONDS: Final = 7 * 86_400
STEP: Final = "node"
#: For the broker, of a caller who waits; after that it is a flow's.
PATIENCE_SECONDS: Final = 3.0
_NODE_ID: Final = re.compile(pattern(PREFIXES[NodeId]))
#: What the audit trail keeps of a command's payload.
AUDITED: Final = ("version", "url", "sha256")


class NodeCommands:
    """See the module."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def ask(
        self,
        org: OrgId,
        id: str,
        node_id: NodeId,
        command: CommandType,
        payload: Mapping[str, Any] | None = None,
        *,
        flows: Client,
        by: Actor,
        beside: Callable[[Batch, NodeCommand], None] | None = None,
    ) -> NodeCommand:
        """Write a command down, send it and begin its flow.

        Args: `beside` adds to the batch that writes it down.

        Raises:
            NodeNotFound, NodeStateConflict: nobody would ever answer.
            AlreadyExists: it, or what `beside` adds, is written down already; `again` goes on with it.
        """
        services = self._services
        node = await self._living(org, node_id)
        wanted = dict(payload or {})
        batch = services.store.batch(org)
        made = NodeCommand(
            id=id,
            org_id=org,
            node_id=node_id,
            command=command.value,
            payload=wanted,
            ttl=KEPT_SECONDS,
            created_at=batch.at,
            updated_at=batch.at,
        )
        told = {"command": command.value} | {name: wanted[name] for name in AUDITED if name in wanted}
        target = Target(kind="node", id=node_id, name=node.name)
        batch.create(made).create(services.audit.entry(org, by, "node.command_sent", target, after=told))
        if beside is not None:
            beside(batch, made)
        await batch.commit()
        await self._begin(node, made, flows)
        return made

    async def again(self, org: OrgId, node_id: NodeId, id: str, *, flows: Client) -> NodeCommand:
        """Go on with the command of an earlier attempt of the same request; one whose life ran out unsent begins another.

        Raises:
            NodeNotFound, NodeStateConflict: nobody would ever answer.
        """
        node = await self._living(org, node_id)
        found = await self._met_again(org, node_id, id)
        if found.state == "sent":
            await self._begin(node, found, flows)
        return found

    async def _living(self, org: OrgId, node_id: NodeId) -> Node:
        node = await self._services.nodes.known.get(org, node_id)
        if node.state is NodeState.DECOMMISSIONED:
            raise NodeStateConflict("the node is decommissioned: nobody reads its queue")
        return node

    async def _met_again(self, org: OrgId, node_id: str, id: str) -> NodeCommand:
        found, now = await self.get(org, node_id, id), self._services.clock.now()
        if found.state == "sent" and now >= due(found):
            change = {"op": "set", "path": "/asked_again_at", "value": rfc3339(now)}
            with suppress(PreconditionFailed):  # it ended just now
                await self._services.store.patch(org, NodeCommand, id, [change], condition=_open_for(node_id))
            return await self.get(org, node_id, id)
        return found

    async def _begin(self, node: Node, command: NodeCommand, flows: Client) -> None:
        job = {"org_id": node.org_id, "node_id": node.id, "id": command.id, "deadline": rfc3339(due(command))}
        await asyncio.gather(
            start_once(flows, "node_command", command.id, job), self._send_at_once(node, command, flows, job)
        )

    async def _send_at_once(self, node: Node, command: NodeCommand, flows: Client, job: dict[str, Any]) -> None:
        try:
            await self._send(node, command, PATIENCE_SECONDS)
        except BrokerUnavailable:
            await start_once(flows, "resend_node_command", f"{command.id}.send", job)

    async def _send(self, node: Node, command: NodeCommand, within: float | None = None) -> None:
        trace = tracing.current.get()
        kind = CommandType(command.command)
        order = Order(kind, STEP, payload=command.payload, life=_life(kind))
        traceparent = trace.traceparent if trace else None
        again = command.asked_again_at
        turn = f"-{int(again.timestamp())}" if again else ""
        await self._services.commands.send_to(
            node, order, task_id=command.id, traceparent=traceparent, within=within, turn=turn
        )

    async def get(self, org: OrgId, node_id: str, id: str) -> NodeCommand:
        """A command's record.

        Raises:
            NodeNotFound: no such command of that node.
        """
        found = await self._services.store.find(org, NodeCommand, id)
        if found is None or found.node_id != node_id:
            raise NodeNotFound(f"node {node_id} was sent no command {id}")
        return found

    async def read(self, org: OrgId, node_id: str, id: str) -> NodeCommand:
        """As `get`, for people: what nobody waits for any more has timed out, though nobody wrote that down.

        Raises:
            NodeNotFound: no such command of that node.
        """
        found = await self.get(org, node_id, id)
        if found.state == "sent" and self._services.clock.now() >= due(found) + MARGIN:
            return found.having(state=SILENCE.status.value, outcome=codec.to_wire(SILENCE))
        return found

    async def send(self, org: OrgId, node_id: str, id: str) -> None:
        """Send one that the door could not; for an activity."""
        found = await self.get(org, node_id, id)
        if found.state == "sent":
            await self._send(await self._services.nodes.get(org, found.node_id), found)

    async def end(self, org: OrgId, node_id: str, id: str, outcome: Outcome) -> bool:
        """Write down what came of it; the first outcome stands, and only the command's own node may tell one: else False."""
        changes = [
            {"op": "set", "path": "/state", "value": outcome.status.value},
            {"op": "set", "path": "/outcome", "value": codec.to_wire(outcome)},
        ]
        try:
            await self._services.store.patch(org, NodeCommand, id, changes, condition=_open_for(node_id))
        except NotFound:  # forgotten
            return False
        except PreconditionFailed:  # ended before, or another node's
            found = await self._services.store.find(org, NodeCommand, id)
            return found is not None and found.node_id == node_id
        return True


def due(command: NodeCommand) -> datetime:
    """When a command's life ends."""
    return (command.asked_again_at or command.created_at) + _life(CommandType(command.command))


def _life(command: CommandType) -> timedelta:
    return UPDATE_LIFE if command is CommandType.NODE_UPDATE else LIFE


def _open_for(node_id: str) -> str:
    """A filter of the store: the command has not ended, and is this node's."""
    if not _NODE_ID.match(node_id):
        raise NodeNotFound(f"{node_id[:64]!r} is no node's id")
    return f"from c where c.type = 'node_command' and c.state = 'sent' and c.node_id = '{node_id}'"


def event_of(id: str) -> str:
    """The external event that brings the outcome of a command."""
    return report_event(command_id(id, STEP))


async def on_result(services: Services, report: Report) -> bool:
    """A command about the node itself has ended."""
    if report.task_id is None or report.command_id != command_id(report.task_id, STEP):
        return False
    outcome = codec.from_wire(Outcome, report.payload)
    return await services.node_commands.end(OrgId(report.org_id), report.node_id, report.task_id, outcome)
