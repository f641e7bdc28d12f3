"""Turns lark's parse tree into the syntax tree. Method names are the grammar's rule names: one method a rule, hence its length."""

from __future__ import annotations

import re
from typing import Any

from lark import Token, Transformer, v_args

from local.cosmos.errors import bad_request
from local.cosmos.jsonvalue import UNDEFINED, number
from local.cosmos.query import ast

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", "'": "'", '"': '"'}


def text_of(token: str) -> str:
    """The string that a quoted literal stands for.

    Raises:
        CosmosError: 400, an escape that is not JSON's, or half a surrogate pair.
    """

    def unescape(found: re.Match[str]) -> str:
        code = found[1]
        if code[0] == "u" and len(code) == 5:
            return chr(int(code[1:], 16))
        if code not in _ESCAPES:
            raise bad_request(f"Syntax error: unknown escape '\\{code}' in {token[:40]}.")
        return _ESCAPES[code]

    text = _ESCAPE.sub(unescape, token[1:-1])
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise bad_request(f"Syntax error: {token[:40]} is not valid Unicode.") from None


def _negation_first(node: ast.Node) -> bool:
    return isinstance(node, ast.Unary) and node.operator == "NOT"


class _Grouped:
    """Marks an expression in parentheses, until the next node up has looked at it."""

    def __init__(self, node: ast.Node) -> None:
        self.node = node


def _open(value: Any) -> Any:
    if isinstance(value, _Grouped):
        return value.node
    if isinstance(value, list):
        return [_open(item) for item in value]
    return value


def _refuse_negation(left: Any) -> None:
    # In the service NOT binds tighter than any comparison, so `NOT c.a = 1` means `(NOT c.a) = 1`: nobody wants that.
    if isinstance(left, ast.Node) and _negation_first(left):
        raise bad_request("NOT binds tighter than a comparison: write NOT (a = b), or use !=.")


