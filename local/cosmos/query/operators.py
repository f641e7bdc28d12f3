"""What the operators do to values: three-valued logic, comparison, arithmetic, LIKE."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache

from local.cosmos.errors import bad_request
from local.cosmos.jsonvalue import UNDEFINED, Value, comparable, equal, is_number, number


def equals(left: Value, right: Value) -> Value:
    """`=`."""
    return equal(left, right)


def differs(left: Value, right: Value) -> Value:
    """`!=`; undefined, like `=`, between values of different types."""
    result = equal(left, right)
    return UNDEFINED if result is UNDEFINED else not result


def less(left: Value, right: Value) -> Value:
    """`<`."""
    return _order(left, right, lambda a, b: a < b)


def less_equal(left: Value, right: Value) -> Value:
    """`<=`."""
    return _order(left, right, lambda a, b: a <= b)


def greater(left: Value, right: Value) -> Value:
    """`>`."""
    return _order(left, right, lambda a, b: a > b)


def greater_equal(left: Value, right: Value) -> Value:
    """`>=`."""
    return _order(left, right, lambda a, b: a >= b)


def _order(left: Value, right: Value, compare: Callable[[Value, Value], bool]) -> Value:
    if not comparable(left, right):
        return UNDEFINED
    if left is None:
        return compare(0, 0)
    return compare(left, right)


def negate(value: Value) -> Value:
    """`NOT`."""
    if value is True:
        return False
    return True if value is False else UNDEFINED


def _arithmetic(compute: Callable[[float, float], float]) -> Callable[[Value, Value], Value]:
    def run(left: Value, right: Value) -> Value:
        if not is_number(left) or not is_number(right):
            return UNDEFINED
        try:
            return number(compute(left, right))
        except (OverflowError, ZeroDivisionError, ValueError):
            return UNDEFINED

    return run


def _integers(compute: Callable[[int, int], int]) -> Callable[[Value, Value], Value]:
    """Bit operators work on 32-bit integers, as in JavaScript."""

    def run(left: Value, right: Value) -> Value:
        a, b = int32(left), int32(right)
        if a is None or b is None:
            return UNDEFINED
        return signed32(compute(a, b))

    return run


def int32(value: Value) -> int | None:
    """A number as a signed 32-bit integer; None if it is no whole number."""
    if not is_number(value) or value != int(value):
        return None
    return signed32(int(value))


def signed32(value: int) -> int:
    """Wrap to 32 bits with a sign."""
    value &= 0xFFFFFFFF
    return value - 0x1_0000_0000 if value & 0x8000_0000 else value


def unsigned_shift(left: Value, right: Value) -> Value:
    """`>>>`."""
    a, b = int32(left), int32(right)
    if a is None or b is None:
        return UNDEFINED
    return (a & 0xFFFFFFFF) >> (b & 31)


def concat(left: Value, right: Value) -> Value:
    """`||`."""
    return left + right if isinstance(left, str) and isinstance(right, str) else UNDEFINED


BINARY: dict[str, Callable[[Value, Value], Value]] = {
    "=": equals,
    "!=": differs,
    "<": less,
    "<=": less_equal,
    ">": greater,
    ">=": greater_equal,
    "+": _arithmetic(lambda a, b: a + b),
    "-": _arithmetic(lambda a, b: a - b),
    "*": _arithmetic(lambda a, b: a * b),
    "/": _arithmetic(lambda a, b: a / b),
    "%": _arithmetic(math.fmod),
    "|": _integers(lambda a, b: a | b),
    "&": _integers(lambda a, b: a & b),
    "^": _integers(lambda a, b: a ^ b),
    "<<": _integers(lambda a, b: a << (b & 31)),
    ">>": _integers(lambda a, b: a >> (b & 31)),
    ">>>": unsigned_shift,
    "||": concat,
}


def minus(value: Value) -> Value:
    """Unary `-`."""
    return number(-value) if is_number(value) else UNDEFINED


def plus(value: Value) -> Value:
    """Unary `+`."""
    return value if is_number(value) else UNDEFINED


def complement(value: Value) -> Value:
    """`~`."""
    bits = int32(value)
    return UNDEFINED if bits is None else signed32(~bits)


UNARY: dict[str, Callable[[Value], Value]] = {"-": minus, "+": plus, "~": complement, "NOT": negate}


@lru_cache(maxsize=512)
def like_pattern(pattern: str, escape: str | None) -> re.Pattern[str]:
    """A LIKE pattern as a regular expression: `%`, `_`, `[a-c]`, `[^a-c]`."""
    parts, at = [], 0
    while at < len(pattern):
        character = pattern[at]
        if escape is not None and character == escape and at + 1 < len(pattern):
            at += 1
            parts.append(re.escape(pattern[at]))
        elif character == "%":
            # Possessive where nothing but `%` can follow would not be exact; lazy keeps the search linear per step.
            parts.append(".*")
        elif character == "_":
            parts.append(".")
        elif character == "[" and (end := pattern.find("]", at + 2)) > 0:
            parts.append(_character_set(pattern[at + 1 : end]))
            at = end
        else:
            parts.append(re.escape(character))
        at += 1
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise bad_request(f"The LIKE pattern {pattern!r} is not valid: {error}.") from error


def _character_set(inside: str) -> str:
    negated = inside.startswith("^")
    body = inside[1:] if negated else inside
    escaped = body.replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^").replace("&", "\\&").replace("~", "\\~")
    return f"[{'^' if negated else ''}{escaped}]"


def like(value: Value, pattern: Value, escape: str | None) -> Value:
    """`LIKE`."""
    if not isinstance(value, str) or not isinstance(pattern, str):
        return UNDEFINED
    return like_pattern(pattern, escape).fullmatch(value) is not None
