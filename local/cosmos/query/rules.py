"""What the service refuses although its grammar allows it."""

from __future__ import annotations

from typing import Any

from local.cosmos.errors import bad_request
from local.cosmos.indexing import composite_indexes
from local.cosmos.query import ast
from local.cosmos.query.indexes import is_indexed
from local.cosmos.query.properties import Step


def check_order(query: ast.Query, definition: dict[str, Any]) -> None:
    """Hold ORDER BY against the container's indexes.

    Raises:
        CosmosError: 400, a key is no path of the document, is not indexed, or several keys lack a composite index.
    """
    if not query.order_by:
        return
    if not query.sources:
        raise bad_request("ORDER BY needs a FROM clause.")
    alias = query.sources[0].alias
    keys = [(_steps(item.expression, alias), item.descending) for item in query.order_by]
    for steps, _ in keys:
        if not steps or query.sources[0].iterate:
            raise bad_request(
                "Unsupported ORDER BY clause: its items must be paths of the document, such as c.created_at."
            )
        if not is_indexed(definition["indexingPolicy"], steps):
            raise bad_request(
                f"The order by query cannot be served: /{'/'.join(map(str, steps))} is excluded by the indexing policy."
            )
    if len(keys) > 1 and not _covered(keys, composite_indexes(definition)):
        wanted = ", ".join(
            f"/{'/'.join(map(str, steps))} {'descending' if down else 'ascending'}" for steps, down in keys
        )
        raise bad_request(
            f"The order by query does not have a corresponding composite index that it can be served from: [{wanted}]."
        )


def _steps(node: ast.Node, alias: str) -> tuple[Step, ...]:
    steps: list[Step] = []
    while isinstance(node, ast.Member) and isinstance(node.key, ast.Literal):
        steps.append(node.key.value)
        node = node.of
    return tuple(reversed(steps)) if isinstance(node, ast.Name) and node.name == alias else ()


def _covered(keys: list[tuple[tuple[Step, ...], bool]], indexes: list[list[tuple[tuple[str, ...], bool]]]) -> bool:
    """A composite index serves exactly its own order, and the exact reverse."""
    reverse = [(steps, not down) for steps, down in keys]
    return any(list(index) in (keys, reverse) for index in indexes)
