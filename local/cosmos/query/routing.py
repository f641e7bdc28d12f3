"""Which partitions, or which single items, a filter can match at all.

A query without a partition key header may still name keys in its filter; so do the queries by which the SDK reads many items
at once. The service goes straight to those partitions, and so does this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from local.cosmos.jsonvalue import Rank, Value, rank
from local.cosmos.partition import KeyDefinition
from local.cosmos.query import ast
from local.cosmos.query.division import conjuncts

MAX_PLACES = 5_000
Path = tuple[str, ...]
Place = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Pinned:
    """The partition keys that can match, and the ids within them if these are named as well."""

    keys: tuple[str, ...]  # canonical texts
    items: tuple[tuple[str, str], ...] | None  # (canonical key, id)


def pinned(query: ast.Query, parameters: Mapping[str, Value], definition: KeyDefinition) -> Pinned | None:
    """What the filter pins, or None if it leaves a partition open."""
    first = query.sources[0] if query.sources else None
    if first is None or query.where is None or first.iterate or not isinstance(first.of, ast.Name):
        return None
    finder = _Finder(first.alias, parameters)
    items = finder.places(query.where, (*definition.paths, ("id",)))
    if items is not None and all(isinstance(place[-1], str) for place in items):
        pairs = dict.fromkeys((definition.of_values(place[:-1]).text, place[-1]) for place in items)
        return Pinned(tuple(dict.fromkeys(key for key, _ in pairs)), tuple(pairs))
    keys = finder.places(query.where, definition.paths)
    if keys is None:
        return None
    return Pinned(tuple(dict.fromkeys(definition.of_values(place).text for place in keys)), None)


class _Finder:
    def __init__(self, alias: str, parameters: Mapping[str, Value]) -> None:
        self._alias = alias
        self._parameters = parameters

    def places(self, node: ast.Node, paths: Sequence[Path]) -> list[Place] | None:
        """All combinations of values at `paths` for which the expression can be true, or None if they are not bounded."""
        parts = conjuncts(node)
        allowed: dict[Path, list[Value]] = {}
        for part in parts:
            path, values = self._equality(part)
            if path in paths and path is not None:
                allowed.setdefault(path, values)
        if all(path in allowed for path in paths):
            found = list(product(*(allowed[path] for path in paths)))
            return found if len(found) <= MAX_PLACES else None
        for part in parts:
            if isinstance(part, ast.Logic) and part.operator == "OR":
                branches = [self.places(term, paths) for term in part.terms]
                if all(branch is not None for branch in branches):
                    found = [place for branch in branches for place in branch or ()]
                    return found if len(found) <= MAX_PLACES else None
        return None

    def _equality(self, node: ast.Node) -> tuple[Path | None, list[Value]]:
        if isinstance(node, ast.Binary) and node.operator == "=":
            for side, other in ((node.left, node.right), (node.right, node.left)):
                path, values = self._path(side), self._values((other,))
                if path is not None and values is not None:
                    return path, values
        if isinstance(node, ast.In) and not node.negated:
            values = self._values(node.choices)
            if values is not None:
                return self._path(node.operand), values
        return None, []

    def _path(self, node: ast.Node) -> Path | None:
        steps: list[str] = []
        while isinstance(node, ast.Member):
            if not isinstance(node.key, ast.Literal) or not isinstance(node.key.value, str):
                return None
            steps.append(node.key.value)
            node = node.of
        return tuple(reversed(steps)) if isinstance(node, ast.Name) and node.name == self._alias and steps else None

    def _values(self, nodes: Sequence[ast.Node]) -> list[Value] | None:
        found = []
        for node in nodes:
            if isinstance(node, ast.Literal):
                value = node.value
            elif isinstance(node, ast.Parameter):
                value = self._parameters[node.name]
            else:
                return None
            # null is left out: in a hierarchical key an absent level is stored as null too.
            if rank(value) not in (Rank.BOOLEAN, Rank.NUMBER, Rank.STRING):
                return None
            found.append(value)
        return found
