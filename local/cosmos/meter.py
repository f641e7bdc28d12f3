"""Counts requests and request units since the start, per container and kind of operation, and per kind of item.

The kind of an item is what its id begins with, up to the first of `_`, `:` and `-`: `srv` of `srv_01J9Z...`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from local.cosmos.charges import Operation
from local.cosmos.http import Done

MOST_KINDS: Final = 1_000  # per container; ids without such a beginning would make one each
_END: Final = re.compile(r"[_:-]")


class Meter:
    """Totals for whoever wants to show costs. Holds names of containers and numbers, nothing of their content."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._counts: dict[tuple[str, str, Operation], list[float]] = defaultdict(lambda: [0, 0.0])
        self._kinds: dict[str, dict[str, list[float]]] = defaultdict(dict)
        self.throttled = 0

    def record(
        self, database: str, container: str, operation: Operation, charge: float, done: Sequence[Done] = ()
    ) -> None:
        """One request was answered."""
        entry = self._counts[database, container, operation]
        entry[0] += 1
        entry[1] += charge
        kinds = self._kinds[f"{database}/{container}"]
        for one in done:
            kind = f"{one.operation} {_END.split(one.id, 1)[0]}"
            counted = kinds.get(kind) or (kinds.setdefault(kind, [0, 0.0]) if len(kinds) < MOST_KINDS else None)
            if counted is not None:
                counted[0] += 1
                counted[1] += one.charge

    def totals(self) -> dict[str, Any]:
        """The totals as JSON."""
        containers: dict[str, Any] = {}
        requests, units = 0, 0.0
        for (database, container, operation), (count, charge) in sorted(self._counts.items()):
            requests += int(count)
            units += charge
            if not container:
                continue
            entry = containers.setdefault(
                f"{database}/{container}", {"requests": 0, "request_units": 0.0, "operations": {}}
            )
            entry["requests"] += int(count)
            entry["request_units"] = round(entry["request_units"] + charge, 2)
            entry["operations"][str(operation)] = {"requests": int(count), "request_units": round(charge, 2)}
        for name, entry in containers.items():
            entry["kinds"] = {
                kind: {"requests": int(count), "request_units": round(charge, 2)}
                for kind, (count, charge) in sorted(self._kinds[name].items())
            }
        return {
            "started_at": self._started,
            "requests": requests,
            "request_units": round(units, 2),
            "throttled": self.throttled,
            "containers": containers,
        }
