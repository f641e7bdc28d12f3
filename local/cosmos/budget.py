"""A budget of request units a second for each container: what is above it gets 429, as provisioned throughput does."""

from __future__ import annotations

import math

from local.cosmos.errors import CosmosError, Substatus


class Budget:
    """Units used in the present second, per container."""

    def __init__(self, units_a_second: float) -> None:
        self._limit = units_a_second
        self._used: dict[int, tuple[int, float]] = {}

    def admit(self, container: int, now: float) -> None:
        """Let a request in while the second's budget is not used up; the last one may overdraw it, as in the service.

        Raises:
            CosmosError: 429 with the time after which to come again.
        """
        second, used = self._used.get(container, (0, 0.0))
        if second == int(now) and used >= self._limit:
            wait = max(1, math.ceil((second + 1 - now) * 1000))
            raise CosmosError(
                429,
                f"Request rate is large: {used:g} of {self._limit:g} request units of this second are used.",
                substatus=Substatus.RU_BUDGET_EXCEEDED,
                headers={"x-ms-retry-after-ms": str(wait)},
                charge=0.38,
            )

    def charge(self, container: int, now: float, units: float) -> None:
        """Book what a request cost."""
        second, used = self._used.get(container, (0, 0.0))
        self._used[container] = (int(now), units + (used if second == int(now) else 0.0))
