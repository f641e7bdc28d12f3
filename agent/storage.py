"""What the agent remembers: commands it has accepted, reports not yet delivered, servers it keeps. SQLite, fsynced.

One connection, used by the event loop alone: a commit takes a fraction of a millisecond to a few, a few times a command.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared.messaging.limits import CLOCK_LEEWAY, MAX_PAYLOAD_BYTES

DATABASE: Final = "agent.db"  # in the agent's folder
SCHEMA_VERSION: Final = 1
#: It is what tells a repeated command from a new one; a node that is enrolled again gets another queue, with nothing old in it.
ADVICE: Final = "if it is damaged, move it away and enrol this node again (a token for it, and enroll --force)"
_SCHEMA: Final = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE commands (
    id TEXT PRIMARY KEY, server_id TEXT, received_at REAL NOT NULL, content TEXT NOT NULL,
    outcome TEXT, ended_at REAL) WITHOUT ROWID;
CREATE INDEX commands_open ON commands (received_at) WHERE outcome IS NULL;
CREATE TABLE reports (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, created_at REAL NOT NULL, content TEXT NOT NULL, keep INTEGER NOT NULL);
CREATE TABLE servers (
    id TEXT PRIMARY KEY, revision INTEGER NOT NULL, spec TEXT NOT NULL, state TEXT NOT NULL DEFAULT '{}') WITHOUT ROWID;
"""


