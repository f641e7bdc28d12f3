"""The syntax tree. Nodes are values: two expressions that read alike are equal, which GROUP BY relies on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """Any part of a query."""

    def children(self) -> Iterator[Node]:
        """The nodes directly below."""
        for spec in fields(self):
            yield from _nodes(getattr(self, spec.name))

    def walk(self, *, into_queries: bool = True) -> Iterator[Node]:
        """This node and all below, if wanted without those inside subqueries."""
        yield self
        for child in self.children():
            if into_queries or not isinstance(child, Query):
                yield from child.walk(into_queries=into_queries)


def _nodes(value: Any) -> Iterator[Node]:
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _nodes(item)


@dataclass(frozen=True, slots=True)
class Literal(Node):
    """A constant. `kind` keeps `1` and `true` apart, which Python calls equal."""

    value: Any = field(hash=False)
    kind: str = ""

    @classmethod
    def of(cls, value: Any) -> Literal:
        """A constant with its kind filled in."""
        return cls(value, type(value).__name__)


@dataclass(frozen=True, slots=True)
class Parameter(Node):
    """`@name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Name(Node):
    """An alias of the FROM clause."""

    name: str
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Member(Node):
    """`of.key` or `of[key]`."""

    of: Node
    key: Node


@dataclass(frozen=True, slots=True)
class Unary(Node):
    """`-`, `+`, `~`, `NOT`."""

    operator: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """Arithmetic, comparison, `??`, `||`."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Logic(Node):
    """`AND` or `OR` of two or more terms."""

    operator: str
    terms: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class In(Node):
    """`operand [NOT] IN (...)`."""

    operand: Node
    choices: tuple[Node, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class Between(Node):
    """`operand [NOT] BETWEEN low AND high`."""

    operand: Node
    low: Node
    high: Node
    negated: bool


@dataclass(frozen=True, slots=True)
class Like(Node):
    """`operand [NOT] LIKE pattern [ESCAPE c]`."""

    operand: Node
    pattern: Node
    escape: str | None
    negated: bool


@dataclass(frozen=True, slots=True)
class Ternary(Node):
    """`condition ? then : otherwise`."""

    condition: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A function with its arguments; the name in upper case."""

    name: str
    arguments: tuple[Node, ...]
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class ArrayLiteral(Node):
    """`[a, b]`."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ObjectLiteral(Node):
    """`{"a": b}`."""

    properties: tuple[tuple[str, Node], ...]


@dataclass(frozen=True, slots=True)
class Subquery(Node):
    """A query as an expression: `kind` is `scalar`, `exists` or `array`."""

    kind: str
    query: Query


@dataclass(frozen=True, slots=True)
class Item(Node):
    """One entry of a SELECT list."""

    expression: Node
    name: str


@dataclass(frozen=True, slots=True)
class Selection(Node):
    """`*`, `VALUE expr` or a list."""

    kind: str
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Source(Node):
    """One input of FROM. `of` is a Name, a path on one, or a query; `iterate` for `alias IN of`."""

    alias: str
    of: Node
    iterate: bool
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class OrderItem(Node):
    """One sort key."""

    expression: Node
    descending: bool


@dataclass(frozen=True, slots=True)
class Query(Node):
    """A whole query, or a subquery."""

    selection: Selection
    distinct: bool = False
    top: Node | None = None
    sources: tuple[Source, ...] = ()
    where: Node | None = None
    group_by: tuple[Node, ...] = ()
    order_by: tuple[OrderItem, ...] = ()
    offset: Node | None = None
    limit: Node | None = None
