"""How many values of an item are indexed: what a write costs beside its size.

https://learn.microsoft.com/azure/cosmos-db/index-policy: every scalar at an indexed path is a value, each element of an array
by itself; a path that is included by name is indexed as undefined in the items that lack it. `id` and `_ts` always are, and
are part of what every write costs.
"""

from __future__ import annotations

from typing import Any

from local.cosmos.query.indexes import is_indexed
from local.cosmos.query.properties import Step

#: Part of the price of every write, or never indexed unless a rule names them.
APART = ("id", "_ts", "_rid", "_self", "_etag", "_attachments")


class Terms:
    """Counts by one indexing policy."""

    def __init__(self, policy: dict[str, Any]) -> None:
        self._policy = policy
        self._known: dict[tuple[Step, ...], bool] = {}
        paths = [str(rule.get("path", "")) for rule in policy.get("includedPaths") or []]
        self._named = [_words(path) for path in paths if path != "/*"]
        # Where nothing but named paths is included, nothing else is looked at.
        self._roots = None if "/*" in paths else {words[0] for words in self._named}
        self._none = str(policy.get("indexingMode", "consistent")).lower() == "none"

    def count(self, item: dict[str, Any]) -> int:
        """The indexed values of an item."""
        if self._none:
            return 0
        total = sum(not _present(item, words) for words in self._named)
        stack: list[tuple[tuple[Step, ...], Any]] = [
            ((name,), value)
            for name, value in item.items()
            if name not in APART and (self._roots is None or name in self._roots)
        ]
        while stack:
            steps, value = stack.pop()
            if isinstance(value, dict):
                stack += [((*steps, name), inner) for name, inner in value.items()]
            elif isinstance(value, list):
                stack += [((*steps, 0), inner) for inner in value]
            else:
                total += self._covers(steps)
        return total

    def _covers(self, steps: tuple[Step, ...]) -> bool:
        known = self._known.get(steps)
        if known is None:
            known = is_indexed(self._policy, steps)
            if len(self._known) < 10_000:  # names that tenants chose are among them
                self._known[steps] = known
        return known


def _words(path: str) -> tuple[str, ...]:
    """A rule's path without its end (`?` or `*`)."""
    return tuple(word.strip('"') for word in path.strip("/").split("/")[:-1])


def _present(item: Any, words: tuple[str, ...]) -> bool:
    """Whether an item has something at a path; below an array that is left open, and taken as there."""
    for word in words:
        if isinstance(item, list):
            return True
        if not isinstance(item, dict) or word not in item:
            return False
        item = item[word]
    return True
