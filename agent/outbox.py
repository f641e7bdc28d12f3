"""Reports on their way: written down first, signed when sent, kept until the broker has them."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from agent.storage import Storage
from shared.messaging import codec
from shared.messaging.commands import Command
from shared.messaging.limits import MAX_ID_LENGTH, MAX_PAYLOAD_BYTES
from shared.messaging.reports import NodeEvent, Outcome, Report, ReportType

log = logging.getLogger("meridian.agent")
LONGEST_TEXT: Final = 4096  # characters, of a report that is too large as it is; then an eighth of that, and so on


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

        One that cannot be written down, since the disk is full, is lost and logged: what it tells of goes on.
        """
        make = self._maker(kind, payload, server_id, None, task_id, traceparent)
        try:
            self._storage.add_report(make, keep=keep)
        except sqlite3.Error as error:
            log.error("a report (%s) is lost: %s", kind, error)  # noqa: TRY400
            return
        self.filled.set()

    def event(self, code: str, detail: str = "", count: int = 1) -> None:
        """Tell the owner of the node something."""
        self.add(ReportType.NODE_EVENT, NodeEvent(code, detail[:2000], count))

    def end(self, command: Command, outcome: Outcome) -> bool:
        """Write down that a command has ended, and report it; False if it had ended before.

        Raises:
            sqlite3.Error: it cannot be written down.
        """
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

        def made(sequence: int, payload: Any) -> str:
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
                payload=payload,
            )
            return codec.to_json(report).decode()

        def make(sequence: int) -> str:
            """Within what an envelope holds: one that is larger would be refused by the broker, and hold up all others."""
            content, longest = made(sequence, wire), LONGEST_TEXT
            while len(content.encode()) > MAX_PAYLOAD_BYTES and longest >= MAX_ID_LENGTH:
                content, longest = made(sequence, _cut(wire, longest)), longest // 8
            return content

        return make


def _cut(value: Any, longest: int) -> Any:
    """The same with shorter texts, and of long lists the end. What games and tools print is cut; ids and codes are shorter."""
    if isinstance(value, str):
        return value if len(value) <= longest else f"{value[:longest]}..."
    if isinstance(value, list):
        return [_cut(one, longest) for one in value[-longest:]]
    if isinstance(value, dict):
        return {name: _cut(one, longest) for name, one in value.items()}
    return value
