"""Order and continuation in SQL: a page goes on behind the sort keys and the row id of the last row, not at a row number."""

from __future__ import annotations

from typing import Any

from local.cosmos.errors import bad_request
from local.cosmos.jsonvalue import Value
from local.cosmos.query.properties import Property

State = dict[str, Any]


def order_by(keys: tuple[tuple[Property, bool], ...]) -> str:
    """ORDER BY in SQL; without keys the order of the rows themselves."""
    if not keys:
        return " ORDER BY rid"
    words: list[str] = []
    for place, descending in keys:
        way = " DESC" if descending else ""
        words.extend((f"{place.rank}{way}", f"{place.value}{way}"))
    # Equal keys follow the first key's direction, so that one index scan in either direction serves the whole order.
    words.append("rid DESC" if keys[0][1] else "rid")
    return " ORDER BY " + ", ".join(words)


def after(
    keys: tuple[tuple[Property, bool], ...], state: State, *, inclusive: bool
) -> list[tuple[str, tuple[Value, ...]]]:
    """Conditions for the rows behind the last one, to be run one after the other.

    Args:
        inclusive: the last document may have more rows, so it is read again.

    First come the rows of the same rank in the first key, then those of later ranks: an index on (R, V) can start right
    behind the last row of the first, and a single condition with OR between the two would make it start at the beginning.
    """
    if not state:
        return [("", ())]
    values = list(state.get("k", ()))
    if len(values) != 2 * len(keys) or not isinstance(state.get("r"), int):
        raise bad_request("The continuation token does not fit this query.")
    downwards = bool(keys) and keys[0][1]
    sql, binds = f"rid{'<' if downwards else '>'}{'=' if inclusive else ''}?", [state["r"]]
    columns = [(text, descending) for place, descending in keys for text in (place.rank, place.value)]
    for (column, descending), value in reversed(list(zip(columns, values, strict=True))[1:]):
        # NULL is the V of undefined and null; among equal ranks it is the only value.
        sql = f"({column}{'<' if descending else '>'}? OR ({column} IS ? AND {sql}))"
        binds = [value, value, *binds]
    if not keys:
        return [(sql, tuple(binds))]
    first, sign = keys[0][0], "<" if downwards else ">"
    if values[1] is not None:
        sql, binds = f"{first.value}{sign}=? AND {sql}", [values[1], *binds]
    return [(f"{first.rank}=? AND {sql}", (values[0], *binds)), (f"{first.rank}{sign}?", (values[0],))]
