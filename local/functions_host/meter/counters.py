"""Counting what Azure bills: executions, GB-seconds, log bytes; by function, and by the group that shares instances."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

# Flex Consumption: an instance is billed while it executes, at least this long, then by steps.
# https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#billing
MINIMUM_SECONDS = 1.0
STEP_SECONDS = 0.1
# An Application Insights item around a message: names, ids, times, dimensions. Our estimate, used for log bytes only.
ENVELOPE_BYTES = 1_000

_LEVELS = ("Trace", "Debug", "Information", "Warning", "Error", "Critical", "None")


def billed(seconds: float) -> float:
    """Seconds billed for one activity period of an instance: rounded up to the step, at least the minimum."""
    if seconds <= MINIMUM_SECONDS:
        return MINIMUM_SECONDS
    return math.ceil(round(seconds / STEP_SECONDS, 6)) * STEP_SECONDS


@dataclass(slots=True)
class FunctionCount:
    """Totals of one function. `billed_seconds` is what its calls would cost if each ran alone on an instance."""

    group: str
    call_bytes: int = 0  # what the host itself logs about one call
    executions: int = 0
    failures: int = 0
    seconds: float = 0.0
    billed_seconds: float = 0.0
    log_bytes: int = 0


@dataclass(slots=True)
class _Period:
    """The activity period of the one instance that a group is taken to run on.

    running        |--a--|    |-b-|                 |--c--|
    billed         |=====1 s minimum=====|           |=====...   a call inside the billed time opens no new period
    """

    start: float = 0.0
    until: float = 0.0
    running: int = 0
    total: float = 0.0


class Meter:
    """Counts of the host since its start. Times come from one monotonic clock, in seconds."""

    def __init__(self, log_levels: Mapping[str, str] | None = None) -> None:
        """Args: `log_levels` is host.json's `logging.logLevel`, which decides what reaches the log store."""
        self.functions: dict[str, FunctionCount] = {}
        self._periods: dict[str, _Period] = {}
        self._levels = {name.lower(): value for name, value in (log_levels or {"default": "Information"}).items()}
        self.durable: Callable[[], Mapping[str, int]] = dict  # the engine's totals, once there is one

    def began(self, group: str, at: float) -> None:
        """A call of the group starts."""
        period = self._periods.get(group)
        if period is None:
            period = self._periods[group] = _Period(start=at)
        elif period.running == 0 and at > period.until:
            period.total += period.until - period.start
            period.start = at
        period.running += 1

    def ended(self, function: str, group: str, start: float, at: float, failed: bool) -> None:
        """The call that began at `start` is over."""
        period = self._periods[group]
        period.running -= 1
        if period.running == 0:
            period.until = max(period.until, period.start + billed(at - period.start))
        count = self.functions.get(function) or self._count(function, group)
        count.executions += 1
        count.seconds += at - start
        count.billed_seconds += billed(at - start)
        count.log_bytes += count.call_bytes
        if failed:
            count.failures += 1

    def logged(self, function: str, level: str, size: int) -> None:
        """The function's own code logged a message of `size` bytes at a Python level."""
        named = {"WARNING": "Warning", "ERROR": "Error", "CRITICAL": "Critical", "DEBUG": "Debug"}.get(
            level, "Information"
        )
        count = self.functions.get(function)
        if count is not None and self._passes(f"Function.{function}.User", named):
            count.log_bytes += size + ENVELOPE_BYTES

    def register(self, function: str, group: str) -> None:
        """Name a function, so that it is listed before its first call."""
        self._count(function, group)

    def shared_seconds(self, now: float) -> dict[str, float]:
        """Billed seconds by group, if each group ran on one instance whose calls overlap."""
        return {
            name: period.total
            + (billed(now - period.start) if period.running else max(0.0, period.until - period.start))
            for name, period in self._periods.items()
        }

    def _count(self, function: str, group: str) -> FunctionCount:
        count = self.functions.get(function)
        if count is None:
            count = self.functions[function] = FunctionCount(group, self._call_bytes(function))
        return count

    def _call_bytes(self, function: str) -> int:
        """Bytes that the host itself logs about one call: a request item, and the lines "Executing" and "Executed"."""
        request = ENVELOPE_BYTES * self._passes("Host.Results", "Information")
        return request + 2 * ENVELOPE_BYTES * self._passes(f"Function.{function}", "Information")

    def _passes(self, category: str, level: str) -> bool:
        """Whether host.json lets a message through: the longest configured prefix of its category decides."""
        parts = category.lower().split(".")
        for length in range(len(parts), 0, -1):
            least = self._levels.get(".".join(parts[:length]))
            if least is not None:
                break
        else:
            least = self._levels.get("default", "Information")
        try:
            return _LEVELS.index(level) >= _LEVELS.index(least)
        except ValueError:
            return True
