"""Opening an SQLite file so that a damaged, foreign or newer one is refused before anything is written to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from local.common.errors import StartError

Synchronous = Literal["FULL", "NORMAL"]

# quick_check reads every page. Above this size (about 0.3 s on a common SSD) only the header and the schema are read.
QUICK_CHECK_LIMIT_BYTES = 256 * 1024 * 1024


def open_database(
    path: Path, *, application_id: int, migrations: Sequence[str], synchronous: Synchronous = "FULL"
) -> sqlite3.Connection:
    """Open (or create) a WAL database and bring its schema up to date.

    Args:
        path: the file.
        application_id: 32-bit number that marks files of this part (SQLite's `application_id` pragma).
        migrations: scripts; number `i` takes the schema from version `i` to `i + 1`. Only ever append.
        synchronous: `FULL` syncs at every commit and survives power loss; `NORMAL` survives the death of the process.

    Returns:
        A connection in autocommit mode (`isolation_level=None`): the caller writes BEGIN and COMMIT.

    Raises:
        StartError: the file is damaged, belongs to another program, or was written by a newer version. It is unchanged.
    """
    existed = path.exists() and path.stat().st_size > 0
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        if existed:
            _check(connection, path, application_id, len(migrations))
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA foreign_keys=ON")
        _migrate(connection, application_id, migrations)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise StartError(
            f"{path} is damaged ({error}); nothing was changed: put a copy in its place, or move it away to start afresh"
        ) from error
    except StartError:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path, application_id: int, newest: int) -> None:
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if found != application_id and version:
        raise StartError(f"{path} belongs to another program; choose another folder with --data")
    if version > newest:
        raise StartError(
            f"{path} was written by a newer version (schema {version}, this one knows {newest}); update, or choose another folder with --data"
        )
    if path.stat().st_size <= QUICK_CHECK_LIMIT_BYTES:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)


def _migrate(connection: sqlite3.Connection, application_id: int, migrations: Sequence[str]) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, script in enumerate(migrations[version:], start=version + 1):
        # executescript commits whatever is open, so the transaction is part of the script itself.
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}; PRAGMA application_id={application_id}; PRAGMA user_version={number}; COMMIT;"
        )
