"""What is known of one server: what was asked, what runs, how it went. Kept on disk as far as a restart must know it, and told."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
import time
from dataclasses import asdict
from typing import Any, Final

from agent.context import Context
from agent.crash import CrashHistory
from agent.drivers.base import Exit, Handle, Running
from agent.servers.operation import Operation
from agent.servers.preparing import Preparer
from shared.messaging.reports import ReportType
from shared.messaging.server_messages import Observed, Players, ProcessState, Sample, ServerReport
from shared.messaging.server_spec import ServerSpec

log = logging.getLogger("meridian.servers")
PROGRESS_SECONDS: Final = 2.0  # how often an operation's progress is told, if it changed
QUIET_SECONDS: Final = 3.0  # what is over sooner is told once, at its end: one message less on the bill


class Known:
    """See the module. The keeper changes it; nothing here acts on a game."""

    def __init__(self, context: Context, preparer: Preparer, spec: ServerSpec, state: str) -> None:
        self._context, self._preparer, self.spec = context, preparer, spec
        remembered = json.loads(state)
        self.handle = Handle(**remembered["handle"]) if remembered.get("handle") else None
        self.history = CrashHistory(tuple(remembered.get("ends", ())), remembered.get("delay", 0.0))
        self.restarts: int = remembered.get("restarts", 0)
        self.failure: str = remembered.get("failure", "")
        self.state: ProcessState = remembered.get("state", "absent")
        self.running: Running | None = None
        self.players: Players | None = None
        self.usage: tuple[float, float] = (0.0, 0.0)  # percent of a core, MiB
        self.samples: list[Sample] = []
        self.ready_at: float | None = None
        self.exit: Exit | None = None
        self.last_lines: tuple[str, ...] = ()
        self.next_start: float | None = None

    def enter(self, state: ProcessState) -> None:
        """The server is in this state from now on."""
        changed, self.state = state != self.state, state
        self.save()
        if changed:
            self._context.changed()

    def gone(self) -> None:
        """Its process has ended."""
        self.running, self.players, self.usage, self.ready_at = None, None, (0.0, 0.0), None

    def save(self) -> None:
        """Keep what the next start of the agent must know. With the disk full the game goes on being kept, from memory."""
        remembered: dict[str, Any] = {
            "handle": asdict(self.handle) if self.handle and self.handle.token else None,
            "ends": self.history.ends,
            "delay": self.history.delay,
            "restarts": self.restarts,
            "state": self.state,
            "failure": self.failure,
        }
        try:
            self._context.storage.put_server_state(self.spec.server_id, json.dumps(remembered))
        except sqlite3.Error as error:
            log.error("the state of %s cannot be kept: %s", self.spec.server_id, error)  # noqa: TRY400

    def observed(self) -> Observed:
        """How the server is."""
        running = self.running
        started = self.handle.started_at if self.handle and running else None
        return Observed(
            server_id=self.spec.server_id,
            revision=self.spec.revision,
            state=self.state,
            at=time.time(),
            pid=running.pid if running else None,
            started_at=started,
            ready_at=self.ready_at,
            exit_code=self.exit.code if self.exit and not running else None,
            crashes=len(self.history.ends),
            next_start_at=self.next_start,
            generation=self._preparer.installed(self.spec.server_id),
            restarts=self.restarts,
            cpu_percent=self.usage[0],
            memory_mib=self.usage[1],
            players=self.players,
            bound=running.bound_ports() if running else (),
            last_lines=() if running else self.last_lines,
            reason=self.failure,
        )

    def report(self, operation: Operation | None, outcome: Any = "") -> ServerReport:
        """The report of now."""
        task_id, steps = (operation.task_id, operation.steps) if operation else (None, ())
        samples, self.samples = tuple(self.samples), []
        return ServerReport(self.observed(), task_id, steps, outcome, samples)

    def tell(self, operation: Operation | None) -> None:
        """Put a report into the outbox."""
        report = self.report(operation)
        self._context.outbox.add(
            ReportType.SERVER_REPORT,
            report,
            server_id=self.spec.server_id,
            task_id=report.task_id,
            keep=not report.samples,
        )

    async def tell_progress(self, operation: Operation) -> None:
        """An operation that lasts is told of: what is over in a moment is told once, at its end."""
        await asyncio.sleep(QUIET_SECONDS)
        while True:
            if operation.changed:
                operation.changed = False
                self.tell(operation)
            await asyncio.sleep(PROGRESS_SECONDS)
