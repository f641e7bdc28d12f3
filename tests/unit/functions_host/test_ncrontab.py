"""NCRONTAB: the next occurrence, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.functions_host.ncrontab import ScheduleError, parse_schedule


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NEXT = [
    # expression, after, next
    ("0 */5 * * * *", "2026-01-01 10:02:03", "2026-01-01 10:05:00"),
    ("*/5 * * * *", "2026-01-01 10:02:03", "2026-01-01 10:05:00"),  # five fields: second 0
    ("0 */5 * * * *", "2026-01-01 10:05:00", "2026-01-01 10:10:00"),  # strictly after
    ("*/15 * * * * *", "2026-01-01 10:00:50", "2026-01-01 10:01:00"),
    ("30 59 23 * * *", "2026-12-31 23:59:30", "2027-01-01 23:59:30"),
    ("0 0 9-17 * * 1-5", "2026-01-02 17:00:00", "2026-01-05 09:00:00"),  # Friday evening to Monday
    ("0 0 9-17/4 * * *", "2026-01-02 13:00:00", "2026-01-02 17:00:00"),
    ("0 0 0 29 2 *", "2026-01-01 00:00:00", "2028-02-29 00:00:00"),
    ("0 0 0 31 * *", "2026-01-31 00:00:00", "2026-03-31 00:00:00"),
    ("0 0 0 1 jan,JUL *", "2026-01-01 00:00:00", "2026-07-01 00:00:00"),
    ("0 0 0 * * sun", "2026-01-01 00:00:00", "2026-01-04 00:00:00"),
    ("0 0 0 13 * 5", "2026-01-01 00:00:00", "2026-02-13 00:00:00"),  # both must match: Friday the 13th
    ("0 10/20 * * * *", "2026-01-01 10:10:00", "2026-01-01 10:30:00"),
]


@pytest.mark.parametrize(("text", "after", "expected"), NEXT, ids=[f"{row[0]} after {row[1]}" for row in NEXT])
def test_next(text: str, after: str, expected: str) -> None:
    assert parse_schedule(text).next_after(at(after)) == at(expected)


REFUSED = {
    "* * * *": "has 4 fields",
    "00:05:00": "App Service plan only",
    "60 * * * * *": "'60' is not a second",
    "* * 24 * * *": "'24' is not a hour",
    "* * * 0 * *": "'0' is not a day",
    "* * * * 13 *": "'13' is not a month",
    "* * * * * 8": "'8' is not a weekday",
    "* * * * foo *": "'foo' is not a month",
    "*/0 * * * * *": "not a number from 1",
    "* 30-10 * * * *": "runs backwards",
    "0 0 0 31 2 *": "never occurs",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.items(), ids=REFUSED.keys())
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(ScheduleError, match=reason):
        parse_schedule(text)


FIELD = st.sampled_from(["*", "*/7", "3", "5,11", "2-9/3"])


@given(
    st.tuples(FIELD, FIELD, FIELD).map(" ".join),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - given a zone by the strategy
)
def test_the_next_is_the_first_second_that_matches(fields: str, after: datetime) -> None:
    schedule = parse_schedule(f"{fields} * * *")
    following = schedule.next_after(after)
    assert following is not None
    moment = after.replace(microsecond=0) + timedelta(seconds=1)
    limit = moment + timedelta(hours=30)
    while not (
        moment.second in schedule.seconds and moment.minute in schedule.minutes and moment.hour in schedule.hours
    ):
        # Hours and minutes that cannot match are jumped over, so that the search by seconds stays short.
        if moment.hour not in schedule.hours:
            moment = (moment + timedelta(hours=1)).replace(minute=0, second=0)
        elif moment.minute not in schedule.minutes:
            moment = (moment + timedelta(minutes=1)).replace(second=0)
        else:
            moment += timedelta(seconds=1)
        assert moment < limit
    assert following == moment
