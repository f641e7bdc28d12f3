"""The control plane's side of a command: what an activity calls."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.messaging.commands import Order


@dataclass(frozen=True, slots=True)
class SentCommand:
    """A command that the node's queue has accepted; `event` is the external event that brings its outcome."""

    command_id: str
    event: str
    expires_at: datetime


class CommandSender(Protocol):
    """Signs an order and puts it into the node's queue.

    Call it from an activity, or from a route that has written the task down and begins its flow: never from an
    orchestrator (it does I/O).
    """

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
        """Send, within so many seconds if they are given; asking twice with the same task and step is one command.

        Raises:
            NodeNotFound: no such node in the organization.
            NodeStateConflict: it is decommissioned.
            WireError: the order breaks a limit.
            BrokerUnavailable: the namespace cannot be reached; the activity's retry policy decides.
        """
        ...
