"""Expressions compiled to Python closures over a row's environment.

The environment is a list: slot 0 holds the query's parameters, every alias has a slot of its own. This is the reference
meaning of the language; the push-down into SQLite must agree with it exactly or leave a query to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from local.cosmos.errors import bad_request
from local.cosmos.jsonvalue import UNDEFINED, Value
from local.cosmos.query import ast
from local.cosmos.query.functions import AGGREGATES, FUNCTIONS, REFUSED
from local.cosmos.query.operators import BINARY, UNARY, equals, like

Environment = list[Value]
Evaluate = Callable[[Environment], Value]
RunSubquery = Callable[[Environment], Iterator[Value]]


@dataclass(slots=True)
class Scope:
    """Which alias is in which slot; inner queries see the outer ones."""

    slots: dict[str, int] = field(default_factory=dict)
    width: list[int] = field(default_factory=lambda: [1])  # shared by all scopes of one query

    def inner(self) -> Scope:
        """A scope for a subquery."""
        return Scope(dict(self.slots), self.width)

    def declare(self, name: str) -> int:
        """A slot for an alias."""
        self.slots[name] = self.width[0]
        self.width[0] += 1
        return self.slots[name]

    def lookup(self, node: ast.Name) -> int:
        """The slot of an alias.

        Raises:
            CosmosError: 400.
        """
        slot = self.slots.get(node.name)
        if slot is None:
            raise bad_request(f"Identifier '{node.name}' could not be resolved (at position {node.position}).")
        return slot


CompileSubquery = Callable[[ast.Query, Scope], RunSubquery]


class Compiler:
    """Turns expressions into closures."""

    def __init__(self, subquery: CompileSubquery, replaced: dict[ast.Node, int] | None = None) -> None:
        """Set up.

        Args:
            subquery: how to run a query inside an expression.
            replaced: nodes whose value lies ready in a slot: aggregates and keys of GROUP BY.
        """
        self._subquery = subquery
        self._replaced = replaced or {}

    def replacing(self, replaced: dict[ast.Node, int]) -> Compiler:
        """A compiler like this one which finds some nodes ready in slots."""
        return Compiler(self._subquery, replaced)

    def compile(self, node: ast.Node, scope: Scope) -> Evaluate:
        """The closure of an expression.

        Raises:
            CosmosError: 400, an unknown alias or function, or a wrong number of arguments.
        """
        if self._replaced and node in self._replaced:
            return _slot(self._replaced[node])
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise bad_request(f"{type(node).__name__} cannot stand in an expression.")
        return handler(self, node, scope)

    def literal(self, node: ast.Literal, _scope: Scope) -> Evaluate:
        value = node.value
        return lambda _env: value

    def parameter(self, node: ast.Parameter, _scope: Scope) -> Evaluate:
        name = node.name
        return lambda env: env[0][name]

    def name(self, node: ast.Name, scope: Scope) -> Evaluate:
        return _slot(scope.lookup(node))

    def member(self, node: ast.Member, scope: Scope) -> Evaluate:
        of = self.compile(node.of, scope)
        if isinstance(node.key, ast.Literal):
            key = node.key.value
            return _property(of, key) if isinstance(key, str) else _element(of, key)
        index = self.compile(node.key, scope)

        def dynamic(env: Environment) -> Value:
            return pick(of(env), index(env))

        return dynamic

    def unary(self, node: ast.Unary, scope: Scope) -> Evaluate:
        operand, run = self.compile(node.operand, scope), UNARY[node.operator]
        return lambda env: run(operand(env))

    def binary(self, node: ast.Binary, scope: Scope) -> Evaluate:
        left, right = self.compile(node.left, scope), self.compile(node.right, scope)
        if node.operator == "??":
            return _coalesce(left, right)
        run = BINARY[node.operator]
        return lambda env: run(left(env), right(env))

    def logic(self, node: ast.Logic, scope: Scope) -> Evaluate:
        terms = [self.compile(term, scope) for term in node.terms]
        return _decide(terms, decisive=node.operator == "OR")

    def membership(self, node: ast.In, scope: Scope) -> Evaluate:
        operand = self.compile(node.operand, scope)
        choices = [self.compile(choice, scope) for choice in node.choices]
        negated = node.negated

        def run(env: Environment) -> Value:
            value: Value = operand(env)
            result: Value = False
            for choice in choices:
                found = equals(value, choice(env))
                if found is True:
                    return not negated
                if found is UNDEFINED:
                    result = UNDEFINED
            return result if result is UNDEFINED else negated

        return run

    def between(self, node: ast.Between, scope: Scope) -> Evaluate:
        low = ast.Binary(">=", node.operand, node.low)
        high = ast.Binary("<=", node.operand, node.high)
        both: ast.Node = ast.Logic("AND", (low, high))
        return self.compile(ast.Unary("NOT", both) if node.negated else both, scope)

    def like(self, node: ast.Like, scope: Scope) -> Evaluate:
        operand, pattern = self.compile(node.operand, scope), self.compile(node.pattern, scope)
        escape, negated = node.escape, node.negated

        def run(env: Environment) -> Value:
            result = like(operand(env), pattern(env), escape)
            return result if result is UNDEFINED or not negated else not result

        return run

    def ternary(self, node: ast.Ternary, scope: Scope) -> Evaluate:
        condition, then = self.compile(node.condition, scope), self.compile(node.then, scope)
        otherwise = self.compile(node.otherwise, scope)
        return lambda env: then(env) if condition(env) is True else otherwise(env)

    def call(self, node: ast.Call, scope: Scope) -> Evaluate:
        if node.name in AGGREGATES:
            raise bad_request(f"The aggregate {node.name} cannot stand here (at position {node.position}).")
        function = FUNCTIONS.get(node.name)
        if function is None:
            why = f"{REFUSED[node.name]} is not supported here" if node.name in REFUSED else "no such function"
            raise bad_request(f"'{node.name}' at position {node.position}: {why}.")
        count = len(node.arguments)
        if not function.least <= count <= function.most:
            raise bad_request(
                f"'{node.name}' at position {node.position} takes {function.least} to {function.most} argument(s), {count} given."
            )
        arguments = [self.compile(argument, scope) for argument in node.arguments]
        run = function.run
        if count == 1:
            only = arguments[0]
            return lambda env: run(only(env))
        return lambda env: run(*[argument(env) for argument in arguments])

    def array(self, node: ast.ArrayLiteral, scope: Scope) -> Evaluate:
        items = [self.compile(item, scope) for item in node.items]

        def run(env: Environment) -> Value:
            return [value for item in items if (value := item(env)) is not UNDEFINED]

        return run

    def object(self, node: ast.ObjectLiteral, scope: Scope) -> Evaluate:
        properties = [(key, self.compile(value, scope)) for key, value in node.properties]

        def run(env: Environment) -> Value:
            return {key: found for key, value in properties if (found := value(env)) is not UNDEFINED}

        return run

    def subquery(self, node: ast.Subquery, scope: Scope) -> Evaluate:
        run = self._subquery(node.query, scope.inner())
        if node.kind == "exists":
            return lambda env: any(True for _ in run(env))
        if node.kind == "array":
            return lambda env: list(run(env))
        return _scalar(run)


def _scalar(run: RunSubquery) -> Evaluate:
    def evaluate(env: Environment) -> Value:
        rows = run(env)
        value = next(rows, UNDEFINED)
        if next(rows, UNDEFINED) is not UNDEFINED:
            raise bad_request("A scalar subquery gave more than one row; wrap it in ARRAY(...) or narrow it.")
        return value

    return evaluate


def pick(value: Value, key: Value) -> Value:
    """`value[key]`."""
    if isinstance(value, dict):
        return value.get(key, UNDEFINED) if isinstance(key, str) else UNDEFINED
    if isinstance(value, list) and type(key) is int and 0 <= key < len(value):
        return value[key]
    return UNDEFINED


def _slot(number: int) -> Evaluate:
    return lambda env: env[number]


def _property(of: Evaluate, key: str) -> Evaluate:
    def run(env: Environment) -> Value:
        value = of(env)
        return value.get(key, UNDEFINED) if type(value) is dict else UNDEFINED

    return run


def _element(of: Evaluate, key: Value) -> Evaluate:
    return lambda env: pick(of(env), key)


def _decide(terms: list[Evaluate], *, decisive: bool) -> Evaluate:
    """AND is decided by one false term, OR by one true one; else every term must be a boolean."""

    def run(env: Environment) -> Value:
        result: Value = not decisive
        for term in terms:
            value = term(env)
            if value is decisive:
                return decisive
            if value is not (not decisive):
                result = UNDEFINED
        return result

    return run


def _coalesce(left: Evaluate, right: Evaluate) -> Evaluate:
    def run(env: Environment) -> Value:
        value = left(env)
        return right(env) if value is UNDEFINED else value

    return run


_HANDLERS: dict[type[ast.Node], Callable[..., Evaluate]] = {
    ast.Literal: Compiler.literal,
    ast.Parameter: Compiler.parameter,
    ast.Name: Compiler.name,
    ast.Member: Compiler.member,
    ast.Unary: Compiler.unary,
    ast.Binary: Compiler.binary,
    ast.Logic: Compiler.logic,
    ast.In: Compiler.membership,
    ast.Between: Compiler.between,
    ast.Like: Compiler.like,
    ast.Ternary: Compiler.ternary,
    ast.Call: Compiler.call,
    ast.ArrayLiteral: Compiler.array,
    ast.ObjectLiteral: Compiler.object,
    ast.Subquery: Compiler.subquery,
}
