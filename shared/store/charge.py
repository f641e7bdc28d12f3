"""What a call cost in the store: request units, counted per request and told to telemetry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from shared.platform import telemetry


@dataclass(slots=True)
class Charge:
    """Request units and number of calls within one block of `measured()`."""

    units: float = 0.0
    calls: int = 0
    by_operation: dict[str, float] = field(default_factory=dict)

    def add(self, operation: str, units: float) -> None:
        """Count one call."""
        self.units += units
        self.calls += 1
        self.by_operation[operation] = self.by_operation.get(operation, 0.0) + units


#: Where calls of the present request are counted.
current: ContextVar[Charge | None] = ContextVar("store_charge", default=None)


@contextmanager
def measured() -> Iterator[Charge]:
    """Count what the store charges inside the block; an outer block counts it too."""
    outer, charge = current.get(), Charge()
    token = current.set(charge)
    try:
        yield charge
    finally:
        current.reset(token)
        if outer is not None:
            outer.units += charge.units
            outer.calls += charge.calls
            for operation, units in charge.by_operation.items():
                outer.by_operation[operation] = outer.by_operation.get(operation, 0.0) + units


def record(operation: str, container: str, headers: Mapping[str, str]) -> None:
    """Note the charge that a reply of the store names (`x-ms-request-charge`)."""
    units = float(headers.get("x-ms-request-charge") or 0.0)
    charge = current.get()
    if charge is not None:
        charge.add(f"{container}.{operation}", units)
    telemetry.counter("store.request_units", "{RU}").add(units, {"operation": operation, "container": container})
