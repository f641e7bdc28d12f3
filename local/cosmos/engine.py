"""What the handlers share: storage, key, options, meter."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from local.cosmos.auth import MasterKey
from local.cosmos.budget import Budget
from local.cosmos.continuation import TokenSigner
from local.cosmos.faults import Faults
from local.cosmos.meter import Meter
from local.cosmos.model import Container
from local.cosmos.storage import Storage

MAX_RANGES = 8


@dataclass(frozen=True, slots=True)
class Options:
    """Switches of the endpoint."""

    ranges: int = 1  # physical partitions that are pretended, 1 to MAX_RANGES
    strict: bool = True  # cross-partition queries are answered with a query plan, as the service does
    deny_cross_partition: bool = False  # a query or feed without a partition key gets 403: finds tenant leaks
    push_down: bool = True
    faults: bool = False
    budget: float | None = None  # request units a second and container


@dataclass(slots=True)
class Engine:
    """One account."""

    storage: Storage
    key: MasterKey
    tokens: TokenSigner
    options: Options = field(default_factory=Options)
    clock: Callable[[], float] = time.time
    meter: Meter = field(init=False)
    budget: Budget | None = field(init=False)
    faults: Faults = field(init=False)
    threads: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.meter = Meter(self.clock())
        self.budget = None if self.options.budget is None else Budget(self.options.budget)
        self.faults = Faults()
        self.threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="query")

    def range_bounds(self) -> list[tuple[str, str]]:
        """The hash ring cut into the pretended physical partitions."""
        count = self.options.ranges
        # Effective keys start with two zero bits, so the used ring is 00..3F.
        cuts = [f"{0x40 * number // count:02X}" for number in range(1, count)]
        return list(zip(["", *cuts], [*cuts, "FF"], strict=True))

    def range_at(self, epk: str) -> str:
        """The id of the pretended physical partition that holds a place of the ring; "" is the beginning."""
        if self.options.ranges == 1:
            return "0"
        return str(bisect_right([start for start, _ in self.range_bounds()], epk) - 1)

    @staticmethod
    def session_token(container: Container) -> str:
        """How far the container's log has come."""
        return f"0:-1#{container.lsn}"

    def close(self) -> None:
        """Finish."""
        self.threads.shutdown(wait=True, cancel_futures=True)
        self.storage.close()
