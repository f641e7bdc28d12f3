"""Properties of a document as SQL: R, the rank of the type (0 for undefined), and V, the value.

A path becomes SQL text only when it consists of letters, digits, `_` and `-`: literal text lets an index serve it, and nothing
else can get into the statement. Everything else is bound.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from local.cosmos.query import ast

_SAFE_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
Step = str | int


@dataclass(frozen=True, slots=True)
class Property:
    """A property of the document as SQL: rank, value."""

    steps: tuple[Step, ...]
    rank: str
    value: str
    path: str | None = None  # the JSON path; None for what has a column of its own


_COLUMNS = {("id",): Property(("id",), "4", "id"), ("_ts",): Property(("_ts",), "3", "ts")}


def property_of(node: ast.Node, alias: str) -> Property | None:
    """The property that an expression reads, if it is a plain path on the document `alias`."""
    steps: list[Step] = []
    while isinstance(node, ast.Member):
        key = node.key.value if isinstance(node.key, ast.Literal) else None
        if not (isinstance(key, str) and _SAFE_KEY.fullmatch(key)) and type(key) is not int:
            return None
        steps.append(key)
        node = node.of
    if not isinstance(node, ast.Name) or node.name != alias or not steps:
        return None
    return json_property(tuple(reversed(steps)))


def json_property(steps: tuple[Step, ...]) -> Property:
    """R and V of a path of safe steps."""
    if steps in _COLUMNS:
        return _COLUMNS[steps]
    path = "$" + "".join(f"[{step}]" if isinstance(step, int) else f'."{step}"' for step in steps)
    kind = (
        f"(CASE json_type(body,'{path}') WHEN 'text' THEN 4 WHEN 'integer' THEN 3 WHEN 'real' THEN 3 WHEN 'null' THEN 1 "
        f"WHEN 'true' THEN 2 WHEN 'false' THEN 2 WHEN 'array' THEN 5 WHEN 'object' THEN 6 ELSE 0 END)"
    )
    return Property(steps, kind, f"json_extract(body,'{path}')", path)
