"""The meter's counts as one document, with what they would cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from local.functions_host.meter.counters import FunctionCount, Meter
from local.functions_host.meter.prices import INSTANCE_GB, PRICES, Price


def make_report(meter: Meter, sources: Mapping[str, Mapping[str, Any]], *, since: float) -> dict[str, Any]:
    """Counts by function and group, totals and their list price.

    Args:
        meter: the host's own counts.
        sources: counters of other parts by name; `request_units` and `operations` at their top level are added up.
        since: Unix time from which the counts run.
    """
    durable = dict(meter.durable())
    groups = {name: round(seconds * INSTANCE_GB, 3) for name, seconds in meter.shared_seconds(time.monotonic()).items()}
    totals: dict[str, float] = {
        "executions": sum(count.executions for count in meter.functions.values()),
        "gb_seconds": round(sum(groups.values()), 3),
        "durable_actions": durable.get("actions", 0),
        "request_units": _sum(sources, "request_units"),
        "service_bus_operations": _sum(sources, "operations"),
        "log_bytes": sum(count.log_bytes for count in meter.functions.values()),
    }
    cost = [_costing(price, totals[price.meter]) for price in PRICES]
    return {
        "since": datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds"),
        "functions": [_counted(name, count) for name, count in sorted(meter.functions.items())],
        "gb_seconds_by_group": groups,
        "gb_seconds_alone": round(sum(count.billed_seconds for count in meter.functions.values()) * INSTANCE_GB, 3),
        "durable": durable,
        "sources": dict(sources),
        "totals": totals,
        "cost": cost,
        "usd": sum(each["usd"] for each in cost if isinstance(each["usd"], float)),
    }


def _counted(name: str, count: FunctionCount) -> dict[str, Any]:
    return {
        "name": name,
        "group": count.group,
        "executions": count.executions,
        "failures": count.failures,
        "seconds": round(count.seconds, 4),
        "gb_seconds_alone": round(count.billed_seconds * INSTANCE_GB, 3),
        "log_bytes": count.log_bytes,
    }


def _costing(price: Price, quantity: float) -> dict[str, Any]:
    return {
        "meter": price.meter,
        "quantity": quantity,
        "unit": price.unit,
        "usd": price.cost(quantity),
        "price": f"${price.usd:g} per {price.per:,.0f}" if price.usd is not None else "not known",
        "source": price.source,
    }


def _sum(sources: Mapping[str, Mapping[str, Any]], name: str) -> float:
    found = [source[name] for source in sources.values() if isinstance(source.get(name), int | float)]
    return round(float(sum(found)), 2)


def one_line(report: Mapping[str, Any]) -> str:
    """The report in one line, for the end of a run."""
    totals = report["totals"]
    parts = [f"{totals['executions']:,} executions", f"{totals['gb_seconds']:,.1f} GB-s"]
    for name, label in (
        ("durable_actions", "durable actions"),
        ("request_units", "RU"),
        ("service_bus_operations", "Service Bus operations"),
    ):
        if totals[name]:
            parts.append(f"{totals[name]:,.0f} {label}")
    parts.append(f"{totals['log_bytes'] / 1e6:,.2f} MB of logs")
    return f"Azure would have billed {', '.join(parts)}: ${report['usd']:.6f} at list prices"
