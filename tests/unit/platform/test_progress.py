from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from shared.platform.clock import SystemClock, rfc3339
from shared.platform.progress import Progress
from tests.support.clocks import SetClock


def test_a_loop_is_late_when_it_has_not_finished_within_its_promise() -> None:
    clock = SetClock()
    progress = Progress(clock)
    progress.promise("sweep", 10)
    clock.advance(9)
    progress.finished("sweep")
    clock.advance(10)
    (state,) = progress.state()
    assert (state.late, state.rounds, state.since_finished_seconds) == (False, 1, 10)
    clock.advance(0.5)
    assert progress.state()[0].late


def test_a_loop_that_never_finished_counts_from_its_promise() -> None:
    clock = SetClock()
    progress = Progress(clock)
    progress.promise("sweep", 10)
    clock.advance(11)
    assert progress.state()[0].late


def test_nothing_is_expected_of_a_loop_that_ended_on_purpose() -> None:
    clock = SetClock()
    progress = Progress(clock)
    progress.promise("sweep", 10)
    progress.ended("sweep")
    clock.advance(100)
    assert progress.state() == []


def test_times_are_written_so_that_text_order_is_time_order() -> None:
    whole = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    moments = [whole, whole + timedelta(milliseconds=1), whole + timedelta(seconds=1)]
    written = [rfc3339(moment) for moment in moments]
    assert written == sorted(written)
    assert written[0] == "2026-01-31T09:30:00.000Z"
    assert rfc3339(whole.astimezone(timezone(timedelta(hours=2)))) == written[0]


def test_the_clock_gives_whole_milliseconds_in_utc() -> None:
    now = SystemClock().now()
    assert now.microsecond % 1000 == 0
    assert now.utcoffset() == timedelta(0)
