"""Date and time functions. Moments are ISO 8601 texts `YYYY-MM-DDThh:mm:ss.fffffffZ`, or ticks of 100 ns since 1970.

https://learn.microsoft.com/azure/cosmos-db/nosql/query/getcurrentdatetime
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

from local.cosmos.jsonvalue import UNDEFINED, Value, is_number
from local.cosmos.query.functions.registry import Function

TICKS_PER_SECOND = 10_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,7}))?(?:Z|([+-])(\d\d):(\d\d))?)?", re.ASCII
)
# Length in ticks of the units that have a fixed one.
_FIXED = {
    "week": 7 * 86_400 * TICKS_PER_SECOND,
    "day": 86_400 * TICKS_PER_SECOND,
    "hour": 3_600 * TICKS_PER_SECOND,
    "minute": 60 * TICKS_PER_SECOND,
    "second": TICKS_PER_SECOND,
    "millisecond": TICKS_PER_SECOND // 1_000,
    "microsecond": 10,
    "nanosecond": 0,  # below one tick: handled apart
}
_NAMES = {
    **dict.fromkeys(("year", "yyyy", "yy"), "year"),
    **dict.fromkeys(("month", "mm", "m"), "month"),
    **dict.fromkeys(("week", "wk", "ww"), "week"),
    **dict.fromkeys(("day", "dd", "d"), "day"),
    **dict.fromkeys(("hour", "hh"), "hour"),
    **dict.fromkeys(("minute", "mi", "n"), "minute"),
    **dict.fromkeys(("second", "ss", "s"), "second"),
    **dict.fromkeys(("millisecond", "ms"), "millisecond"),
    **dict.fromkeys(("microsecond", "mcs"), "microsecond"),
    **dict.fromkeys(("nanosecond", "ns"), "nanosecond"),
}


def _ticks(text: Value) -> int | None:
    if not isinstance(text, str) or (found := _TEXT.fullmatch(text)) is None:
        return None
    try:
        moment = datetime(*(int(part or 0) for part in found.groups()[:6]), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return None
    seconds = (moment - _EPOCH).days * 86_400 + (moment - _EPOCH).seconds
    if found[8]:
        offset = int(found[9]) * 3_600 + int(found[10]) * 60
        seconds -= offset if found[8] == "+" else -offset
    return seconds * TICKS_PER_SECOND + int((found[7] or "").ljust(7, "0"))


def _moment(ticks: int) -> datetime:
    return _EPOCH + timedelta(seconds=ticks // TICKS_PER_SECOND)


def _text(ticks: int) -> Value:
    try:
        moment = _moment(ticks)
    except OverflowError:
        return UNDEFINED
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ticks % TICKS_PER_SECOND:07d}Z"


def _unit(name: Value) -> str | None:
    return _NAMES.get(name.lower()) if isinstance(name, str) else None


def _whole(value: Value) -> int | None:
    return int(value) if is_number(value) and value == int(value) else None


def _add(unit: Value, amount: Value, text: Value) -> Value:
    name, count, ticks = _unit(unit), _whole(amount), _ticks(text)
    if name is None or count is None or ticks is None:
        return UNDEFINED
    if name in ("year", "month"):
        return _add_months(ticks, count * (12 if name == "year" else 1))
    if name == "nanosecond":
        return _text(ticks + count // 100)
    return _text(ticks + count * _FIXED[name])


def _add_months(ticks: int, months: int) -> Value:
    moment = _moment(ticks)
    total = moment.year * 12 + moment.month - 1 + months
    year, month = divmod(total, 12)
    for day in range(moment.day, 27, -1):
        try:
            moved = moment.replace(year=year, month=month + 1, day=day)
        except (ValueError, OverflowError):
            continue
        return _text(int((moved - _EPOCH).total_seconds()) * TICKS_PER_SECOND + ticks % TICKS_PER_SECOND)
    try:
        moved = moment.replace(year=year, month=month + 1)
    except (ValueError, OverflowError):
        return UNDEFINED
    return _text(int((moved - _EPOCH).total_seconds()) * TICKS_PER_SECOND + ticks % TICKS_PER_SECOND)


def _difference(unit: Value, start: Value, end: Value) -> Value:
    name, first, last = _unit(unit), _ticks(start), _ticks(end)
    if name is None or first is None or last is None:
        return UNDEFINED
    if name in ("year", "month"):
        a, b = _moment(first), _moment(last)
        return b.year - a.year if name == "year" else (b.year - a.year) * 12 + b.month - a.month
    if name == "nanosecond":
        return (last - first) * 100
    if name == "week":  # weeks begin on Sunday; the epoch was a Thursday
        shift = 4 * _FIXED["day"]
        return (last + shift) // _FIXED["week"] - (first + shift) // _FIXED["week"]
    return last // _FIXED[name] - first // _FIXED[name]


def _part(unit: Value, text: Value) -> Value:
    name, ticks = _unit(unit), _ticks(text)
    if name is None or ticks is None:
        return UNDEFINED
    moment, fraction = _moment(ticks), ticks % TICKS_PER_SECOND
    return {
        "year": moment.year,
        "month": moment.month,
        "week": UNDEFINED,
        "day": moment.day,
        "hour": moment.hour,
        "minute": moment.minute,
        "second": moment.second,
        "millisecond": fraction // 10_000,
        "microsecond": fraction // 10,
        "nanosecond": fraction * 100,
    }[name]


def _bin(text: Value, unit: Value, size: Value = 1, origin: Value = "1970-01-01T00:00:00.0000000Z") -> Value:
    name, ticks, count, start = _unit(unit), _ticks(text), _whole(size), _ticks(origin)
    if name not in _FIXED or name == "nanosecond" or ticks is None or count is None or count < 1 or start is None:
        return UNDEFINED
    width = _FIXED[name] * count
    return _text(start + (ticks - start) // width * width)


def _from_parts(*values: Value) -> Value:
    whole = [_whole(value) for value in values]
    if any(value is None for value in whole):
        return UNDEFINED
    numbers = [value or 0 for value in whole]
    fraction = numbers[6] if len(numbers) > 6 else 0
    try:
        moment = datetime(*numbers[:6], tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return UNDEFINED
    if not 0 <= fraction < TICKS_PER_SECOND:
        return UNDEFINED
    return _text(int((moment - _EPOCH).total_seconds()) * TICKS_PER_SECOND + fraction)


def _now_ticks() -> int:
    return time.time_ns() // 100


def _ticks_of(text: Value) -> Value:
    ticks = _ticks(text)
    return UNDEFINED if ticks is None else ticks


def _milliseconds_of(text: Value) -> Value:
    ticks = _ticks(text)
    return UNDEFINED if ticks is None else ticks // 10_000


def _scaled_text(scale: int) -> Function:
    def run(value: Value) -> Value:
        whole = _whole(value)
        return UNDEFINED if whole is None else _text(whole * scale)

    return Function(1, 1, run)


FUNCTIONS: dict[str, Function] = {
    "GETCURRENTDATETIME": Function(0, 0, lambda: _text(_now_ticks()), volatile=True),
    "GETCURRENTTIMESTAMP": Function(0, 0, lambda: _now_ticks() // 10_000, volatile=True),
    "GETCURRENTTICKS": Function(0, 0, _now_ticks, volatile=True),
    "GETCURRENTDATETIMESTATIC": Function(0, 0, lambda: _text(_now_ticks()), volatile=True),
    "GETCURRENTTIMESTAMPSTATIC": Function(0, 0, lambda: _now_ticks() // 10_000, volatile=True),
    "GETCURRENTTICKSSTATIC": Function(0, 0, _now_ticks, volatile=True),
    "DATETIMEADD": Function(3, 3, _add),
    "DATETIMEDIFF": Function(3, 3, _difference),
    "DATETIMEPART": Function(2, 2, _part),
    "DATETIMEBIN": Function(2, 4, _bin),
    "DATETIMEFROMPARTS": Function(3, 7, _from_parts),
    "DATETIMETOTICKS": Function(1, 1, _ticks_of),
    "DATETIMETOTIMESTAMP": Function(1, 1, _milliseconds_of),
    "TICKSTODATETIME": _scaled_text(1),
    "TIMESTAMPTODATETIME": _scaled_text(10_000),
}
