"""The syntax tree back to text: for the rewritten queries of a query plan."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from local.cosmos.jsonvalue import UNDEFINED
from local.cosmos.query import ast


def print_query(query: ast.Query) -> str:
    """The text of a query; parsing it gives the same tree."""
    parts = ["SELECT"]
    if query.distinct:
        parts.append("DISTINCT")
    if query.top is not None:
        parts.append(f"TOP {_text(query.top)}")
    parts.append(_selection(query.selection))
    if query.sources:
        parts.append("FROM " + " JOIN ".join(_source(source) for source in query.sources))
    if query.where is not None:
        parts.append(f"WHERE {_text(query.where)}")
    if query.group_by:
        parts.append("GROUP BY " + ", ".join(_text(key) for key in query.group_by))
    if query.order_by:
        keys = (f"{_text(item.expression)} {'DESC' if item.descending else 'ASC'}" for item in query.order_by)
        parts.append("ORDER BY " + ", ".join(keys))
    if query.offset is not None and query.limit is not None:
        parts.append(f"OFFSET {_text(query.offset)} LIMIT {_text(query.limit)}")
    return " ".join(parts)


def _selection(selection: ast.Selection) -> str:
    if selection.kind == "all":
        return "*"
    if selection.kind == "value":
        return f"VALUE {_text(selection.items[0].expression)}"
    return "VALUE {" + ", ".join(f"{_string(item.name)}: {_text(item.expression)}" for item in selection.items) + "}"


def _source(source: ast.Source) -> str:
    of = f"({print_query(source.of.query)})" if isinstance(source.of, ast.Subquery) else _text(source.of)
    if source.iterate:
        return f"{source.alias} IN {of}"
    return of if of == source.alias else f"{of} AS {source.alias}"


def _string(text: str) -> str:
    return orjson.dumps(text).decode()


def _text(node: ast.Node) -> str:
    return _PRINTERS[type(node)](node)


def _literal(node: ast.Literal) -> str:
    return "undefined" if node.value is UNDEFINED else orjson.dumps(node.value).decode()


def _member(node: ast.Member) -> str:
    return f"{_text(node.of)}[{_text(node.key)}]"


def _negated(word: str, *, negated: bool) -> str:
    return f"NOT {word}" if negated else word


def _in(node: ast.In) -> str:
    choices = ", ".join(_text(choice) for choice in node.choices)
    return f"({_text(node.operand)} {_negated('IN', negated=node.negated)} ({choices}))"


def _between(node: ast.Between) -> str:
    word = _negated("BETWEEN", negated=node.negated)
    return f"({_text(node.operand)} {word} {_text(node.low)} AND {_text(node.high)})"


def _like(node: ast.Like) -> str:
    escape = "" if node.escape is None else f" ESCAPE {_string(node.escape)}"
    return f"({_text(node.operand)} {_negated('LIKE', negated=node.negated)} {_text(node.pattern)}{escape})"


def _object(node: ast.ObjectLiteral) -> str:
    return "{" + ", ".join(f"{_string(key)}: {_text(value)}" for key, value in node.properties) + "}"


def _subquery(node: ast.Subquery) -> str:
    word = {"scalar": "", "exists": "EXISTS", "array": "ARRAY"}[node.kind]
    return f"{word}({print_query(node.query)})"


_PRINTERS: dict[type[ast.Node], Callable[..., str]] = {
    ast.Literal: _literal,
    ast.Parameter: lambda node: node.name,
    ast.Name: lambda node: node.name,
    ast.Member: _member,
    ast.Unary: lambda node: f"({node.operator} {_text(node.operand)})",
    ast.Binary: lambda node: f"({_text(node.left)} {node.operator} {_text(node.right)})",
    ast.Logic: lambda node: "(" + f" {node.operator} ".join(_text(term) for term in node.terms) + ")",
    ast.In: _in,
    ast.Between: _between,
    ast.Like: _like,
    ast.Ternary: lambda node: f"({_text(node.condition)} ? {_text(node.then)} : {_text(node.otherwise)})",
    ast.Call: lambda node: f"{node.name}({', '.join(_text(argument) for argument in node.arguments)})",
    ast.ArrayLiteral: lambda node: "[" + ", ".join(_text(item) for item in node.items) + "]",
    ast.ObjectLiteral: _object,
    ast.Subquery: _subquery,
}
