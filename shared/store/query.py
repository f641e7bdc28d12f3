"""Building parameterised list queries. No value ever becomes part of the query's text."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar

from shared.platform.clock import rfc3339
from shared.store.documents import INDEX, Document

T = TypeVar("T")

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in", "contains", "starts"]
_FIELD: Final = re.compile(r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*$")
_FORMS: Final[dict[str, str]] = {
    "in": "ARRAY_CONTAINS({value}, {field})",
    "contains": "ARRAY_CONTAINS({field}, {value})",
    "starts": "STARTSWITH({field}, {value}, true)",
}


@dataclass(frozen=True, slots=True)
class Where:
    """One condition on a field (`state`, or `spec.region`). `in` takes a list; `contains` looks into an array.

    Where a part of the path is a name that a tenant chose, the path is a tuple: `("labels", name)`.
    """

    field: str | tuple[str, ...]
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """One page as the store gives it: the items, and the cursor of the next page if there may be one."""

    items: list[T]
    cursor: str | None


def path(field: str | tuple[str, ...], indexed: Collection[str] = ()) -> str:
    """The query text of a field. A tuple's parts after the first may be any text: each is written as a quoted string.

    `indexed` are the fields that lie in the indexed part of the document too, which is where they are then looked up.

    Raises:
        ValueError: it is not a plain field name; names come from our code, never from a request unchecked.
    """
    first, *chosen = (field,) if isinstance(field, str) else field
    if not _FIELD.match(first):
        raise ValueError(f"{first!r} is not a field name")
    root = f'c["{INDEX}"]' if first in indexed else "c"
    steps = "".join(f'["{part}"]' for part in first.split("."))
    return root + steps + "".join(f"[{json.dumps(part)}]" for part in chosen)


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat") and hasattr(value, "astimezone"):
        return rfc3339(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return value


def conditions(model: type[Document], where: Sequence[Where]) -> tuple[str, list[dict[str, Any]]]:
    """The WHERE clause and its parameters."""
    parts = [f"{path('type', () if model.id_prefix else ('type',))} = @type"]
    parameters: list[dict[str, Any]] = [{"name": "@type", "value": model.type_name()}]
    if model.id_prefix:
        parts.insert(0, f"STARTSWITH({path('id')}, @prefix)")
        parameters.append({"name": "@prefix", "value": model.id_prefix})
    for number, condition in enumerate(where):
        name = f"@p{number}"
        form = _FORMS.get(condition.operator, "{field} " + condition.operator + " {value}")
        parts.append(form.format(field=path(condition.field, model.indexed), value=name))
        parameters.append({"name": name, "value": _plain(condition.value)})
    return " AND ".join(parts), parameters


def listing(model: type[Document], where: Sequence[Where], sort: str) -> tuple[str, list[dict[str, Any]]]:
    """The list query: `sort` is `id` or an indexed field, with a minus in front for descending.

    Raises:
        ValueError: nothing is sorted by what is not indexed.
    """
    field = sort.removeprefix("-")
    if field != "id" and field not in model.indexed:
        raise ValueError(f"a list of {model.type_name()} cannot be sorted by {field}, which is not indexed")
    clause, parameters = conditions(model, where)
    direction = "DESC" if sort.startswith("-") else "ASC"
    return f"SELECT * FROM c WHERE {clause} ORDER BY {path(field, model.indexed)} {direction}", parameters  # noqa: S608 - field names are checked, values are parameters
