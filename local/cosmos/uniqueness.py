"""Unique keys: no two items of one logical partition with the same values at the policy's paths.

https://learn.microsoft.com/azure/cosmos-db/unique-keys
"""

from __future__ import annotations

import sqlite3
from typing import Any

from local.cosmos.errors import CosmosError
from local.cosmos.jsonvalue import canonical
from local.cosmos.model import Container
from local.cosmos.partition import PartitionKey, follow


def claim_unique(
    db: sqlite3.Connection, container: Container, key: PartitionKey, document: dict[str, Any], item: int, now: int
) -> None:
    """Take an item's unique values; an absent property is a value like any other.

    Raises:
        CosmosError: 409, a live item holds one of them.
    """
    for number, paths in enumerate(container.unique_paths):
        value = "\n".join(canonical(follow(document, path)) for path in paths)
        holder = db.execute(
            f"""SELECT u.item, i.expires FROM unique_values u JOIN {container.table} i ON i.rid = u.item
                WHERE u.container=? AND u.pk=? AND u.policy=? AND u.value=?""",
            (container.rid, key.text, number, value),
        ).fetchone()
        if holder is not None and (holder[1] is None or holder[1] > now):
            names = ", ".join("/" + "/".join(path) for path in paths)
            raise CosmosError(409, f"Unique index constraint violation on {names} in partition {key.text}.")
        db.execute(
            "INSERT OR REPLACE INTO unique_values (container, pk, policy, value, item) VALUES (?, ?, ?, ?, ?)",
            (container.rid, key.text, number, value, item),
        )


def release_unique(db: sqlite3.Connection, container: Container, item: int) -> None:
    """Free an item's unique values."""
    db.execute("DELETE FROM unique_values WHERE container=? AND item=?", (container.rid, item))
