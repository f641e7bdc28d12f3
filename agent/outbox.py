"""Reports on their way: written down first, signed when sent, kept until the broker has them."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from agent.storage import Storage
from shared.messaging import codec
from shared.messaging.commands import Command
from shared.messaging.reports import NodeEvent, Outcome, Report, ReportType


class Outbox:
    """Where every part puts what it has to say."""

    def __init__(self, storage: Storage, org_id: str, node_id: str, now: Callable[[], datetime] | None = None) -> None:
        self._storage, self._org_id, self._node_id = storage, org_id, node_id
        self._now = now or (lambda: datetime.now(UTC))
        self.filled = asyncio.Event()  # set while there is something to send

    def add(
        self,
        kind: ReportType,
        payload: object,
        *,
        server_id: str | None = None,
        task_id: str | None = None,
        traceparent: str | None = None,
        keep: bool = True,
    ) -> None:
        """Put a report in. With `keep=False` it is among the first to be dropped when room is short.

        Raises:
            WireError: it is larger than an envelope may be.
        """
        make = self._maker(kind, payload, server_id, None, task_id, traceparent)
        self._storage.add_report(make, keep=keep)
        self.filled.set()

    def event(self, code: str, detail: str = "", count: int = 1) -> None:
        """Tell the owner of the node something."""
        self.add(ReportType.NODE_EVENT, NodeEvent(code, detail[:2000], count))

    def end(self, command: Command, outcome: Outcome) -> bool:
        """Write down that a command has ended, and report it; False if it had ended before."""
        payload = codec.to_wire(outcome)
        make = self._maker(
            ReportType.COMMAND_RESULT, payload, command.server_id, command.id, command.task_id, command.traceparent
        )
        first = self._storage.end_command(command.id, json.dumps(payload), make)
        self.filled.set()
        return first

    def repeat(self, command: Command, outcome: Outcome) -> None:
        """Report the end of a command once more: it was asked for again."""
        make = self._maker(
            ReportType.COMMAND_RESULT, outcome, command.server_id, command.id, command.task_id, command.traceparent
        )
        self._storage.add_report(make, keep=True)
        self.filled.set()

    def _maker(
        self,
        kind: ReportType,
        payload: object,
        server_id: str | None,
        command_id: str | None,
        task_id: str | None,
        traceparent: str | None,
    ) -> Callable[[int], str]:
        wire: Any = codec.to_wire(payload)

        def make(sequence: int) -> str:
            report = Report(
                id=f"rpt_{secrets.token_hex(16)}",
                type=kind,
                org_id=self._org_id,
                node_id=self._node_id,
                sequence=sequence,
                created_at=self._now(),
                server_id=server_id,
                command_id=command_id,
                task_id=task_id,
                traceparent=traceparent,
                payload=wire,
            )
            return codec.to_json(report).decode()

        return make
