"""Timer triggers under a clock that the test moves."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import azure.functions as func
import pytest

from local.common.errors import StartError
from local.functions_host.invoker import Invoker
from local.functions_host.loader import index_app
from local.functions_host.log import LiveLog
from local.functions_host.meter.counters import Meter
from local.functions_host.outputs import NoOutputs
from local.functions_host.timers import TimerService, TimerStatus, TimerStore

START = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


class FakeClock:
    """Moves only when told; sleepers wake in the order of their instants."""

    def __init__(self) -> None:
        self.time = START
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self.time

    async def sleep_until(self, instant: datetime) -> None:
        if instant <= self.time:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((instant, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move on, waking everyone on the way at their own instant."""
        until = self.time + timedelta(seconds=seconds)
        await _settle()
        while due := sorted((each for each in self._sleepers if each[0] <= until), key=lambda each: each[0]):
            self.time = max(self.time, due[0][0])
            self._sleepers.remove(due[0])
            if not due[0][1].done():  # its service was stopped
                due[0][1].set_result(None)
            await _settle()
        self.time = until
        await _settle()


async def _settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


class Rig:
    """Timer functions of one app over one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, FakeClock()
        self.gate: asyncio.Event | None = None
        self.failures = 0
        self._open: list[TimerStore] = []
        self.runs: list[dict[str, Any]] = []

    def service(self, schedule: str, *, retry: bool = False, **options: Any) -> TimerService:
        app = func.FunctionApp()

        async def tick(timer: func.TimerRequest) -> None:
            self.runs.append({"at": self.clock.now(), "past_due": timer.past_due, "status": timer.schedule_status})
            if self.failures:
                self.failures -= 1
                raise ValueError("told to")
            if self.gate is not None:
                await self.gate.wait()

        builder = app.timer_trigger(arg_name="timer", schedule=schedule, **options)(tick)
        if retry:
            app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:00")(builder)
        functions = index_app(app, Path("/nowhere"))
        store = TimerStore(self.folder, "NORMAL")
        self._open.append(store)
        return TimerService(
            functions,
            invoker=Invoker(self.folder, 1, None, Meter()),
            outputs=NoOutputs(),
            store=store,
            log=LiveLog(io.StringIO()),
            clock=self.clock,
        )

    def close(self) -> None:
        for store in self._open:
            store.close()

    @property
    def times(self) -> list[str]:
        return [f"{run['at']:%H:%M:%S}" for run in self.runs]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


async def test_every_tick_once(rig: Rig) -> None:
    service = rig.service("*/10 * * * * *")
    service.start()
    await rig.clock.advance(35)
    await service.stop()
    assert rig.times == ["12:00:10", "12:00:20", "12:00:30"]
    assert [run["past_due"] for run in rig.runs] == [False] * 3


async def test_on_start_up_if_asked(rig: Rig) -> None:
    service = rig.service("0 0 * * * *", run_on_startup=True)
    service.start()
    await rig.clock.advance(1)
    await service.stop()
    assert rig.times == ["12:00:00"]


async def test_a_tick_that_passed_while_the_host_was_down_runs_once_and_says_so(rig: Rig) -> None:
    first = rig.service("0 */5 * * * *")
    first.start()
    await rig.clock.advance(5 * 60)
    await first.stop()
    rig.clock.time += timedelta(minutes=17)
    second = rig.service("0 */5 * * * *")
    second.start()
    await rig.clock.advance(4 * 60)
    await second.stop()
    assert rig.times == ["12:05:00", "12:22:00", "12:25:00"]
    assert [run["past_due"] for run in rig.runs] == [False, True, False]
    assert rig.runs[1]["status"]["Last"] == "2026-01-01T12:05:00+00:00"
    assert rig.runs[1]["status"]["Next"] == "2026-01-01T12:10:00+00:00"


async def test_a_restart_before_the_tick_is_not_past_due(rig: Rig) -> None:
    first = rig.service("0 */5 * * * *")
    first.start()
    await rig.clock.advance(60)
    await first.stop()
    second = rig.service("0 */5 * * * *")
    second.start()
    await rig.clock.advance(60)
    await second.stop()
    assert rig.runs == []


async def test_a_changed_schedule_forgets_the_old_one(rig: Rig) -> None:
    first = rig.service("0 */5 * * * *")
    first.start()
    await rig.clock.advance(1)
    await first.stop()
    rig.clock.time += timedelta(minutes=30)
    second = rig.service("0 0 * * * *")
    second.start()
    await rig.clock.advance(1)
    await second.stop()
    assert rig.runs == []


@pytest.mark.parametrize(
    ("schedule", "options", "remembered"),
    [
        pytest.param("0 * * * * *", {}, True, id="a minute or longer is remembered"),
        pytest.param("*/30 * * * * *", {}, False, id="shorter is not"),
        pytest.param("*/30 * * * * *", {"use_monitor": True}, True, id="unless asked for"),
        pytest.param("0 * * * * *", {"use_monitor": False}, False, id="or asked not to"),
    ],
)
async def test_what_is_remembered(rig: Rig, schedule: str, options: dict[str, Any], remembered: bool) -> None:
    first = rig.service(schedule, **options)
    first.start()
    await rig.clock.advance(61)
    await first.stop()
    rig.runs.clear()
    rig.clock.time += timedelta(hours=1)
    second = rig.service(schedule, **options)
    second.start()
    await _settle()
    await second.stop()
    assert [run["past_due"] for run in rig.runs] == ([True] if remembered else [])


async def test_one_run_at_a_time_and_one_for_all_that_were_missed(rig: Rig) -> None:
    rig.gate = asyncio.Event()
    service = rig.service("*/10 * * * * *")
    service.start()
    await rig.clock.advance(10)
    await rig.clock.advance(33)  # three further ticks pass while the first run goes on
    assert rig.times == ["12:00:10"]
    rig.gate.set()
    await rig.clock.advance(0)
    await rig.clock.advance(10)
    await service.stop()
    assert rig.times == ["12:00:10", "12:00:43", "12:00:50"]


async def test_a_failed_run_does_not_stop_the_timer(rig: Rig) -> None:
    rig.failures = 1
    service = rig.service("*/10 * * * * *")
    service.start()
    await rig.clock.advance(20)
    await service.stop()
    assert rig.times == ["12:00:10", "12:00:20"]


@pytest.mark.parametrize(("failures", "runs"), [(1, 2), (2, 3), (5, 3)])
async def test_the_retry_policy(rig: Rig, failures: int, runs: int) -> None:
    rig.failures = failures
    service = rig.service("0 * * * * *", retry=True)
    service.start()
    await rig.clock.advance(60)
    await service.stop()
    assert len(rig.runs) == runs


async def test_by_hand(rig: Rig) -> None:
    service = rig.service("0 0 0 1 1 *")
    assert service.has("TICK")
    assert not service.has("tock")
    await service.run_now("tick")
    assert rig.times == ["12:00:00"]


def test_a_wrong_schedule_names_the_function(rig: Rig) -> None:
    with pytest.raises(StartError, match=r"function tick \(.*\): the schedule .* has 1 fields"):
        rig.service("often")


def test_the_store_keeps_what_it_was_given(tmp_path: Path) -> None:
    status = TimerStatus("0 * * * * *", None, START, START)
    store = TimerStore(tmp_path)
    store.put("Tick", status)
    store.put("Tick", status)
    store.close()
    again = TimerStore(tmp_path)
    assert again.get("tick") == status
    assert again.get("other") is None
    again.close()
