"""What Service Bus would bill: operations per queue and connections, counted since the start."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

MAX_ROWS = 1000
BILLED_UNIT = 64 * 1024  # a message counts once for every 64 KiB begun


@dataclass(slots=True)
class Operations:
    """Operations on one queue."""

    sends: int = 0
    deliveries: int = 0
    settlements: int = 0
    management: int = 0

    def total(self) -> int:
        """All of them."""
        return self.sends + self.deliveries + self.settlements + self.management


def units(size: int) -> int:
    """How many operations a message of this size counts for."""
    return max(1, -(-size // BILLED_UNIT))


class Meter:
    """Counters since the start of the process."""

    def __init__(self) -> None:
        self.queues: defaultdict[str, Operations] = defaultdict(Operations)
        self.connections = 0
        self.connections_peak = 0
        self.connections_total = 0

    def connected(self) -> None:
        """A connection was opened."""
        self.connections += 1
        self.connections_total += 1
        self.connections_peak = max(self.connections_peak, self.connections)

    def disconnected(self) -> None:
        """A connection has ended."""
        self.connections -= 1

    def to_json(self) -> dict[str, object]:
        """Totals since start, and the busiest queues."""
        busiest = sorted(self.queues.items(), key=lambda item: (-item[1].total(), item[0]))[:MAX_ROWS]
        rows = {
            name: {
                "sends": one.sends, "deliveries": one.deliveries, "settlements": one.settlements,
                "management": one.management, "operations": one.total(),
            }
            for name, one in busiest
        }  # fmt: skip
        return {
            "operations": sum(one.total() for one in self.queues.values()),
            "queues": rows,
            "connections": {
                "now": self.connections, "peak": self.connections_peak, "total": self.connections_total,
            },
        }  # fmt: skip
