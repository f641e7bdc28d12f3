"""GROUP BY and aggregates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from local.cosmos.errors import bad_request
from local.cosmos.jsonvalue import Value, canonical
from local.cosmos.query import ast
from local.cosmos.query.aggregates import ACCUMULATORS
from local.cosmos.query.evaluator import Compiler, Environment, Evaluate, Scope
from local.cosmos.query.functions import AGGREGATES


@dataclass(slots=True)
class Aggregation:
    """GROUP BY and aggregates of one query."""

    keys: list[tuple[Evaluate, int]]  # value within a row, slot of the group's value
    aggregates: list[tuple[str, Evaluate, int]]

    def run(self, env: Environment, rows: Iterator[None]) -> Iterator[None]:
        """Go through the rows; yield once a group, with the group's values in their slots."""
        groups: dict[tuple[str, ...], tuple[list[Value], list[Any]]] = {}
        if not self.keys:
            groups[()] = ([], [ACCUMULATORS[name]() for name, _, _ in self.aggregates])
        for _ in rows:
            values = [key(env) for key, _ in self.keys]
            name = tuple(canonical(value) for value in values)
            if name not in groups:
                groups[name] = (values, [ACCUMULATORS[kind]() for kind, _, _ in self.aggregates])
            for accumulator, (_, argument, _) in zip(groups[name][1], self.aggregates, strict=True):
                accumulator.add(argument(env))
        for values, accumulators in groups.values():
            for value, (_, slot) in zip(values, self.keys, strict=True):
                env[slot] = value
            for accumulator, (_, _, slot) in zip(accumulators, self.aggregates, strict=True):
                env[slot] = accumulator.result()
            yield


def group(
    query: ast.Query, scope: Scope, outer: Scope, compiler: Compiler
) -> tuple[Aggregation | None, Compiler, Scope]:
    """The aggregation of a query, and with what its SELECT list is compiled: above a group only its keys and aggregates exist.

    Raises:
        CosmosError: 400, something is neither a key nor in an aggregate.
    """
    calls = aggregate_calls(query)
    if not calls and not query.group_by:
        return None, compiler, scope
    if query.selection.kind == "all":
        raise bad_request("SELECT * cannot be grouped; name what is wanted.")
    if query.group_by and query.order_by:
        raise bad_request("ORDER BY together with GROUP BY is not supported by the service.")
    replaced: dict[ast.Node, int] = {}
    aggregates, keys = [], []
    for call in calls:
        if len(call.arguments) != 1:
            raise bad_request(
                f"'{call.name}' at position {call.position} takes one argument, {len(call.arguments)} given."
            )
        replaced[call] = scope.declare(f"#{len(replaced)}")
        aggregates.append((call.name, compiler.compile(call.arguments[0], scope), replaced[call]))
    for key in query.group_by:
        replaced[key] = scope.declare(f"#{len(replaced)}")
        keys.append((compiler.compile(key, scope), replaced[key]))
    _refuse_ungrouped(query, replaced)
    final_scope = Scope(outer.slots, scope.width)
    return Aggregation(keys, aggregates), compiler.replacing(replaced), final_scope


def aggregate_calls(query: ast.Query) -> list[ast.Call]:
    """The different aggregates of a query, those of its subqueries left out."""
    places: tuple[ast.Node, ...] = (query.selection, *query.order_by)
    found: dict[ast.Call, None] = {}
    for place in places:
        for node in place.walk(into_queries=False):
            if isinstance(node, ast.Call) and node.name in AGGREGATES:
                found[node] = None
    return list(found)


def _refuse_ungrouped(query: ast.Query, replaced: dict[ast.Node, int]) -> None:
    aliases = {source.alias for source in query.sources}

    def check(node: ast.Node) -> None:
        if node in replaced:
            return
        if isinstance(node, ast.Name) and node.name in aliases:
            raise bad_request(
                f"'{node.name}' at position {node.position} is neither in an aggregate nor in GROUP BY, "
                "so it has no single value."
            )
        for child in node.children():
            check(child)

    check(query.selection)
