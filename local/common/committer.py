"""Group commit: all writes of one event-loop turn share one transaction and one sync to disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class GroupCommitter:
    """Gathers the writes of one event-loop turn into one SQLite transaction.

        turn n      unit A writes   unit B writes   (end of turn) COMMIT, one fsync
        turn n+1    A's and B's `committed()` return: only now may either be acknowledged

    A unit is atomic of itself (SAVEPOINT): its failure undoes its own statements and no one else's. If the COMMIT itself
    fails (disk full, file gone), every waiter gets the error, and `on_failure` is called: what memory holds may then be
    ahead of the file, so the owner must stop and recover from the file.
    """

    def __init__(
        self, connection: sqlite3.Connection, on_failure: Callable[[Exception], None], *, turns: int = 1
    ) -> None:
        """Args: `turns` of the loop that a group stays open; with 2, what the first write wakes shares its commit."""
        self.connection = connection
        self._on_failure = on_failure
        self._turns = turns
        self._waiters: list[asyncio.Future[None]] = []
        self._actions: list[Callable[[], None]] = []
        self._open = False
        self.commits = 0

    @contextmanager
    def unit(self) -> Iterator[sqlite3.Connection]:
        """A group of statements that happen together or not at all. Must not await inside."""
        self._begin()
        self.connection.execute("SAVEPOINT unit")
        try:
            yield self.connection
        except BaseException:
            self.connection.execute("ROLLBACK TO unit")
            self.connection.execute("RELEASE unit")
            raise
        self.connection.execute("RELEASE unit")

    def execute(self, statement: str, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        """A unit of one statement: SQLite undoes a failed statement by itself, so it costs no savepoint."""
        self._begin()
        return self.connection.execute(statement, parameters)

    def _begin(self) -> None:
        if not self._open:
            self.connection.execute("BEGIN IMMEDIATE")
            self._open = True
            asyncio.get_running_loop().call_soon(self._turn, self._turns)

    def _turn(self, left: int) -> None:
        if left > 1:
            asyncio.get_running_loop().call_soon(self._turn, left - 1)
        else:
            self._commit()

    @property
    def pending(self) -> bool:
        """Whether something waits to be written."""
        return self._open

    async def committed(self) -> None:
        """Return once everything written so far is on disk.

        Raises:
            sqlite3.Error: the commit failed; nothing of the group was kept.
        """
        if not self._open:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def when_committed(self, action: Callable[[], None]) -> None:
        """Call `action` once everything written so far is on disk; at once if nothing waits to be written.

        The twin of `committed` for code without coroutines: no future and no extra turn for each of many small writes.
        If the commit fails the action is dropped (see `on_failure`). An action that raises is reported to the event
        loop's exception handler and does not keep the others from running.
        """
        if self._open:
            self._actions.append(action)
        else:
            action()

    def flush(self) -> None:
        """Commit at once (at shutdown)."""
        if self._open:
            self._commit()

    def _commit(self) -> None:
        if not self._open:
            return
        self._open = False
        waiters, self._waiters = self._waiters, []
        actions, self._actions = self._actions, []
        try:
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_exception(error)
            self._on_failure(error)
            return
        self.commits += 1
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        for action in actions:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - others' acknowledgements must not hang on one faulty action
                asyncio.get_running_loop().call_exception_handler({"message": "after a commit", "exception": error})
