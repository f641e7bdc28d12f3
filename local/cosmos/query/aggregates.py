"""COUNT, SUM, AVG, MIN, MAX, COUNTIF.

Undefined values are left out. A value that does not fit makes SUM and AVG undefined, as it does in the service.
https://learn.microsoft.com/azure/cosmos-db/nosql/query/aggregate-functions
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from local.cosmos.jsonvalue import UNDEFINED, Rank, Value, is_number, number, rank, sort_key


class Accumulator(Protocol):
    """Takes one value a row, then tells the result."""

    def add(self, value: Value) -> None:
        """One more row."""

    def result(self) -> Value:
        """The aggregate so far."""


class Count:
    """COUNT."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, value: Value) -> None:
        """One more row."""
        if value is not UNDEFINED:
            self.total += 1

    def result(self) -> Value:
        """How many values were defined."""
        return self.total


class CountIf:
    """COUNTIF."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, value: Value) -> None:
        """One more row."""
        if value is True:
            self.total += 1

    def result(self) -> Value:
        """How many values were true."""
        return self.total


class Sum:
    """SUM; 0 over nothing."""

    def __init__(self) -> None:
        self.total: float = 0
        self.count = 0
        self.spoilt = False

    def add(self, value: Value) -> None:
        """One more row."""
        if value is UNDEFINED:
            return
        if not is_number(value):
            self.spoilt = True
            return
        self.total += value
        self.count += 1

    def result(self) -> Value:
        """The sum."""
        return UNDEFINED if self.spoilt else number(self.total)


class Average(Sum):
    """AVG; undefined over nothing."""

    def result(self) -> Value:
        """The mean."""
        return UNDEFINED if self.spoilt or not self.count else number(self.total / self.count)


class _Extreme(ABC):
    def __init__(self) -> None:
        self.best: Value = UNDEFINED
        self.spoilt = False

    def add(self, value: Value) -> None:
        """One more row."""
        if value is UNDEFINED:
            return
        if rank(value) >= Rank.ARRAY:
            self.spoilt = True
        elif self.best is UNDEFINED or self.better(value):
            self.best = value

    @abstractmethod
    def better(self, value: Value) -> bool:
        """Whether `value` beats the best so far."""

    def result(self) -> Value:
        """The extreme; undefined over nothing, or when an array or object was among the values."""
        return UNDEFINED if self.spoilt else self.best


class Minimum(_Extreme):
    """MIN."""

    def better(self, value: Value) -> bool:
        """Whether `value` is less."""
        return sort_key(value) < sort_key(self.best)


class Maximum(_Extreme):
    """MAX."""

    def better(self, value: Value) -> bool:
        """Whether `value` is greater."""
        return sort_key(value) > sort_key(self.best)


ACCUMULATORS: dict[str, type[Accumulator]] = {
    "COUNT": Count,
    "COUNTIF": CountIf,
    "SUM": Sum,
    "AVG": Average,
    "MIN": Minimum,
    "MAX": Maximum,
}