class StorageError(Exception):
    """The file cannot be used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class StoredCommand:
    """A command in the journal; `outcome` is None while it is at work."""

    id: str
    content: str
    outcome: str | None


@dataclass(frozen=True, slots=True)
class StoredServer:
    """A server that this node keeps: the desired spec, and what the keeper must remember of it (both JSON)."""

    id: str
    revision: int
    spec: str
    state: str


class Storage:
    """See the module."""

    def __init__(
        self, path: Path, max_reports: int = 20_000, max_bytes: int = 50 * 2**20, clock: Callable[[], float] = time.time
    ) -> None:
        """Open the file, making it (mode 0600) at the first time.

        Raises:
            StorageError: it cannot be written, is damaged, or was made by a newer agent.
        """
        self._clock, self._max_reports, self._max_bytes = clock, max_reports, max_bytes
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(0o600)
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-256", "journal_size_limit=1048576"):
                self._db.execute(f"PRAGMA {pragma}")
            if (found := self._one("PRAGMA quick_check(1)")) != "ok":
                raise StorageError(f"{path}: {' '.join(found.split())}; {ADVICE}")
            self._migrate(path)
        except (OSError, sqlite3.DatabaseError) as error:
            raise StorageError(f"{path}: {error}; {ADVICE}") from None
        self._report_bytes = self._one("SELECT COALESCE(SUM(LENGTH(content)), 0) FROM reports")
        self._report_count = self._one("SELECT COUNT(*) FROM reports")

    def _migrate(self, path: Path) -> None:
        version = self._one("PRAGMA user_version")
        if version > SCHEMA_VERSION:
            raise StorageError(
                f"{path} was written by a newer agent (format {version}, this one reads {SCHEMA_VERSION})"
            )
        if version == 0:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")

    def _one(self, sql: str, *arguments: Any) -> Any:
        row = self._db.execute(sql, arguments).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # ---------------------------------------------------------------- facts

    def fact(self, name: str) -> str | None:
        """A remembered value."""
        value: str | None = self._one("SELECT value FROM facts WHERE name = ?", name)
        return value

    def set_fact(self, name: str, value: str | None) -> None:
        """Remember a value, or forget it."""
        if value is None:
            self._db.execute("DELETE FROM facts WHERE name = ?", (name,))
        else:
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def try_room(self) -> None:
        """See whether the largest command could be written down. A message that was taken and could not be is a delivery
        that failed, and the broker counts those: with the disk full for some minutes it would give the message up.

        Raises:
            sqlite3.Error: it could not.
        """
        try:
            self._db.execute("INSERT OR REPLACE INTO facts VALUES ('room', zeroblob(?))", (MAX_PAYLOAD_BYTES,))
        finally:
            self.set_fact("room", None)

    # ---------------------------------------------------------------- commands

    def add_command(self, command_id: str, server_id: str | None, content: str) -> bool:
        """Write a command down before it is acknowledged; False if it is known already."""
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO commands (id, server_id, received_at, content) VALUES (?, ?, ?, ?)",
            (command_id, server_id, self._clock(), content),
        )
        return cursor.rowcount == 1

    def command(self, command_id: str) -> StoredCommand | None:
        """A command by its id."""
        row = self._db.execute("SELECT id, content, outcome FROM commands WHERE id = ?", (command_id,)).fetchone()
        return None if row is None else StoredCommand(*row)

    def open_commands(self) -> list[StoredCommand]:
        """Commands that were accepted and have not ended, oldest first: after a restart they are worked on again."""
        rows = self._db.execute("SELECT id, content, outcome FROM commands WHERE outcome IS NULL ORDER BY received_at")
        return [StoredCommand(*row) for row in rows]

    def end_command(self, command_id: str, outcome: str, report: Callable[[int], str]) -> bool:
        """Write the outcome and its report in one transaction: an end without a report, or twice, cannot be.

        `report` makes the report's content from its sequence number. False if the command had ended before.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            cursor = self._db.execute(
                "UPDATE commands SET outcome = ?, ended_at = ? WHERE id = ? AND outcome IS NULL",
                (outcome, self._clock(), command_id),
            )
            if cursor.rowcount:
                self._insert_report(report, keep=True)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
        return bool(cursor.rowcount)

    def purge(self, days: int) -> None:
        """Forget commands that ended long ago: no message lives that long, so none can come again.

        A command may have been issued by a clock that is ahead of ours, as far as we accept that.
        """
        oldest = self._clock() - days * 86_400 - CLOCK_LEEWAY.total_seconds()
        self._db.execute("DELETE FROM commands WHERE ended_at < ?", (oldest,))

    # ---------------------------------------------------------------- reports

    def add_report(self, report: Callable[[int], str], *, keep: bool) -> None:
        """Put a report into the outbox. One that need not be kept (console, samples) is dropped first when room is short."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._insert_report(report, keep)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def _insert_report(self, report: Callable[[int], str], keep: bool) -> None:
        sequence = (self._one("SELECT seq FROM sqlite_sequence WHERE name = 'reports'") or 0) + 1
        content = report(sequence)
        self._db.execute("INSERT INTO reports VALUES (?, ?, ?, ?)", (sequence, self._clock(), content, int(keep)))
        self._report_bytes += len(content)
        self._report_count += 1
        while self._report_count > self._max_reports or self._report_bytes > self._max_bytes:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        # The oldest of those that nobody waits for; an outcome only when there is nothing else left.
        row = self._db.execute(
            "SELECT sequence, LENGTH(content) FROM reports ORDER BY keep, sequence LIMIT 1"
        ).fetchone()
        self._db.execute("DELETE FROM reports WHERE sequence = ?", (row[0],))
        self._report_bytes -= row[1]
        self._report_count -= 1
        dropped = int(self.fact("reports_dropped") or 0) + 1
        self.set_fact("reports_dropped", str(dropped))

    def reports(self, limit: int) -> list[tuple[int, str]]:
        """The oldest reports not yet delivered."""
        return self._db.execute("SELECT sequence, content FROM reports ORDER BY sequence LIMIT ?", (limit,)).fetchall()

    def delivered(self, first: int, last: int) -> None:
        """Forget the reports from `first` to `last`, which the broker has stored.

        By their ends, not one by one: a statement for each length of the list would stay in SQLite's cache, 15 KiB the longest.
        """
        where = "WHERE sequence BETWEEN ? AND ?"
        size = self._one(f"SELECT COALESCE(SUM(LENGTH(content)), 0) FROM reports {where}", first, last)  # noqa: S608
        cursor = self._db.execute(f"DELETE FROM reports {where}", (first, last))  # noqa: S608
        self._report_bytes -= size
        self._report_count -= cursor.rowcount

    @property
    def report_count(self) -> int:
        """How many reports wait."""
        count: int = self._report_count
        return count

    @property
    def reports_dropped(self) -> int:
        """How many reports were lost to the bound, ever."""
        return int(self.fact("reports_dropped") or 0)

    # ---------------------------------------------------------------- servers

    def servers(self) -> list[StoredServer]:
        """Every server that this node keeps."""
        return [
            StoredServer(*row) for row in self._db.execute("SELECT id, revision, spec, state FROM servers ORDER BY id")
        ]

    def server(self, server_id: str) -> StoredServer | None:
        """One of them."""
        row = self._db.execute("SELECT id, revision, spec, state FROM servers WHERE id = ?", (server_id,)).fetchone()
        return None if row is None else StoredServer(*row)

    def put_server(self, server_id: str, revision: int, spec: str) -> bool:
        """Keep a desired spec, unless a newer one is kept; False then."""
        cursor = self._db.execute(
            "INSERT INTO servers (id, revision, spec) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE"
            " SET revision = excluded.revision, spec = excluded.spec WHERE excluded.revision >= servers.revision",
            (server_id, revision, spec),
        )
        return cursor.rowcount == 1

    def put_server_state(self, server_id: str, state: str) -> None:
        """Keep what the keeper must remember of a server."""
        self._db.execute("UPDATE servers SET state = ? WHERE id = ?", (state, server_id))

    def drop_server(self, server_id: str) -> None:
        """A server is gone; its revision stays known, so that a late command does not bring it back."""
        revision = self._one("SELECT revision FROM servers WHERE id = ?", server_id)
        self._db.execute("DELETE FROM servers WHERE id = ?", (server_id,))
        if revision is not None:
            self.raise_floor(server_id, revision)

    def raise_floor(self, server_id: str, revision: int) -> None:
        """Refuse anything older than this revision from now on."""
        if revision > self.applied_revision(server_id):
            self.set_fact(f"floor:{server_id}", str(revision))

    def applied_revision(self, server_id: str) -> int:
        """The newest revision of a server's desired state that this node has accepted."""
        kept = self._one("SELECT revision FROM servers WHERE id = ?", server_id)
        return max(int(kept or 0), int(self.fact(f"floor:{server_id}") or 0))
