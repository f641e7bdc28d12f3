"""A bounded memory with expiry: what was looked up a moment ago need not be looked up again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from shared.platform.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

CAPACITY = 10_000


class Memory(Generic[K, V]):
    """At most `capacity` entries, each for `seconds`; when full, the one used longest ago goes."""

    def __init__(self, clock: Clock, seconds: float, capacity: int = CAPACITY) -> None:
        self._clock, self._seconds, self._capacity = clock, seconds, capacity
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """What is remembered, unless its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._clock.monotonic() >= entry[0]:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: K, value: V) -> None:
        """Remember it from now on."""
        self._entries[key] = (self._clock.monotonic() + self._seconds, value)
        self._entries.move_to_end(key)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def forget(self, belongs: Callable[[K], bool]) -> None:
        """Drop the entries whose key belongs."""
        for key in [key for key in self._entries if belongs(key)]:
            del self._entries[key]

    def clear(self) -> None:
        """Drop everything."""
        self._entries.clear()
