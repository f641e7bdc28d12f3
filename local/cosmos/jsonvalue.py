"""Cosmos's values: JSON plus *undefined*, their types, their order and their equality.

Python's own rules do not fit: there `True == 1`, and values of different types cannot be ordered.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

import orjson

MAX_SAFE_INTEGER: Final = 2**53


class _Undefined:
    """What a missing property evaluates to; not null."""

    def __repr__(self) -> str:
        return "undefined"

    def __bool__(self) -> bool:
        return False


UNDEFINED: Final = _Undefined()
Value = Any


class Rank(IntEnum):
    """Types in the order in which ORDER BY puts them.

    https://learn.microsoft.com/azure/cosmos-db/nosql/query/order-by
    """

    UNDEFINED = 0
    NULL = 1
    BOOLEAN = 2
    NUMBER = 3
    STRING = 4
    ARRAY = 5
    OBJECT = 6


_RANKS: Final[dict[type, Rank]] = {
    _Undefined: Rank.UNDEFINED,
    type(None): Rank.NULL,
    bool: Rank.BOOLEAN,
    int: Rank.NUMBER,
    float: Rank.NUMBER,
    str: Rank.STRING,
    list: Rank.ARRAY,
    dict: Rank.OBJECT,
}


def rank(value: Value) -> Rank:
    """The type of a value."""
    return _RANKS[type(value)]


def is_number(value: Value) -> bool:
    """A JSON number (in Python a bool is an int, in JSON it is not)."""
    kind = type(value)
    return kind is int or kind is float


def equal(left: Value, right: Value) -> bool | _Undefined:
    """`=`: undefined between different types, deep within arrays and objects."""
    kind = _RANKS[type(left)]
    if kind != _RANKS[type(right)] or kind == Rank.UNDEFINED:
        return UNDEFINED
    if kind <= Rank.STRING:
        return bool(left == right)
    return same(left, right)


def same(left: Value, right: Value) -> bool:
    """Deep equality that keeps types apart: `true` is not 1."""
    kind = _RANKS[type(left)]
    if kind != _RANKS[type(right)]:
        return False
    if kind == Rank.ARRAY:
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if kind == Rank.OBJECT:
        return left.keys() == right.keys() and all(same(item, right[key]) for key, item in left.items())
    return bool(left == right)


def comparable(left: Value, right: Value) -> bool:
    """Whether `<` is defined between two values: same type, and neither array nor object."""
    kind = _RANKS[type(left)]
    return kind == _RANKS[type(right)] and Rank.NULL <= kind <= Rank.STRING


def sort_value(value: Value) -> Value:
    """What a value is ordered by within its type. Arrays and objects go by their compact JSON text."""
    kind = _RANKS[type(value)]
    if kind >= Rank.ARRAY:
        return orjson.dumps(value).decode()
    if kind == Rank.BOOLEAN:
        return int(value)
    return value if kind > Rank.NULL else None


def sort_key(value: Value) -> tuple[int, Value]:
    """A key under which Python sorts values of mixed types as ORDER BY does."""
    kind = _RANKS[type(value)]
    found = sort_value(value)
    return (int(kind), 0 if found is None else found)


def canonical(value: Value) -> str:
    """A text equal for equal values and different otherwise: `1` and `1.0` are one number, key order does not matter."""
    if value is UNDEFINED:
        return "undefined"
    return orjson.dumps(_normal(value), option=orjson.OPT_SORT_KEYS).decode()


def number(value: float) -> Value:
    """The result of arithmetic as JSON can hold it: whole numbers without a fraction, nothing infinite."""
    if type(value) is int:
        return value if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER else _float(value)
    if value != value or value in (float("inf"), float("-inf")):
        return UNDEFINED
    if value == int(value) and abs(value) <= MAX_SAFE_INTEGER:
        return int(value)
    return value


def _float(value: int) -> Value:
    try:
        return float(value)
    except OverflowError:
        return UNDEFINED


def _normal(value: Value) -> Value:
    kind = type(value)
    if kind is float and value.is_integer() and abs(value) <= MAX_SAFE_INTEGER:
        return int(value)
    if kind is list:
        return [_normal(item) for item in value]
    if kind is dict:
        return {key: _normal(item) for key, item in value.items()}
    return value
