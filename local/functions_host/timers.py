"""Timer triggers: NCRONTAB schedules, remembered over restarts, one run of a function at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol

from local.common.database import Synchronous, open_database
from local.common.errors import StartError
from local.functions_host.converters import decode_input
from local.functions_host.invoker import InvocationFailed, Invoker
from local.functions_host.log import LiveLog
from local.functions_host.model import Function
from local.functions_host.ncrontab import Schedule, ScheduleError, parse_schedule
from local.functions_host.outputs import Outputs
from local.functions_host.settings import resolve
from local.functions_host.timespan import parse_timespan

HOST_DATABASE = "host.db"
_APPLICATION_ID = 0x4D434648  # "MCFH"
_MIGRATIONS = (
    "CREATE TABLE timer (name TEXT PRIMARY KEY, schedule TEXT NOT NULL, last TEXT, next TEXT NOT NULL, updated TEXT NOT NULL)",
)
_MONITOR_FROM = timedelta(minutes=1)  # Azure remembers schedules by default from this interval on


class Clock(Protocol):
    """Time as the timers see it."""

    def now(self) -> datetime:
        """The time (aware, UTC)."""

    async def sleep_until(self, instant: datetime) -> None:
        """Return once `now()` has reached the instant."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time (aware, UTC)."""
        return datetime.now(UTC)

    async def sleep_until(self, instant: datetime) -> None:
        """Sleep in pieces of a minute at most, so that a changed clock or a suspended machine is noticed."""
        while (left := (instant - self.now()).total_seconds()) > 0:  # noqa: ASYNC110 - the time of day sends no event
            await asyncio.sleep(min(left, 60.0))


class TimerStatus(NamedTuple):
    """What is remembered of a timer."""

    schedule: str
    last: datetime | None
    next: datetime
    updated: datetime


class TimerStore:
    """The timers' state in the host's database."""

    def __init__(self, folder: Path, synchronous: Synchronous = "FULL") -> None:
        """Raises: StartError if the file is damaged, foreign or newer."""
        self._connection: sqlite3.Connection = open_database(
            folder / HOST_DATABASE, application_id=_APPLICATION_ID, migrations=_MIGRATIONS, synchronous=synchronous
        )

    def get(self, name: str) -> TimerStatus | None:
        """The status of a timer, if one is remembered."""
        row = self._connection.execute(
            "SELECT schedule, last, next, updated FROM timer WHERE name = ?", (name.lower(),)
        ).fetchone()
        if row is None:
            return None
        last = datetime.fromisoformat(row[1]) if row[1] else None
        return TimerStatus(row[0], last, datetime.fromisoformat(row[2]), datetime.fromisoformat(row[3]))

    def put(self, name: str, status: TimerStatus) -> None:
        """Remember a status."""
        self._connection.execute(
            "INSERT INTO timer VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
            " schedule = excluded.schedule, last = excluded.last, next = excluded.next, updated = excluded.updated",
            (
                name.lower(),
                status.schedule,
                status.last.isoformat() if status.last else None,
                status.next.isoformat(),
                status.updated.isoformat(),
            ),
        )

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


@dataclass(slots=True)
class _Timer:
    function: Function
    schedule: Schedule
    monitored: bool
    run_on_startup: bool
    lock: asyncio.Lock
    next: datetime | None = None


