"""Divides a query between SQLite and the evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local.cosmos.query import ast
from local.cosmos.query.properties import Property, property_of
from local.cosmos.query.pushdown import Fragment, Pusher


def conjuncts(node: ast.Node | None) -> list[ast.Node]:
    """The parts of a filter that must all be true."""
    if node is None:
        return []
    if isinstance(node, ast.Logic) and node.operator == "AND":
        return [part for term in node.terms for part in conjuncts(term)]
    return [node]


def conjunction(nodes: Sequence[ast.Node]) -> ast.Node | None:
    """The filter that holds when all parts do."""
    if not nodes:
        return None
    return nodes[0] if len(nodes) == 1 else ast.Logic("AND", tuple(nodes))


@dataclass(frozen=True, slots=True)
class Pushed:
    """What SQLite does of a query."""

    where: tuple[Fragment, ...]
    residual: ast.Node | None
    order: tuple[tuple[Property, bool], ...] | None  # None: the order is left to the evaluator


def push(query: ast.Query, parameters: Mapping[str, Any], *, enabled: bool = True) -> Pushed:
    """Divide a query between SQLite and the evaluator."""
    nodes = conjuncts(query.where)
    first = query.sources[0] if query.sources else None
    plain = first is not None and not first.iterate and isinstance(first.of, ast.Name)
    if not enabled or first is None or not plain:
        return Pushed((), conjunction(nodes), None if query.order_by else ())
    pusher = Pusher(first.alias, parameters)
    made = [pusher.filter(node) for node in nodes]
    residual = conjunction([node for node, fragment in zip(nodes, made, strict=True) if fragment is None])
    keys = [(property_of(item.expression, first.alias), item.descending) for item in query.order_by]
    order = tuple((place, descending) for place, descending in keys if place is not None)
    return Pushed(
        tuple(fragment for fragment in made if fragment is not None),
        residual,
        order if len(order) == len(keys) else None,
    )
