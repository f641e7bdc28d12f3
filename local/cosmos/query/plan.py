"""What is worked out once for a query: its tree, its closures, and what SQLite does of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from local.cosmos.errors import bad_request
from local.cosmos.jsonvalue import Value
from local.cosmos.query import ast
from local.cosmos.query.division import Pushed, push
from local.cosmos.query.parser import parse
from local.cosmos.query.pipeline import Compiled, compile_query


@dataclass(frozen=True, slots=True)
class Plan:
    """A query with one set of parameter values divided between SQLite and the evaluator."""

    query: ast.Query
    compiled: Compiled
    pushed: Pushed
    streams: bool  # SQLite gives the documents in the final order
    exact: bool  # a document is a row: SQLite's LIMIT is the page's
    whole_documents: bool  # the stored text is the row
    counts: bool  # COUNT over documents, which SQLite does alone
    count_slot: int


def make_plan(text: str, parameters: Mapping[str, Value], *, push_down: bool = True) -> Plan:
    """Parse and divide a query.

    Raises:
        CosmosError: 400, it cannot be read, or a parameter is missing.
    """
    return _plan(text, orjson.dumps(parameters), push_down)


@lru_cache(maxsize=2048)
def _plan(text: str, parameters: bytes, push_down: bool) -> Plan:
    # Keyed by the parameters' JSON: as Python values 1, 1.0 and True would be one key.
    try:
        return _divide(text, orjson.loads(parameters), push_down=push_down)
    except RecursionError:
        raise bad_request("The query is too complex: its expressions are nested too deeply.") from None


def _divide(text: str, parameters: Mapping[str, Value], *, push_down: bool) -> Plan:
    query = parse(text)
    for name in _parameters(text):
        if name not in parameters:
            raise bad_request(f"The query names {name}, but no such parameter was given.")
    pushed = push(query, parameters, enabled=push_down)
    compiled = _compile(text, pushed.residual)
    plain = len(query.sources) == 1 and not query.sources[0].iterate and isinstance(query.sources[0].of, ast.Name)
    simple = compiled.aggregation is None and not query.distinct and bool(query.sources)
    whole = simple and plain and pushed.residual is None and _is_whole(query)
    counts = plain and pushed.residual is None and push_down and _is_count(query)
    return Plan(
        query,
        compiled,
        pushed,
        streams=simple and pushed.order is not None,
        exact=whole or (simple and plain and pushed.residual is None and query.selection.kind == "list"),
        whole_documents=whole,
        counts=counts,
        count_slot=compiled.aggregation.aggregates[0][2] if counts and compiled.aggregation else 0,
    )


@lru_cache(maxsize=1024)
def _parameters(text: str) -> frozenset[str]:
    return frozenset(node.name for node in parse(text).walk() if isinstance(node, ast.Parameter))


@lru_cache(maxsize=1024)
def _compile(text: str, residual: ast.Node | None) -> Compiled:
    return compile_query(parse(text), residual)


def _is_whole(query: ast.Query) -> bool:
    if query.selection.kind == "all":
        return True
    only = query.selection.items[0].expression
    return query.selection.kind == "value" and isinstance(only, ast.Name) and only.name == query.sources[0].alias


def _is_count(query: ast.Query) -> bool:
    if query.group_by or query.order_by or query.distinct:
        return False
    calls = [node for item in query.selection.items for node in item.expression.walk() if isinstance(node, ast.Call)]
    names = any(isinstance(node, (ast.Name, ast.Subquery)) for item in query.selection.items for node in item.walk())
    if len(calls) != 1 or names:
        return False
    argument = calls[0].arguments[0] if calls[0].name == "COUNT" and len(calls[0].arguments) == 1 else None
    return isinstance(argument, ast.Literal) and argument.kind in ("int", "str", "bool")


def parameters_of(body: Any) -> dict[str, Value]:
    """The parameters of a query request.

    Raises:
        CosmosError: 400, malformed or doubled.
    """
    given = body.get("parameters") or []
    if not isinstance(given, list):
        raise bad_request("'parameters' must be an array of {name, value}.")
    found: dict[str, Value] = {}
    for entry in given:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or "value" not in entry:
            raise bad_request('A parameter has the form {"name": "@x", "value": ...}.')
        if entry["name"] in found:
            raise bad_request(f"The parameter {entry['name']} is given twice.")
        found[entry["name"]] = entry["value"]
    return found
