"""The data file: opening, the registry of databases and containers, the connections for reading and for writing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from local.common.committer import GroupCommitter
from local.common.database import Synchronous, open_database
from local.cosmos.errors import Substatus, not_found
from local.cosmos.model import Container, Database
from local.cosmos.schema import APPLICATION_ID, MIGRATIONS, create_items

CACHED_STATEMENTS = 512
READER_CACHE_KB = 12 * 1024  # holds the upper pages of the indexes of some 100,000 items
READERS = 3  # one for the event loop, the others for long queries in threads


class Storage:
    """One process, one writer: every write goes through the group committer, every read sees committed data only.

    turn n      write A (in the open transaction)   read B on a reader's connection: does not see A
    turn n+1    A committed and acknowledged        read C sees A
    """

    def __init__(self, path: Path, *, synchronous: Synchronous, on_failure: Callable[[Exception], None]) -> None:
        """Open the file.

        Raises:
            local.common.errors.StartError: damaged, foreign or newer.
        """
        self.path = path
        self.writer = open_database(path, application_id=APPLICATION_ID, migrations=MIGRATIONS, synchronous=synchronous)
        self.committer = GroupCommitter(self.writer, on_failure)
        self._idle = [self._open_reader() for _ in range(READERS)]
        self.reader = self._idle.pop()
        self.databases: dict[str, Database] = {}
        self.containers: dict[tuple[str, str], Container] = {}
        self._load()

    def _open_reader(self) -> sqlite3.Connection:
        reader = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, cached_statements=CACHED_STATEMENTS
        )
        reader.execute("PRAGMA query_only=ON")
        reader.execute(f"PRAGMA cache_size=-{READER_CACHE_KB}")
        return reader

    @contextmanager
    def thread_reader(self) -> Iterator[sqlite3.Connection]:
        """A connection for one long query in a thread."""
        reader = self._idle.pop() if self._idle else self._open_reader()
        try:
            yield reader
        finally:
            # The pages of a long query are megabytes, and the next commit makes them worthless: SQLite would keep them.
            reader.execute("PRAGMA shrink_memory")
            if len(self._idle) < READERS:
                self._idle.append(reader)
            else:
                reader.close()

    def _load(self) -> None:
        by_rid = {}
        for rid, name, ts in self.writer.execute("SELECT rid, id, ts FROM databases"):
            by_rid[rid] = self.databases[name] = Database(rid, name, ts)
        rows = self.writer.execute(
            "SELECT rid, database, id, definition, ts, version, lsn, scan_only FROM containers"
        ).fetchall()
        for rid, database, name, definition, ts, version, lsn, scan_only in rows:
            owner = by_rid[database]
            container = Container(rid, owner, name, orjson.loads(definition), ts, version, lsn, bool(scan_only))
            self._load_indexes(container)
            self.containers[owner.id, name] = container

    def _load_indexes(self, container: Container) -> None:
        prefix = f"{container.table}_q"
        found = self.writer.execute(
            "SELECT name FROM sqlite_master WHERE type='index' AND tbl_name=?", (container.table,)
        )
        container.indexes = {name for (name,) in found if name.startswith(prefix)}

    def database(self, name: str) -> Database:
        """Find a database.

        Raises:
            CosmosError: 404.
        """
        found = self.databases.get(name)
        if found is None:
            raise not_found(f"Database '{name}' does not exist.", substatus=Substatus.OWNER_NOT_FOUND)
        return found

    def container(self, database: str, name: str) -> Container:
        """Find a container.

        Raises:
            CosmosError: 404.
        """
        found = self.containers.get((database, name))
        if found is None:
            self.database(database)
            raise not_found(
                f"Container '{name}' does not exist in database '{database}'.", substatus=Substatus.OWNER_NOT_FOUND
            )
        return found

    def add_database(self, name: str, now: int) -> Database:
        """Make a database; the caller has checked the name and awaits the commit."""
        with self.committer.unit() as db:
            rid = db.execute("INSERT INTO databases (id, ts) VALUES (?, ?)", (name, now)).lastrowid
        assert rid is not None
        self.databases[name] = Database(rid, name, now)
        return self.databases[name]

    def drop_database(self, database: Database) -> None:
        """Remove a database with its containers."""
        mine = [container for container in self.containers.values() if container.database is database]
        with self.committer.unit() as db:
            for container in mine:
                self._drop(db, container)
            db.execute("DELETE FROM offers WHERE database=?", (database.rid,))
            db.execute("DELETE FROM databases WHERE rid=?", (database.rid,))
        for container in mine:
            del self.containers[database.id, container.id]
        del self.databases[database.id]

    def add_container(self, database: Database, name: str, definition: dict[str, Any], now: int) -> Container:
        """Make a container; the caller has checked the definition and awaits the commit."""
        with self.committer.unit() as db:
            rid = db.execute(
                "INSERT INTO containers (database, id, definition, ts) VALUES (?, ?, ?, ?)",
                (database.rid, name, orjson.dumps(definition).decode(), now),
            ).lastrowid
            assert rid is not None
            for statement in create_items(rid):
                db.execute(statement)
        container = Container(rid, database, name, definition, now, 1, 0, False)
        self.containers[database.id, name] = container
        return container

    def replace_container(self, container: Container, definition: dict[str, Any], now: int) -> None:
        """Store a changed definition."""
        with self.committer.unit() as db:
            db.execute(
                "UPDATE containers SET definition=?, ts=?, version=version+1 WHERE rid=?",
                (orjson.dumps(definition).decode(), now, container.rid),
            )
        container.version += 1
        container.ts = now
        container.adopt(definition)

    def drop_container(self, container: Container) -> None:
        """Remove a container with its items."""
        with self.committer.unit() as db:
            self._drop(db, container)
        del self.containers[container.database.id, container.id]

    @staticmethod
    def _drop(db: sqlite3.Connection, container: Container) -> None:
        db.execute(f"DROP TABLE {container.table}")
        db.execute("DELETE FROM unique_values WHERE container=?", (container.rid,))
        db.execute("DELETE FROM offers WHERE container=?", (container.rid,))
        db.execute("DELETE FROM containers WHERE rid=?", (container.rid,))

    def close(self) -> None:
        """Commit what is open and close the file."""
        self.committer.flush()
        for connection in (*self._idle, self.reader):
            connection.close()
        self.writer.execute("PRAGMA optimize")
        self.writer.close()
