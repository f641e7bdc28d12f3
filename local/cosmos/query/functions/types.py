"""Type checks, conversion, IIF."""

from __future__ import annotations

import math
import re

import orjson

from local.cosmos.jsonvalue import MAX_SAFE_INTEGER, UNDEFINED, Rank, Value, is_number, number, rank
from local.cosmos.query.functions.registry import Function

_NUMBER = re.compile(r"\s*-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")


def _is(*kinds: Rank) -> Function:
    return Function(1, 1, lambda value: rank(value) in kinds)


def _is_integer(value: Value) -> Value:
    return is_number(value) and math.isfinite(value) and value == int(value) and abs(value) < 2**63


def _to_string(value: Value) -> Value:
    if value is UNDEFINED or isinstance(value, str):
        return value
    if is_number(value):
        value = number(value)
    return orjson.dumps(value).decode()


def _to_number(text: Value) -> Value:
    if not isinstance(text, str) or _NUMBER.fullmatch(text) is None:
        return UNDEFINED
    return number(float(text))


def _parse(*kinds: Rank) -> Function:
    def run(text: Value) -> Value:
        if not isinstance(text, str):
            return UNDEFINED
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            return UNDEFINED
        if type(value) is int and abs(value) > MAX_SAFE_INTEGER:
            return UNDEFINED
        return value if rank(value) in kinds else UNDEFINED

    return Function(1, 1, run)


FUNCTIONS: dict[str, Function] = {
    "IS_DEFINED": Function(1, 1, lambda value: value is not UNDEFINED),
    "IS_NULL": _is(Rank.NULL),
    "IS_BOOL": _is(Rank.BOOLEAN),
    "IS_NUMBER": _is(Rank.NUMBER),
    "IS_FINITE_NUMBER": Function(1, 1, lambda value: is_number(value) and math.isfinite(value)),
    "IS_INTEGER": Function(1, 1, _is_integer),
    "IS_STRING": _is(Rank.STRING),
    "IS_ARRAY": _is(Rank.ARRAY),
    "IS_OBJECT": _is(Rank.OBJECT),
    "IS_PRIMITIVE": _is(Rank.NULL, Rank.BOOLEAN, Rank.NUMBER, Rank.STRING),
    "TOSTRING": Function(1, 1, _to_string),
    "STRINGTONUMBER": Function(1, 1, _to_number),
    "STRINGTOBOOLEAN": _parse(Rank.BOOLEAN),
    "STRINGTONULL": _parse(Rank.NULL),
    "STRINGTOARRAY": _parse(Rank.ARRAY),
    "STRINGTOOBJECT": _parse(Rank.OBJECT),
    "IIF": Function(3, 3, lambda condition, then, otherwise: then if condition is True else otherwise),
}
