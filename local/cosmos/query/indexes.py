"""Indexes made on demand.

The service indexes every path by default. Here an SQL expression index is made when a query has shown that it needs one: it
had to look at many rows, and the container's indexing policy includes its paths.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from local.cosmos.query.division import Pushed
from local.cosmos.query.properties import Property, Step

MAX_INDEXES = 16  # per container; each costs every write a little
COSTLY_STEPS = 6_000  # SQLite instructions of one page: some 100 rows looked at


@dataclass(frozen=True, slots=True)
class IndexShape:
    """The columns of an index behind the partition: properties held to a value, then those in order."""

    columns: tuple[tuple[Property, bool], ...]

    def name(self, table: str) -> str:
        """A name that is the same for the same columns."""
        text = repr([(column.steps, descending) for column, descending in self.columns])
        return f"{table}_q{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def statement(self, table: str) -> str:
        """The SQL that makes it."""
        parts = ["epk"]
        for column, descending in self.columns:
            way = " DESC" if descending else ""
            parts += [f"{column.rank}{way}", f"{column.value}{way}"] if column.path else [f"{column.value}{way}"]
        return f"CREATE INDEX IF NOT EXISTS {self.name(table)} ON {table} ({', '.join(parts)})"


def wanted_index(pushed: Pushed, policy: dict[str, Any]) -> IndexShape | None:
    """The index that would serve a query best, or None if none would. By what the policy leaves out each row is looked at."""
    equal = {
        column.steps: column
        for fragment in pushed.where
        for column in fragment.equal
        if is_indexed(policy, column.steps)
    }
    ranged = [
        column
        for fragment in pushed.where
        for column in fragment.ranged
        if column.steps not in equal and is_indexed(policy, column.steps)
    ]
    columns = [(column, False) for _, column in sorted(equal.items(), key=lambda entry: repr(entry[0]))]
    if pushed.order:
        # An index is read in either direction, so only the ways relative to the first key matter.
        turned = pushed.order[0][1]
        columns += [(column, way != turned) for column, way in pushed.order if column.steps not in equal]
    elif ranged:
        columns.append((ranged[0], False))
    if not columns or not all(is_indexed(policy, column.steps) for column, _ in columns):
        return None
    return IndexShape(tuple(columns))


def is_indexed(policy: dict[str, Any], steps: tuple[Step, ...]) -> bool:
    """Whether an indexing policy covers a path: the most precise rule that matches decides. `id` and `_ts` always are.

    https://learn.microsoft.com/azure/cosmos-db/index-policy#include-and-exclude-precedence
    """
    if str(policy.get("indexingMode", "consistent")).lower() == "none":
        return False
    if steps in (("id",), ("_ts",)):
        return True
    best, included = -1, True
    for verdict, name in ((True, "includedPaths"), (False, "excludedPaths")):
        for rule in policy.get(name) or []:
            precision = _matches(str(rule.get("path", "")), steps)
            if precision > best:
                best, included = precision, verdict
    return included


def _matches(rule: str, steps: tuple[Step, ...]) -> int:
    words = [word.strip('"') for word in rule.strip("/").split("/")]
    end, fixed = words[-1], words[:-1]
    plain = ["[]" if isinstance(step, int) else step for step in steps]
    if end == "*" and plain[: len(fixed)] == fixed:
        return 2 * len(fixed)
    return 2 * len(fixed) + 1 if end == "?" and plain == fixed else -1
