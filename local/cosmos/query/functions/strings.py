"""String functions."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from local.cosmos.errors import bad_request
from local.cosmos.jsonvalue import UNDEFINED, Value, is_number
from local.cosmos.query.functions.registry import MANY, Function, on_strings

MAX_RESULT = 2 * 1024 * 1024
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}


def _with_case_flag(test: Callable[[str, str], bool]) -> Function:
    """A test of two strings with an optional third argument: true to ignore case."""

    def run(text: Value, part: Value, ignore_case: Value = False) -> Value:
        if not isinstance(text, str) or not isinstance(part, str) or not isinstance(ignore_case, bool):
            return UNDEFINED
        return test(text.lower(), part.lower()) if ignore_case else test(text, part)

    return Function(2, 3, run)


def _whole(value: Value) -> int | None:
    return int(value) if is_number(value) and value == int(value) else None


def _substring(text: Value, start: Value, length: Value) -> Value:
    first, count = _whole(start), _whole(length)
    if not isinstance(text, str) or first is None or count is None:
        return UNDEFINED
    first = max(first, 0)
    return text[first : first + max(count, 0)]


def _left(text: Value, count: Value) -> Value:
    number = _whole(count)
    if not isinstance(text, str) or number is None:
        return UNDEFINED
    return text[: max(number, 0)]


def _right(text: Value, count: Value) -> Value:
    number = _whole(count)
    if not isinstance(text, str) or number is None:
        return UNDEFINED
    return text[-number:] if number > 0 else ""


def _index_of(text: Value, part: Value, start: Value = 0) -> Value:
    first = _whole(start)
    if not isinstance(text, str) or not isinstance(part, str) or first is None or first < 0:
        return UNDEFINED
    return text.find(part, first)


def _replicate(text: Value, times: Value) -> Value:
    number = _whole(times)
    if not isinstance(text, str) or number is None or number < 0 or number * len(text) > MAX_RESULT:
        return UNDEFINED
    return text * number


def _concat(*parts: Value) -> Value:
    return "".join(parts) if all(isinstance(part, str) for part in parts) else UNDEFINED


def _join(items: Value, separator: Value) -> Value:
    if not isinstance(items, list) or not isinstance(separator, str):
        return UNDEFINED
    return separator.join(items) if all(isinstance(item, str) for item in items) else UNDEFINED


def _replace(text: str, old: str, new: str) -> str:
    return text.replace(old, new) if old else text


def _trim(method: Callable[[str, str | None], str]) -> Function:
    def run(text: str, characters: str | None = None) -> str:
        return method(text, characters)

    return on_strings(1, 2, run)


@lru_cache(maxsize=256)
def _expression(pattern: str, modifiers: str) -> re.Pattern[str]:
    flags = re.NOFLAG
    for letter in modifiers:
        if letter not in _FLAGS:
            raise bad_request(f"RegexMatch: unknown modifier '{letter}'; it is one of {', '.join(_FLAGS)}.")
        flags |= _FLAGS[letter]
    try:
        return re.compile(pattern, flags)
    except (re.error, RecursionError) as error:
        raise bad_request(f"RegexMatch: the pattern is not valid: {error}.") from error


def _matches(text: str, pattern: str, modifiers: str = "") -> bool:
    return _expression(pattern, modifiers).search(text) is not None


def _equal(left: str, right: str) -> bool:
    return left == right


def _split(text: str, separator: str) -> Value:
    return text.split(separator) if separator else UNDEFINED


FUNCTIONS: dict[str, Function] = {
    "CONCAT": Function(2, MANY, _concat),
    "CONTAINS": _with_case_flag(lambda text, part: part in text),
    "STARTSWITH": _with_case_flag(str.startswith),
    "ENDSWITH": _with_case_flag(str.endswith),
    "STRINGEQUALS": _with_case_flag(_equal),
    "INDEX_OF": Function(2, 3, _index_of),
    "LEFT": Function(2, 2, _left),
    "RIGHT": Function(2, 2, _right),
    "SUBSTRING": Function(3, 3, _substring),
    "LENGTH": on_strings(1, 1, len),
    "LOWER": on_strings(1, 1, str.lower),
    "UPPER": on_strings(1, 1, str.upper),
    "TRIM": _trim(str.strip),
    "LTRIM": _trim(str.lstrip),
    "RTRIM": _trim(str.rstrip),
    "REPLACE": on_strings(3, 3, _replace),
    "REPLICATE": Function(2, 2, _replicate),
    "REVERSE": on_strings(1, 1, lambda text: text[::-1]),
    "STRINGJOIN": Function(2, 2, _join),
    "STRINGSPLIT": on_strings(2, 2, _split),
    "REGEXMATCH": on_strings(2, 3, _matches),
}
