"""The one table of list prices (US, pay as you go, in US dollars) by which counts are valued. Check it before quoting it.

Free monthly grants are left out: they belong to a subscription, not to a flow.
"""

from __future__ import annotations

from typing import NamedTuple

INSTANCE_GB = 2.0  # the default instance of Flex Consumption has 2,048 MB


class Price(NamedTuple):
    """What a quantity costs: `usd` for every `per` units; None where no list price is known."""

    meter: str
    unit: str
    usd: float | None
    per: float
    source: str

    def cost(self, quantity: float) -> float | None:
        """US dollars for a quantity."""
        return None if self.usd is None else quantity / self.per * self.usd


PRICES = (
    Price("executions", "executions", 0.40, 1e6, "Functions, Flex Consumption, on demand"),
    Price("gb_seconds", "GB-s", 0.000026, 1, "Functions, Flex Consumption, on demand; at least 1 s for each activity period"),
    Price("durable_actions", "actions", None, 1, "Durable Task Scheduler, Consumption: billed by action, no list price known here"),
    Price("request_units", "RU", 0.25, 1e6, "Cosmos DB, serverless"),
    Price("service_bus_operations", "operations", 0.80, 1e6, "Service Bus Standard, above the 13 million that are included"),
    Price("log_bytes", "bytes", 2.30, 1e9, "Azure Monitor logs, analytics ingestion"),
)  # fmt: skip
