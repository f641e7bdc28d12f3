"""Time to live: when an item ends, and taking ended items away.

https://learn.microsoft.com/azure/cosmos-db/nosql/time-to-live
"""

from __future__ import annotations

import sqlite3

from local.cosmos.model import Container

FOREVER = -1
PURGE_BATCH = 500


def expiry(default: int | None, own: int | None, written: int) -> int | None:
    """The second from which an item is gone, or None.

    Args:
        default: the container's `defaultTtl`; None switches time to live off, whatever the items say.
        own: the item's `ttl`.
        written: the item's `_ts`.
    """
    if default is None:
        return None
    seconds = default if own is None else own
    return None if seconds == FOREVER else written + seconds


def recompute(db: sqlite3.Connection, container: Container) -> None:
    """Apply a changed container default to the items that are there."""
    default = container.default_ttl
    if default is None:
        db.execute(f"UPDATE {container.table} SET expires=NULL WHERE expires IS NOT NULL")
        return
    db.execute(
        f"""UPDATE {container.table} SET expires = CASE
                WHEN coalesce(json_extract(body, '$.ttl'), ?1) = -1 THEN NULL
                ELSE ts + coalesce(json_extract(body, '$.ttl'), ?1) END""",
        (default,),
    )


def purge(db: sqlite3.Connection, container: Container, now: int) -> int:
    """Delete at most `PURGE_BATCH` ended items; how many went."""
    ended = db.execute(
        f"SELECT rid FROM {container.table} WHERE expires IS NOT NULL AND expires <= ? LIMIT ?", (now, PURGE_BATCH)
    ).fetchall()
    for (rid,) in ended:
        db.execute("DELETE FROM unique_values WHERE container=? AND item=?", (container.rid, rid))
        db.execute(f"DELETE FROM {container.table} WHERE rid=?", (rid,))
    return len(ended)
