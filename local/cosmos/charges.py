"""Request units: a deterministic model close to the published costs, so that cost can be watched, not planned, locally.

Published anchors:
- reads and writes by size with little indexed, https://learn.microsoft.com/azure/cosmos-db/understand-request-unit-consumption,
  and for 100 KB https://learn.microsoft.com/azure/cosmos-db/key-value-store-cost;
- replacing costs twice an insert, whatever changed, since the old index terms go as well, and deleting as much as an insert,
  https://learn.microsoft.com/azure/cosmos-db/optimize-cost-reads-writes; a patch is no cheaper than a replace;
- what is indexed: the .NET tutorial prints 11.43 and 14.29 for two small items with 14 and 20 indexed values, so 0.465 each over
  the price of the size.
A query costs 2.3 and up, by the items it loads and the bytes it returns.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import pairwise

KILOBYTE = 1024
Anchors = tuple[tuple[float, float], ...]
READS: Anchors = ((1, 1.0), (4, 1.14), (16, 1.67), (64, 4.76), (100, 10.0))  # KB, request units
WRITES: Anchors = ((1, 4.95), (4, 6.67), (16, 9.52), (64, 22.67), (100, 50.0))
READ_BASE = READS[0][1]
INDEXED_VALUE = 0.465
REPLACE_FACTOR = 2
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


def _by_size(anchors: Anchors, size: int) -> float:
    """Along the lines between the anchors; below the first as the first, beyond the last as between the last two."""
    kilobytes = max(size / KILOBYTE, anchors[0][0])
    for (left, low), (right, high) in pairwise(anchors):
        if kilobytes <= right or right == anchors[-1][0]:
            return low + (high - low) * (kilobytes - left) / (right - left)
    raise AssertionError("unreachable")


def read(size: int) -> float:
    """A point read of an item of `size` bytes."""
    return round(_by_size(READS, size), 2)


def insert(size: int, indexed: int) -> float:
    """Storing a new item of which so many values are indexed."""
    return round(_by_size(WRITES, size) + INDEXED_VALUE * indexed, 2)


def replace(size: int, indexed: int) -> float:
    """Storing a new version of an item."""
    return round(insert(size, indexed) * REPLACE_FACTOR, 2)


def delete(size: int, indexed: int) -> float:
    """Removing an item costs as much as it cost to insert it."""
    return insert(size, indexed)


def query(items_loaded: int, bytes_loaded: int, bytes_out: int) -> float:
    """One page of a query or a feed."""
    return round(
        QUERY_BASE
        + QUERY_PER_ITEM * items_loaded
        + QUERY_PER_LOADED_KB * bytes_loaded / KILOBYTE
        + QUERY_PER_OUTPUT_KB * bytes_out / KILOBYTE,
        2,
    )
