"""A query compiled: rows of its sources, filter, grouping, order, projection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from local.cosmos.errors import bad_request
from local.cosmos.jsonvalue import UNDEFINED, Value, canonical, sort_key
from local.cosmos.query import ast
from local.cosmos.query.evaluator import Compiler, Environment, Evaluate, RunSubquery, Scope
from local.cosmos.query.grouping import Aggregation, aggregate_calls, group

Rows = Callable[[Environment], Iterator[None]]
MAX_LIMIT = 2**31 - 1


class Descending:
    """Turns an order around."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __lt__(self, other: Descending) -> bool:
        return bool(other.key < self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and bool(self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(slots=True)
class Compiled:
    """A query ready to run over documents."""

    scope: Scope
    root: int  # slot of the document, 0 if the query has no FROM
    rows: Rows
    where: Evaluate | None
    aggregation: Aggregation | None
    order: list[tuple[Evaluate, bool]]
    project: Evaluate
    distinct: bool
    top: Evaluate | None
    offset: Evaluate | None
    limit: Evaluate | None

    def matched(self, env: Environment) -> Iterator[None]:
        """The rows of one document (or of the outer row) that pass the filter."""
        if self.where is None:
            return self.rows(env)
        where = self.where
        return (None for _ in self.rows(env) if where(env) is True)

    def sort_keys(self, env: Environment) -> tuple[Any, ...]:
        """The present row's place in the order."""
        keys = ((sort_key(key(env)), descending) for key, descending in self.order)
        return tuple(Descending(key) if descending else key for key, descending in keys)

    def bounds(self, env: Environment) -> tuple[int, int | None]:
        """How many rows to skip, and how many to give at most."""
        offset = 0 if self.offset is None else whole_count(self.offset(env), "OFFSET")
        limits = [
            whole_count(value(env), name)
            for value, name in ((self.limit, "LIMIT"), (self.top, "TOP"))
            if value is not None
        ]
        return offset, min(limits) if limits else None

    def run(self, env: Environment) -> Iterator[Value]:
        """The whole result within one environment (subqueries)."""
        return self.finish(env, self.matched(env))

    def finish(self, env: Environment, rows: Iterator[None]) -> Iterator[Value]:
        """Group, sort, project, and cut what `rows` gives."""
        if self.aggregation is not None:
            rows = self.aggregation.run(env, rows)
        values: Iterator[Value]
        if self.order:
            found = [(self.sort_keys(env), number, self.project(env)) for number, _ in enumerate(rows)]
            found.sort(key=lambda row: row[:2])
            values = (value for _, _, value in found if value is not UNDEFINED)
        else:
            values = (value for _ in rows if (value := self.project(env)) is not UNDEFINED)
        if self.distinct:
            values = _distinct(values)
        offset, limit = self.bounds(env)
        return islice(values, offset, None if limit is None else offset + limit)


def _distinct(values: Iterator[Value]) -> Iterator[Value]:
    seen = set()
    for value in values:
        name = canonical(value)
        if name not in seen:
            seen.add(name)
            yield value


def whole_count(value: Value, name: str) -> int:
    """An operand of TOP, OFFSET or LIMIT.

    Raises:
        CosmosError: 400, no whole number, or too great.
    """
    if type(value) is not int or not 0 <= value <= MAX_LIMIT:
        raise bad_request(f"{name} needs a whole number from 0 to {MAX_LIMIT}, not {value!r}.")
    return value


def compile_query(query: ast.Query, where: ast.Node | None) -> Compiled:
    """Compile a top-level query.

    Args:
        query: its tree.
        where: the part of its filter that is to be evaluated here; the rest has been pushed down.

    Raises:
        CosmosError: 400.
    """
    return _compile(query, where, Scope(), outermost=True)


def _subquery(query: ast.Query, scope: Scope) -> RunSubquery:
    return _compile(query, query.where, scope, outermost=False).run


def _compile(query: ast.Query, where: ast.Node | None, scope: Scope, *, outermost: bool) -> Compiled:
    outer = scope.inner()
    root = scope.declare("") if outermost and query.sources else 0
    compiler = Compiler(_subquery)
    rows: Rows = _no_rows
    for wrap in reversed(_declare(query, scope, root, compiler)):
        rows = wrap(rows)
    aggregation, final, final_scope = group(query, scope, outer, compiler)
    return Compiled(
        scope=scope,
        root=root,
        rows=rows,
        where=None if where is None else compiler.compile(where, scope),
        aggregation=aggregation,
        order=[(final.compile(item.expression, final_scope), item.descending) for item in query.order_by],
        project=_projection(query, final, final_scope),
        distinct=query.distinct,
        top=_optional(query.top, compiler, outer),
        offset=_optional(query.offset, compiler, outer),
        limit=_optional(query.limit, compiler, outer),
    )


def _optional(node: ast.Node | None, compiler: Compiler, scope: Scope) -> Evaluate | None:
    return None if node is None else compiler.compile(node, scope)


def _no_rows(_env: Environment) -> Iterator[None]:
    yield


def _declare(query: ast.Query, scope: Scope, root: int, compiler: Compiler) -> list[Callable[[Rows], Rows]]:
    steps = []
    for number, source in enumerate(query.sources):
        if source.alias in scope.slots and number > 0 and scope.slots[source.alias] > root:
            raise bad_request(f"The alias '{source.alias}' is used twice.")
        of = source.of
        if number == 0 and root:
            of = _rooted(of)
        elif number == 0 and _head(of) not in scope.slots:
            # A subquery may name the container: then it means the document at hand.
            of = _rooted(of)
        run = _rows_of(source, of, scope, compiler)
        steps.append(_bind(run, scope.declare(source.alias)))
    return steps


def _head(node: ast.Node) -> str:
    while isinstance(node, ast.Member):
        node = node.of
    return node.name if isinstance(node, ast.Name) else ""


def _rooted(node: ast.Node) -> ast.Node:
    """The same path, from the document instead of from the container's name."""
    if isinstance(node, ast.Member):
        return ast.Member(_rooted(node.of), node.key)
    return ast.Name("") if isinstance(node, ast.Name) else node


def _rows_of(source: ast.Source, of: ast.Node, scope: Scope, compiler: Compiler) -> RunSubquery:
    if isinstance(of, ast.Subquery):
        if aggregate_calls(of.query):
            _refuse_global_aggregate(of.query, scope)
        return _subquery(of.query, scope.inner())
    value = compiler.compile(of, scope)
    if source.iterate:
        return lambda env: iter(found) if isinstance(found := value(env), list) else iter(())

    def one(env: Environment) -> Iterator[Value]:
        found = value(env)
        if found is not UNDEFINED:
            yield found

    return one


def _refuse_global_aggregate(query: ast.Query, scope: Scope) -> None:
    first = query.sources[0] if query.sources else None
    if first is not None and not isinstance(first.of, ast.Subquery) and _head(first.of) not in scope.slots:
        raise bad_request(
            "An aggregate over the container cannot stand in a subquery of FROM; make it the outer query."
        )


def _bind(run: RunSubquery, slot: int) -> Callable[[Rows], Rows]:
    def wrap(rest: Rows) -> Rows:
        if rest is _no_rows:

            def last(env: Environment) -> Iterator[None]:
                for value in run(env):
                    env[slot] = value
                    yield

            return last

        def rows(env: Environment) -> Iterator[None]:
            for value in run(env):
                env[slot] = value
                yield from rest(env)

        return rows

    return wrap


def _projection(query: ast.Query, compiler: Compiler, scope: Scope) -> Evaluate:
    selection = query.selection
    if selection.kind == "all":
        if len(query.sources) != 1:
            raise bad_request("SELECT * needs exactly one source; with JOIN name what is wanted.")
        slot = scope.slots[query.sources[0].alias]
        return lambda env: env[slot]
    if selection.kind == "value":
        return compiler.compile(selection.items[0].expression, scope)
    return compiler.compile(ast.ObjectLiteral(tuple((item.name, item.expression) for item in selection.items)), scope)
