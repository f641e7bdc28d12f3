"""How often: windows of a minute, counted here, shared between instances through the store.

The minute slides: what the last window counted still counts for the part of it that is less than a minute ago, as if its
calls had come evenly. So nobody gets twice the limit around the turn of a minute, and it costs nothing but arithmetic.

Each instance counts for itself and adds what is new to the shared window whenever that has grown by a twentieth of the
limit, then knows the sum. So n instances together let through at most limit * (1 + n/20), and a call costs a store
operation one time in many. Where the sum cannot be had the limiter fails open: this instance goes on by its own count
alone, and `meridian.rate_limit.unshared` counts how often.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from shared.http.rates import RATE_CLASSES, WINDOW_SECONDS, Dimension, RateClass
from shared.platform import telemetry
from shared.platform.clock import Clock
from shared.platform.errors import Fault, RateLimited
from shared.store.unscoped import Directory, DirectoryEntry, directory_id

if TYPE_CHECKING:
    from shared.http.call import Call
    from shared.http.principal import Principal
    from shared.http.request import Request

SHARE_FRACTION: Final = 20
SHARE_TIMEOUT_SECONDS: Final = 0.5
PAUSE_AFTER_FAILURE_SECONDS: Final = 5.0
MAX_WINDOWS: Final = 200_000


class RateWindow(DirectoryEntry):
    """The sum of all instances for one window."""

    type: Literal["rate_window"] = "rate_window"
    n: int = 0


class SharedWindows(Protocol):
    """Where instances add up their counts."""

    async def add(self, window: str, amount: int, ttl: int) -> int:
        """Add to a window; the sum so far, of all instances."""


class StoredWindows:
    """Shared windows in the directory container, forgotten by TTL."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def add(self, window: str, amount: int, ttl: int) -> int:
        """See `SharedWindows.add`."""
        return int((await self._directory.add(RateWindow, directory_id("rate", window), {"n": amount}, ttl))["n"])


_Key = tuple[str, str, str]  # rate class, dimension, who


@dataclass(slots=True)
class _Window:
    mine: int = 0
    told: int = 0
    others: int = 0
    telling: bool = False

    @property
    def total(self) -> int:
        """Calls of all instances, as far as is known here."""
        return self.mine + self.others


