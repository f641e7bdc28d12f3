"""NCRONTAB: cron with a seconds field. https://github.com/atifaziz/NCrontab/wiki/Crontab-Expression"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_FIELDS = (("second", 0, 59), ("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 6))
_NAMES = {
    "month": ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    "weekday": ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}
_HORIZON_YEARS = 8  # 29 February comes again within eight years, over a year like 2100 too


class ScheduleError(ValueError):
    """A schedule that NCRONTAB refuses; the text is the reason."""


class Schedule(NamedTuple):
    """A parsed expression. Unlike Unix cron, day and weekday must *both* match."""

    text: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]  # 0 is Sunday

    def next_after(self, instant: datetime) -> datetime | None:
        """The first occurrence strictly after `instant` (aware, UTC); None if there is none within years."""
        moment = instant.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        for _ in range(_HORIZON_YEARS * 366):
            if self._day_matches(moment):
                found = self._time_on(moment)
                if found is not None:
                    return found
            moment = (moment + timedelta(days=1)).replace(hour=0, minute=0, second=0)
        return None

    def _day_matches(self, moment: datetime) -> bool:
        weekday = (moment.weekday() + 1) % 7
        return moment.month in self.months and moment.day in self.days and weekday in self.weekdays

    def _time_on(self, earliest: datetime) -> datetime | None:
        """The first matching time of the day, not before `earliest`."""
        for hour in self.hours:
            if hour < earliest.hour:
                continue
            for minute in self.minutes:
                if (hour, minute) < (earliest.hour, earliest.minute):
                    continue
                least = earliest.second if (hour, minute) == (earliest.hour, earliest.minute) else 0
                for second in self.seconds:
                    if second >= least:
                        return earliest.replace(hour=hour, minute=minute, second=second)
        return None


def parse_schedule(text: str) -> Schedule:
    """Parse six fields (second, minute, hour, day, month, weekday), or five (seconds are then 0).

    Raises:
        ScheduleError: with the field that is wrong.
    """
    parts = text.split()
    if len(parts) == 5:
        parts.insert(0, "0")
    if len(parts) != 6:
        hint = " (a duration as schedule works on an App Service plan only)" if ":" in text else ""
        raise ScheduleError(
            f'"{text}" has {len(parts)} fields; NCRONTAB has six: second minute hour day month weekday{hint}'
        )
    values = [_field(part, name, low, high, text) for part, (name, low, high) in zip(parts, _FIELDS, strict=True)]
    schedule = Schedule(text, *values)
    if not any(day <= calendar.monthrange(2000, month)[1] for month in schedule.months for day in schedule.days):
        raise ScheduleError(f'"{text}" never occurs: no month of it has such a day')
    return schedule


def _field(part: str, name: str, low: int, high: int, text: str) -> tuple[int, ...]:
    chosen: set[int] = set()
    for item in part.split(","):
        span, _, step_text = item.partition("/")
        if step_text and (not step_text.isdigit() or int(step_text) == 0):
            raise ScheduleError(f'"{text}": the step {item} of the field {name} is not a number from 1')
        step = int(step_text) if step_text else 1
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = (_value(each, name, low, high, text) for each in span.split("-", 1))
        else:
            first = _value(span, name, low, high, text)
            last = high if step_text else first
        if first > last:
            raise ScheduleError(f'"{text}": the range {span} of the field {name} runs backwards')
        chosen.update(range(first, last + 1, step))
    return tuple(sorted(chosen))


def _value(text: str, name: str, low: int, high: int, whole: str) -> int:
    if text.isdigit() and low <= int(text) <= high:
        return int(text)
    names = _NAMES.get(name, ())
    short = text.lower()[:3]
    if text.isalpha() and short in names:
        return names.index(short) + low
    raise ScheduleError(f'"{whole}": {text!r} is not a {name} ({low} to {high})')
