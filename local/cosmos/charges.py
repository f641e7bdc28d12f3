"""Request units: a deterministic model close to the published costs, so that cost can be watched, not planned, locally.

Published anchors (https://learn.microsoft.com/azure/cosmos-db/request-units and
https://learn.microsoft.com/azure/cosmos-db/key-value-store-cost): reading 1 KB costs 1, reading 100 KB costs 10; writing 1 KB
costs about 5, writing 100 KB about 50; replacing costs about twice an insert, since the old index terms go as well.
A query costs 2.3 and up, by the items it loads and the bytes it returns.
"""

from __future__ import annotations

from enum import StrEnum

KILOBYTE = 1024
READ_BASE, READ_PER_KB = 1.0, 9.0 / 99.0
WRITE_BASE, WRITE_PER_KB = 5.3, 45.0 / 99.0
REPLACE_FACTOR = 1.9
QUERY_BASE, QUERY_PER_ITEM, QUERY_PER_LOADED_KB, QUERY_PER_OUTPUT_KB = 2.3, 0.05, 0.01, 0.1
METADATA = 1.0


class Operation(StrEnum):
    """Kinds of work, as the meter counts them."""

    READ = "read"
    CREATE = "create"
    REPLACE = "replace"
    UPSERT = "upsert"
    DELETE = "delete"
    PATCH = "patch"
    BATCH = "batch"
    QUERY = "query"
    FEED = "feed"
    CHANGE_FEED = "change_feed"
    METADATA = "metadata"


def _above_one(size: int) -> float:
    return max(0.0, size / KILOBYTE - 1.0)


def read(size: int) -> float:
    """A point read of an item of `size` bytes."""
    return round(READ_BASE + READ_PER_KB * _above_one(size), 2)


def insert(size: int) -> float:
    """Storing a new item."""
    return round(WRITE_BASE + WRITE_PER_KB * _above_one(size), 2)


def replace(size: int) -> float:
    """Storing a new version of an item."""
    return round(insert(size) * REPLACE_FACTOR, 2)


def delete(size: int) -> float:
    """Removing an item costs as much as it cost to insert it."""
    return insert(size)


def query(items_loaded: int, bytes_loaded: int, bytes_out: int) -> float:
    """One page of a query or a feed."""
    return round(
        QUERY_BASE
        + QUERY_PER_ITEM * items_loaded
        + QUERY_PER_LOADED_KB * bytes_loaded / KILOBYTE
        + QUERY_PER_OUTPUT_KB * bytes_out / KILOBYTE,
        2,
    )
