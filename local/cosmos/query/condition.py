"""The predicate of a patch, held against one document."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from local.cosmos.errors import bad_request
from local.cosmos.query import ast
from local.cosmos.query.parser import parse_condition
from local.cosmos.query.pipeline import Compiled, compile_query


def holds(text: str, document: dict[str, Any]) -> bool:
    """Whether `FROM c WHERE ...` is true for a document.

    Raises:
        CosmosError: 400, not such a predicate.
    """
    compiled = _compiled(text)
    env = [None] * compiled.scope.width[0]
    env[0] = {}  # type: ignore[call-overload]
    env[compiled.root] = document  # type: ignore[call-overload]
    return any(True for _ in compiled.matched(env))


@lru_cache(maxsize=256)
def _compiled(text: str) -> Compiled:
    query = parse_condition(text)
    if any(isinstance(node, ast.Parameter) for node in query.walk()):
        raise bad_request("A patch condition takes no parameters.")
    return compile_query(query, query.where)