class TimerService:
    """Runs the app's timer functions when they are due."""

    def __init__(
        self,
        functions: Iterable[Function],
        *,
        invoker: Invoker,
        outputs: Outputs,
        store: TimerStore,
        log: LiveLog,
        clock: Clock | None = None,
    ) -> None:
        """Raises: StartError if a schedule is wrong or names a missing app setting."""
        self._invoker, self._outputs, self._store, self._log = invoker, outputs, store, log
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._timers: dict[str, _Timer] = {}
        self._tasks: list[asyncio.Task[None]] = []
        for function in functions:
            if function.kind == "timerTrigger" and not function.disabled:
                self._timers[function.name.lower()] = self._prepare(function)

    def start(self) -> None:
        """Begin; timers that came due while the host was down run at once."""
        self._tasks = [asyncio.create_task(self._keep(timer)) for timer in self._timers.values()]

    async def stop(self) -> None:
        """End; a run in flight is cancelled."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def has(self, name: str) -> bool:
        """Whether there is such a timer."""
        return name.lower() in self._timers

    async def run_now(self, name: str) -> None:
        """Run a timer function outside of its schedule."""
        timer = self._timers[name.lower()]
        await self._run(timer, self._clock.now(), past_due=False, why="by hand")

    def _prepare(self, function: Function) -> _Timer:
        text = resolve(str(function.trigger.raw["schedule"]), f"function {function.name} (schedule)")
        try:
            schedule = parse_schedule(text)
        except ScheduleError as error:
            raise StartError(f"function {function.name} ({function.source}): the schedule {error}") from error
        chosen = function.trigger.raw.get("useMonitor")
        monitored = _interval(schedule, self._clock.now()) >= _MONITOR_FROM if chosen is None else bool(chosen)
        return _Timer(
            function, schedule, monitored, bool(function.trigger.raw.get("runOnStartup")), lock=asyncio.Lock()
        )

    async def _keep(self, timer: _Timer) -> None:
        now = self._clock.now()
        status = self._store.get(timer.function.name) if timer.monitored else None
        past_due = status is not None and status.schedule == timer.schedule.text and status.next <= now
        if past_due or timer.run_on_startup:
            why = f"past due since {status.next:%H:%M:%S}" if past_due and status is not None else "on start-up"
            await self._run(timer, now, past_due=past_due, why=why)
        scheduled = timer.schedule.next_after(now)
        while scheduled is not None:
            timer.next = scheduled
            self._remember(timer, scheduled, last=status.last if status else None)
            await self._clock.sleep_until(scheduled)
            # The next instant follows from the scheduled one, not from now: a sleep that wakes a moment early would
            # otherwise fire the same tick twice. A run that outlasts its interval is followed by one run, not by all
            # that were missed.
            following = timer.schedule.next_after(scheduled)
            await self._run(timer, scheduled, past_due=False, why=f"tick {scheduled:%H:%M:%S}")
            status = self._store.get(timer.function.name) if timer.monitored else None
            now = self._clock.now()
            scheduled = following if following is None or following > now else now

    async def _run(self, timer: _Timer, instant: datetime, *, past_due: bool, why: str) -> None:
        async with timer.lock:
            start = time.perf_counter()
            error: str | None = None
            try:
                await _with_retries(timer.function, lambda: self._call(timer, past_due))
            except InvocationFailed as failure:
                error = failure.told
            self._log.invocation("timer", why, timer.function.name, time.perf_counter() - start, error)
            following = timer.schedule.next_after(max(instant, self._clock.now()))
            if following is not None:
                self._remember(timer, following, last=instant)

    async def _call(self, timer: _Timer, past_due: bool) -> None:
        status = self._store.get(timer.function.name) if timer.monitored else None
        text = json.dumps(
            {
                "Schedule": {"AdjustForDST": True},
                "ScheduleStatus": None
                if status is None
                else {
                    "Last": (status.last or datetime.min.replace(tzinfo=UTC)).isoformat(),
                    "Next": status.next.isoformat(),
                    "LastUpdated": status.updated.isoformat(),
                },
                "IsPastDue": past_due,
            }
        )
        value = decode_input(timer.function.trigger.converter, text, "json")
        _, outputs = await self._invoker.call(timer.function, value)
        if outputs:
            await self._outputs.send(outputs)

    def _remember(self, timer: _Timer, following: datetime, last: datetime | None) -> None:
        if timer.monitored:
            self._store.put(timer.function.name, TimerStatus(timer.schedule.text, last, following, self._clock.now()))


def _interval(schedule: Schedule, now: datetime) -> timedelta:
    first = schedule.next_after(now)
    second = schedule.next_after(first) if first is not None else None
    return second - first if first is not None and second is not None else timedelta.max


async def _with_retries(function: Function, call: Callable[[], Awaitable[None]]) -> None:
    """Call as the function's retry policy says (https://learn.microsoft.com/azure/azure-functions/functions-bindings-error-pages)."""
    policy = function.settings.get("retry_policy") or {}
    most = int(policy.get("max_retry_count") or 0)
    attempt = 0
    while True:
        try:
            await call()
            return
        except InvocationFailed:
            if not policy or (most >= 0 and attempt >= most):
                raise
            await asyncio.sleep(_retry_delay(policy, attempt))
            attempt += 1


def _retry_delay(policy: dict[str, str], attempt: int) -> float:
    if policy.get("strategy") == "exponential_backoff":
        least, most = (parse_timespan(str(policy[name])) for name in ("minimum_interval", "maximum_interval"))
        return float(min(most, least * 2 ** min(attempt, 30)))
    return parse_timespan(str(policy.get("delay_interval", "00:00:00")))