class RateLimiter:
    """Counts calls and refuses those above the limit of the route's class."""

    def __init__(self, clock: Clock, shared: SharedWindows | None, *, enabled: bool = True) -> None:
        self._clock, self._shared, self._enabled = clock, shared, enabled
        self._number = -1
        self._windows: dict[_Key, _Window] = {}
        self._before: dict[_Key, _Window] = {}
        self._ends = float("-inf")
        self._limits = {
            name: tuple((dimension, limit, max(1, limit // SHARE_FRACTION)) for dimension, limit in rate.limits())
            for name, rate in RATE_CLASSES.items()
        }
        self._policies = {name: rate.policy for name, rate in RATE_CLASSES.items()}
        self._paused_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def check(self, call: Call, headers: dict[str, str]) -> None:
        """Count the call; put the `RateLimit` fields into `headers`.

        Raises:
            RateLimited: a limit is reached; says which, and when to come back.
        """
        await self.count(call.route.rate, call.principal, call.request, headers)

    async def count(self, rate: str, principal: Principal, request: Request, headers: dict[str, str]) -> None:
        """As `check`, for a class by name."""
        if not self._enabled:
            return
        rest = self._turn()
        ends = max(1, int(rest))
        headers["RateLimit-Policy"] = self._policies[rate]
        least, tightest, left = 2.0, "", 0
        counted: list[tuple[Dimension, str, _Window, int]] = []
        for dimension, limit, step in self._limits[rate]:
            who = _who(dimension, principal, request)
            if not who:
                continue
            key = (rate, dimension, who)
            window = self._windows.get(key) or self._new_window(key)
            before = self._before.get(key)
            remaining = limit - window.total - _carried(before, rest) - 1
            if remaining < 0:
                raise self._refuse(rate, dimension, limit, _room_in(window, before, limit, rest), headers)
            counted.append((dimension, who, window, step))
            if remaining < least * limit:
                least, tightest, left = remaining / limit, dimension, remaining
        for dimension, who, window, step in counted:  # only now: a refused person does not use up their organization's
            window.mine += 1
            if window.mine - window.told >= step and not window.telling:
                await self._tell(RATE_CLASSES[rate], dimension, who, window)
        if tightest:
            headers["RateLimit"] = f'"{tightest}";r={left};t={ends}'

    def _turn(self) -> float:
        """Seconds that the present window still has; begins a new one when the minute is over."""
        rest = self._ends - self._clock.monotonic()
        if rest <= 0:
            moment = self._clock.now().timestamp()
            number = int(moment // WINDOW_SECONDS)
            rest = (number + 1) * WINDOW_SECONDS - moment
            self._ends = self._clock.monotonic() + rest
            if number != self._number:  # the two clocks may disagree by a little about when
                self._before = self._windows if number == self._number + 1 else {}
                self._number, self._windows = number, {}
        return rest

    @staticmethod
    def _refuse(rate: str, dimension: str, limit: int, wait: int, headers: dict[str, str]) -> RateLimited:
        headers["RateLimit"] = f'"{dimension}";r=0;t={wait}'
        telemetry.counter("rate_limit.refused").add(1, {"class": rate, "dimension": dimension})
        return RateLimited(
            f"{limit} calls a minute of the class {rate} for each {dimension} are reached; come back in {wait} s",
            retry_after=wait,
            limit=limit,
            window_seconds=WINDOW_SECONDS,
            dimension=dimension,
        )

    def refused_before(self, request: Request, headers: dict[str, str]) -> None:
        """Refuse an address that has lately come with too many proofs that did not hold. Costs one look-up.

        Raises:
            RateLimited: it has.
        """
        if not self._enabled or not (self._windows or self._before):
            return
        key = ("refused", "address", request.address)
        if key not in self._windows and key not in self._before:
            return
        rest, limit = self._turn(), RATE_CLASSES["refused"].address or 0
        window, before = self._windows.get(key) or _Window(), self._before.get(key)
        if window.total + _carried(before, rest) >= limit:
            headers["RateLimit-Policy"] = self._policies["refused"]
            raise self._refuse("refused", "address", limit, _room_in(window, before, limit, rest), headers)

    async def settled(self) -> None:
        """Wait until everything that was being told to the store is told."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    def _new_window(self, key: _Key) -> _Window:
        window = _Window()
        if len(self._windows) < MAX_WINDOWS:
            self._windows[key] = window
        else:  # more callers in a minute than we keep count of: the newest are let through
            telemetry.counter("rate_limit.uncounted").add(1, {"class": key[0]})
        return window

    async def _tell(self, rate: RateClass, dimension: str, who: str, window: _Window) -> None:
        if self._shared is None or self._clock.monotonic() < self._paused_until:
            return
        window.telling = True
        name = f"{rate.name}:{dimension}:{who}:{self._number}"
        if rate.strict:
            await self._share(self._shared, name, window)
        else:
            task = asyncio.get_running_loop().create_task(self._share(self._shared, name, window))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _share(self, shared: SharedWindows, name: str, window: _Window) -> None:
        amount = window.mine - window.told
        try:
            async with asyncio.timeout(SHARE_TIMEOUT_SECONDS):
                total = await shared.add(name, amount, 2 * WINDOW_SECONDS)
            window.told += amount
            window.others = max(0, total - window.told)
        except (Fault, TimeoutError):  # fails open: a store that is away must not lock everybody out
            self._paused_until = self._clock.monotonic() + PAUSE_AFTER_FAILURE_SECONDS
            telemetry.counter("rate_limit.unshared").add(1)
        finally:
            window.telling = False


def _carried(before: _Window | None, rest: float) -> int:
    """What still counts of the last window: all at its end, nothing a minute later. Rounded up, so that no part is lost."""
    return math.ceil(before.total * rest / WINDOW_SECONDS) if before else 0


def _room_in(window: _Window, before: _Window | None, limit: int, rest: float) -> int:
    """Seconds until one more call fits, if none comes before."""
    free = limit - 1 - window.total
    if free >= 0 and before is not None and before.total:
        return max(1, math.ceil(rest - free * WINDOW_SECONDS / before.total))
    return max(1, math.ceil(rest + WINDOW_SECONDS * (1 - (limit - 1) / max(window.total, 1))))


def _who(dimension: str, principal: Principal, request: Request) -> str:
    """Who the caller is in that dimension; empty where it is nobody."""
    if dimension == "address":
        return request.address
    if dimension == "org":
        return principal.org or ""
    if dimension == "client":  # API keys are no front end: one organization's scripts must not use up another's
        return "" if principal.kind == "api_key" else principal.client
    return "" if principal.kind == "anonymous" else principal.id
