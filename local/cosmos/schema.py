"""The SQLite schema: what is shared, and the table which every container has of its own.

A table per container makes dropping one cheap, and lets an SQL expression index serve exactly the queries of one container.
"""

from __future__ import annotations

APPLICATION_ID = 0x4D43_4442  # "MCDB"

MIGRATIONS = (
    """
    CREATE TABLE databases (
        rid INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        ts INTEGER NOT NULL
    );
    CREATE TABLE containers (
        rid INTEGER PRIMARY KEY AUTOINCREMENT,
        database INTEGER NOT NULL REFERENCES databases(rid),
        id TEXT NOT NULL,
        definition TEXT NOT NULL,           -- the JSON as the client gave it, without system properties
        ts INTEGER NOT NULL,
        version INTEGER NOT NULL DEFAULT 1, -- makes the container's ETag
        lsn INTEGER NOT NULL DEFAULT 0,     -- never falls, also when the newest item goes: the change feed counts on it
        scan_only INTEGER NOT NULL DEFAULT 0, -- holds a value which SQLite's JSON reading would not give back exactly
        UNIQUE (database, id)
    );
    CREATE TABLE unique_values (
        container INTEGER NOT NULL,
        pk TEXT NOT NULL,
        policy INTEGER NOT NULL,            -- which of the container's unique keys
        value TEXT NOT NULL,                -- canonical JSON of the values at its paths
        item INTEGER NOT NULL,
        PRIMARY KEY (container, pk, policy, value)
    ) WITHOUT ROWID;
    CREATE INDEX unique_values_item ON unique_values (container, item);
    CREATE TABLE offers (
        rid INTEGER PRIMARY KEY AUTOINCREMENT,
        database INTEGER REFERENCES databases(rid) ON DELETE CASCADE,
        container INTEGER REFERENCES containers(rid) ON DELETE CASCADE,
        content TEXT NOT NULL
    )
    """,
)


def items_table(rid: int) -> str:
    """The name of a container's table; `rid` is a number made here, never text from outside."""
    return f"items_{int(rid)}"


def create_items(rid: int) -> tuple[str, ...]:
    """The statements that make a container's table."""
    table = items_table(rid)
    return (
        f"""CREATE TABLE {table} (
            rid INTEGER PRIMARY KEY,  -- the container's LSN at creation: stable over updates, never used twice
            pk TEXT NOT NULL,
            id TEXT NOT NULL,
            epk TEXT NOT NULL,
            lsn INTEGER NOT NULL,
            ts INTEGER NOT NULL,
            expires INTEGER,
            body TEXT NOT NULL,       -- what goes over the wire, system properties included
            UNIQUE (pk, id)
        )""",
        f"CREATE INDEX {table}_epk ON {table} (epk)",
        f"CREATE INDEX {table}_lsn ON {table} (lsn)",
        f"CREATE INDEX {table}_expires ON {table} (expires) WHERE expires IS NOT NULL",
    )