@v_args(inline=True)
class TreeBuilder(Transformer[Token, Any]):
    """One method a grammar rule."""

    def start(self, query: ast.Query) -> ast.Query:
        return query

    def query(self, select: dict[str, Any], *clauses: dict[str, Any]) -> ast.Query:
        parts: dict[str, Any] = dict(select)
        for clause in clauses:
            parts.update(clause)
        return ast.Query(**parts)

    def select_clause(
        self, _select: Token, distinct: Token | None, top: ast.Node | None, what: ast.Selection
    ) -> dict[str, Any]:
        return {"distinct": distinct is not None, "top": top, "selection": what}

    def top(self, _top: Token, count: ast.Node) -> ast.Node:
        return count

    def literal_count(self, digits: Token) -> ast.Node:
        return ast.Literal.of(int(digits))

    def parameter_count(self, name: Token) -> ast.Node:
        return ast.Parameter(str(name))

    def select_all(self) -> ast.Selection:
        return ast.Selection("all")

    def select_value(self, _value: Token, expression: Any) -> ast.Selection:
        return ast.Selection("value", (ast.Item(_open(expression), ""),))

    def select_list(self, *items: tuple[ast.Node, str | None]) -> ast.Selection:
        named, unnamed = [], 0
        for expression, alias in items:
            name = alias or _own_name(expression)
            if name is None:
                unnamed += 1
                name = f"${unnamed}"
            named.append(ast.Item(expression, name))
        names = [item.name for item in named]
        doubled = {name for name in names if names.count(name) > 1}
        if doubled:
            raise bad_request(f"The SELECT list names '{sorted(doubled)[0]}' twice; give one of them an alias.")
        return ast.Selection("list", tuple(named))

    def item(self, expression: Any, alias: str | None) -> tuple[ast.Node, str | None]:
        return _open(expression), alias

    def alias(self, *words: Token) -> str:
        return str(words[-1])

    def from_clause(self, _from: Token, first: ast.Source, *joins: ast.Source) -> dict[str, Any]:
        return {"sources": (first, *joins)}

    def join(self, _join: Token, source: ast.Source) -> ast.Source:
        if not source.iterate and not isinstance(source.of, ast.Subquery):
            raise bad_request(f"JOIN needs the form: JOIN {source.alias} IN <array>.")
        return source

    def source_document(self, of: ast.Node, alias: str | None) -> ast.Source:
        name = alias or _own_name(of)
        if name is None:
            raise bad_request("A subquery in FROM needs an alias.")
        return ast.Source(name, of, iterate=False)

    def source_array(self, name: Token, _in: Token, of: ast.Node) -> ast.Source:
        return ast.Source(str(name), of, iterate=True, position=name.start_pos or 0)

    def collection_path(self, name: Token, *steps: ast.Node) -> ast.Node:
        node: ast.Node = ast.Name(str(name), name.start_pos or 0)
        for step in steps:
            node = ast.Member(node, step)
        return node

    def collection_query(self, query: ast.Query) -> ast.Node:
        return ast.Subquery("array", query)

    def step_name(self, name: Token) -> ast.Node:
        return ast.Literal.of(str(name))

    def step_string(self, text: Token) -> ast.Node:
        return ast.Literal.of(text_of(text))

    def step_index(self, digits: Token) -> ast.Node:
        return ast.Literal.of(int(digits))

    def where_clause(self, _where: Token, condition: Any) -> dict[str, Any]:
        return {"where": _open(condition)}

    def group_clause(self, _group: Token, _by: Token, *keys: Any) -> dict[str, Any]:
        return {"group_by": tuple(_open(list(keys)))}

    def order_clause(self, _order: Token, _by: Token, *items: ast.OrderItem) -> dict[str, Any]:
        return {"order_by": items}

    def order_item(self, expression: Any, direction: Any) -> ast.OrderItem:
        descending = direction is not None and direction.children[0].type == "DESC"
        return ast.OrderItem(_open(expression), descending)

    def limit_clause(self, _offset: Token, offset: ast.Node, _limit: Token, limit: ast.Node) -> dict[str, Any]:
        return {"offset": offset, "limit": limit}

    def ternary(self, condition: Any, then: Any, otherwise: Any) -> ast.Node:
        return ast.Ternary(_open(condition), _open(then), _open(otherwise))

    def coalesce(self, left: Any, right: Any) -> ast.Node:
        return ast.Binary("??", _open(left), _open(right))

    def disjunction(self, *terms: Any) -> ast.Node:
        return ast.Logic("OR", tuple(_open(term) for term in terms[::2]))

    def conjunction(self, *terms: Any) -> ast.Node:
        return ast.Logic("AND", tuple(_open(term) for term in terms[::2]))

    def compare(self, left: Any, operator: Token, right: Any) -> ast.Node:
        _refuse_negation(left)
        return ast.Binary("!=" if operator == "<>" else str(operator), _open(left), _open(right))

    def in_(self, operand: Any, *rest: Any) -> ast.Node:
        _refuse_negation(operand)
        negated, *words = rest
        choices = tuple(_open(word) for word in words if not isinstance(word, Token))
        return ast.In(_open(operand), choices, negated is not None)

    def between(self, operand: Any, negated: Token | None, _between: Token, low: Any, _and: Token, high: Any) -> Any:
        _refuse_negation(operand)
        return ast.Between(_open(operand), _open(low), _open(high), negated is not None)

    def like(self, operand: Any, negated: Token | None, _like: Token, pattern: Any, escape: str | None) -> ast.Node:
        _refuse_negation(operand)
        return ast.Like(_open(operand), _open(pattern), escape, negated is not None)

    def escape(self, _escape: Token, text: Token) -> str:
        character = text_of(text)
        if len(character) != 1:
            raise bad_request("ESCAPE takes one character.")
        return character

    def bit_or(self, left: Any, right: Any) -> ast.Node:
        return ast.Binary("|", _open(left), _open(right))

    def bit_xor(self, left: Any, right: Any) -> ast.Node:
        return ast.Binary("^", _open(left), _open(right))

    def bit_and(self, left: Any, right: Any) -> ast.Node:
        return ast.Binary("&", _open(left), _open(right))

    def shift(self, left: Any, operator: Token, right: Any) -> ast.Node:
        return ast.Binary(str(operator), _open(left), _open(right))

    def concat(self, left: Any, right: Any) -> ast.Node:
        return ast.Binary("||", _open(left), _open(right))

    def add(self, left: Any, right: Any) -> ast.Node:
        return ast.Binary("+", _open(left), _open(right))

    def subtract(self, left: Any, right: Any) -> ast.Node:
        return ast.Binary("-", _open(left), _open(right))

    def multiply(self, left: Any, right: Any) -> ast.Node:
        return ast.Binary("*", _open(left), _open(right))

    def divide(self, left: Any, right: Any) -> ast.Node:
        return ast.Binary("/", _open(left), _open(right))

    def modulo(self, left: Any, right: Any) -> ast.Node:
        return ast.Binary("%", _open(left), _open(right))

    def negative(self, operand: Any) -> ast.Node:
        return ast.Unary("-", _open(operand))

    def positive(self, operand: Any) -> ast.Node:
        return ast.Unary("+", _open(operand))

    def complement(self, operand: Any) -> ast.Node:
        return ast.Unary("~", _open(operand))

    def not_(self, _not: Token, operand: Any) -> ast.Node:
        return ast.Unary("NOT", _open(operand))

    def member_name(self, of: Any, name: Token) -> ast.Node:
        return ast.Member(_open(of), ast.Literal.of(str(name)))

    def member_expr(self, of: Any, key: Any) -> ast.Node:
        return ast.Member(_open(of), _open(key))

    def call(self, function: Any, *arguments: Any) -> ast.Node:
        if isinstance(function, ast.Member):
            raise bad_request("User-defined functions and methods are not supported.")
        if not isinstance(function, ast.Name):
            raise bad_request("Only a function's name can stand before '('.")
        given = tuple(_open(argument) for argument in arguments if argument is not None)
        return ast.Call(function.name.upper(), given, function.position)

    def name(self, name: Token) -> ast.Node:
        return ast.Name(str(name), name.start_pos or 0)

    def parameter(self, name: Token) -> ast.Node:
        return ast.Parameter(str(name))

    def string(self, text: Token) -> ast.Node:
        return ast.Literal.of(text_of(text))

    def integer(self, digits: Token) -> ast.Node:
        return ast.Literal.of(number(int(digits)) if len(digits) < 400 else UNDEFINED)

    def decimal(self, digits: Token) -> ast.Node:
        return ast.Literal.of(number(float(digits)))

    def true(self, _word: Token) -> ast.Node:
        return ast.Literal.of(True)

    def false(self, _word: Token) -> ast.Node:
        return ast.Literal.of(False)

    def null(self, _word: Token) -> ast.Node:
        return ast.Literal.of(None)

    def undefined(self, _word: Token) -> ast.Node:
        return ast.Literal.of(UNDEFINED)

    def grouped(self, expression: Any) -> _Grouped:
        return _Grouped(_open(expression))

    def scalar_query(self, query: ast.Query) -> ast.Node:
        return ast.Subquery("scalar", query)

    def exists(self, _exists: Token, query: ast.Query) -> ast.Node:
        return ast.Subquery("exists", query)

    def array_query(self, _array: Token, query: ast.Query) -> ast.Node:
        return ast.Subquery("array", query)

    def array(self, *items: Any) -> ast.Node:
        return ast.ArrayLiteral(tuple(_open(item) for item in items if item is not None))

    def object(self, *properties: tuple[str, ast.Node] | None) -> ast.Node:
        return ast.ObjectLiteral(tuple(entry for entry in properties if entry is not None))

    def property(self, name: Token, value: Any) -> tuple[str, ast.Node]:
        return text_of(name), _open(value)


def _own_name(node: ast.Node) -> str | None:
    if isinstance(node, ast.Name):
        return node.name
    if isinstance(node, ast.Member) and isinstance(node.key, ast.Literal) and isinstance(node.key.value, str):
        return node.key.value
    return None
