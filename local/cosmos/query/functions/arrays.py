"""Array and object functions."""

from __future__ import annotations

from local.cosmos.jsonvalue import UNDEFINED, Value, canonical, is_number, same
from local.cosmos.query.functions.registry import MANY, Function


def _part_of(part: Value, whole: Value) -> bool:
    """Whether an object is contained in another, property by property."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(key in whole and _part_of(value, whole[key]) for key, value in part.items())
    return same(part, whole)


def _contains(items: Value, wanted: Value, partial: Value = False) -> Value:
    if not isinstance(items, list) or wanted is UNDEFINED or not isinstance(partial, bool):
        return UNDEFINED
    test = _part_of if partial else same
    return any(test(wanted, item) for item in items)


def _contains_any(items: Value, *wanted: Value) -> Value:
    if not isinstance(items, list):
        return UNDEFINED
    return any(same(one, item) for one in wanted for item in items)


def _contains_all(items: Value, *wanted: Value) -> Value:
    if not isinstance(items, list):
        return UNDEFINED
    return all(any(same(one, item) for item in items) for one in wanted)


def _concat(*arrays: Value) -> Value:
    if not all(isinstance(array, list) for array in arrays):
        return UNDEFINED
    return [item for array in arrays for item in array]


def _slice(items: Value, start: Value, length: Value = None) -> Value:
    whole = is_number(start) and start == int(start)
    if not isinstance(items, list) or not whole:
        return UNDEFINED
    first = int(start) if start >= 0 else max(len(items) + int(start), 0)
    if length is None:
        return items[first:]
    if not is_number(length) or length != int(length):
        return UNDEFINED
    return items[first : first + max(int(length), 0)]


def _distinct(items: list[Value]) -> list[Value]:
    return list({canonical(item): item for item in reversed(items)}.values())[::-1]


def _intersect(left: Value, right: Value) -> Value:
    if not isinstance(left, list) or not isinstance(right, list):
        return UNDEFINED
    there = {canonical(item) for item in right}
    return [item for item in _distinct(left) if canonical(item) in there]


def _union(left: Value, right: Value) -> Value:
    if not isinstance(left, list) or not isinstance(right, list):
        return UNDEFINED
    return _distinct([*left, *right])


def _difference(left: Value, right: Value) -> Value:
    if not isinstance(left, list) or not isinstance(right, list):
        return UNDEFINED
    there = {canonical(item) for item in right}
    return [item for item in _distinct(left) if canonical(item) not in there]


def _to_pairs(value: Value) -> Value:
    if not isinstance(value, dict):
        return UNDEFINED
    return [{"k": key, "v": item} for key, item in value.items()]


FUNCTIONS: dict[str, Function] = {
    "ARRAY_CONTAINS": Function(2, 3, _contains),
    "ARRAY_CONTAINS_ANY": Function(2, MANY, _contains_any),
    "ARRAY_CONTAINS_ALL": Function(2, MANY, _contains_all),
    "ARRAY_CONCAT": Function(2, MANY, _concat),
    "ARRAY_LENGTH": Function(1, 1, lambda items: len(items) if isinstance(items, list) else UNDEFINED),
    "ARRAY_SLICE": Function(2, 3, _slice),
    "SETINTERSECT": Function(2, 2, _intersect),
    "SETUNION": Function(2, 2, _union),
    "SETDIFFERENCE": Function(2, 2, _difference),
    "OBJECTTOARRAY": Function(1, 1, _to_pairs),
    "CHOOSE": Function(
        2, MANY, lambda at, *rest: rest[int(at) - 1] if is_number(at) and 1 <= at <= len(rest) else UNDEFINED
    ),
}
