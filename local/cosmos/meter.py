"""Counts requests and request units since the start, per container and kind of operation."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from local.cosmos.charges import Operation


class Meter:
    """Totals for whoever wants to show costs. Holds names of containers and numbers, nothing of their content."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._counts: dict[tuple[str, str, Operation], list[float]] = defaultdict(lambda: [0, 0.0])
        self.throttled = 0

    def record(self, database: str, container: str, operation: Operation, charge: float) -> None:
        """One request was answered."""
        entry = self._counts[database, container, operation]
        entry[0] += 1
        entry[1] += charge

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
        return {
            "started_at": self._started,
            "requests": requests,
            "request_units": round(units, 2),
            "throttled": self.throttled,
            "containers": containers,
        }
