"""The engine's tables."""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x4D444442  # "MDDB": Meridian's durable database

# instances   one row an instance; small, because it is rewritten: its input is in history row 0
# history     one row an episode: the packed events; row 0 holds ExecutionStarted alone
# tasks       activities whose result has not been taken in; name and input are in the history
# timers      timers that have not been taken in
# inbox       messages that wait for an episode (of an orchestration) or a batch (of an entity)
# entities    state of the entities
MIGRATIONS: Final = (
    """
    CREATE TABLE instances (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        execution TEXT NOT NULL,
        name TEXT NOT NULL,
        version TEXT,
        status INTEGER NOT NULL,
        created INTEGER NOT NULL,
        updated INTEGER NOT NULL,
        finished INTEGER,
        custom_status TEXT,
        output TEXT,
        parent_id TEXT,
        parent_execution TEXT,
        parent_task INTEGER
    );
    CREATE INDEX instances_unfinished ON instances(key) WHERE finished IS NULL;
    CREATE INDEX instances_finished ON instances(finished) WHERE finished IS NOT NULL;
    CREATE TABLE history (
        instance INTEGER NOT NULL,
        episode INTEGER NOT NULL,
        at INTEGER NOT NULL,
        events BLOB NOT NULL,
        PRIMARY KEY (instance, episode)
    ) WITHOUT ROWID;
    CREATE TABLE tasks (
        instance INTEGER NOT NULL,
        task INTEGER NOT NULL,
        PRIMARY KEY (instance, task)
    ) WITHOUT ROWID;
    CREATE TABLE timers (
        instance INTEGER NOT NULL,
        task INTEGER NOT NULL,
        due INTEGER NOT NULL,
        PRIMARY KEY (instance, task)
    ) WITHOUT ROWID;
    CREATE TABLE inbox (
        row INTEGER PRIMARY KEY AUTOINCREMENT,
        target TEXT NOT NULL,
        execution TEXT,
        event BLOB NOT NULL
    );
    CREATE TABLE entities (
        id TEXT PRIMARY KEY,
        state TEXT,
        updated INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
)
