"""What the parts of the engine share: rows, commit, clock, counters."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from local.common.committer import GroupCommitter
from local.durable.core.clock import now_us
from local.durable.core.store import Store


@dataclass(slots=True)
class Counters:
    """Totals since the start.

    `actions` counts as the Durable Task Scheduler bills: one for a start, a timer, an event or an entity operation, two
    for an activity (https://learn.microsoft.com/azure/azure-functions/durable/durable-task-scheduler/durable-task-scheduler-billing).
    """

    actions: int = 0
    history_events: int = 0
    history_bytes: int = 0
    episodes: int = 0
    replayed_events: int = 0
    activities: int = 0
    entity_operations: int = 0
    started: int = 0
    completed: int = 0
    purged: int = 0

    def totals(self) -> dict[str, int]:
        """All of them by name."""
        return asdict(self)


class Kernel:
    """Rows, commit, clock and counters of one engine.

    `generation` grows when a commit fails: memory is then ahead of the file, so everything in memory is dropped and read
    again, and whatever still belongs to an older generation must do nothing more.
    """

    def __init__(
        self, connection: sqlite3.Connection, on_lost: Callable[[Exception], None], log: Callable[[str], None]
    ) -> None:
        self.store = Store(connection)
        # A message is written in one turn and wakes its instance, which decides in the next: one commit for both.
        self.committer = GroupCommitter(connection, self.lost, turns=2)
        self.counters = Counters()
        self.generation = 0
        self.now = now_us
        self.log = log
        self._on_lost = on_lost

    @contextmanager
    def unit(self) -> Iterator[sqlite3.Connection]:
        """Statements that happen together or not at all. If one fails, memory may be ahead of the file: it is dropped."""
        try:
            with self.committer.unit() as connection:
                yield connection
        except sqlite3.Error as error:
            self.lost(error)
            raise

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run an action once all that was written so far is on disk; never, if that fails."""
        generation = self.generation

        def act() -> None:
            if generation == self.generation:
                action()

        if self.committer.pending:
            self.committer.when_committed(act)
        else:
            asyncio.get_running_loop().call_soon(act)

    def lost(self, error: Exception) -> None:
        """A write failed: forget what memory holds."""
        self.generation += 1
        self._on_lost(error)
