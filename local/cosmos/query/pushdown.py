"""The part of a filter and an order which SQLite can do, exactly; the rest stays with the evaluator.

Every property read becomes two SQL expressions over the stored JSON: R, the rank of its type (0 for undefined), and V, its
value. A comparison holds only between values of one type, so each is guarded by R: SQLite alone would say that '3' > 1, that
true = 1, and could not tell missing from null. A fragment is either exact or not made at all. Values are bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from local.cosmos.jsonvalue import Rank, Value, is_number, rank
from local.cosmos.query import ast
from local.cosmos.query.properties import Property, property_of

MAX_TERMS = 200  # SQLite refuses expressions deeper than 1,000
MAX_CHOICES = 500  # SQLite's limit on bound values is far higher; a longer list is evaluated
Binds = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of SQL with its values. `paths` are the properties it reads, for choosing an index."""

    sql: str
    binds: Binds = ()
    equal: tuple[Property, ...] = ()  # held to one value
    ranged: tuple[Property, ...] = ()  # held to a range


class Pusher:
    """Translates expressions over one document alias."""

    def __init__(self, alias: str, parameters: Mapping[str, Value]) -> None:
        self._alias = alias
        self._parameters = parameters

    def property(self, node: ast.Node) -> Property | None:
        """The property that an expression reads, if it is a plain path on the document."""
        return property_of(node, self._alias)

    def constant(self, node: ast.Node) -> tuple[bool, Value]:
        """Whether an expression is a constant of a simple type, and its value."""
        if isinstance(node, ast.Literal):
            value = node.value
        elif isinstance(node, ast.Parameter):
            value = self._parameters[node.name]
        elif isinstance(node, ast.Unary) and node.operator == "-":
            known, inner = self.constant(node.operand)
            if not known or not is_number(inner):
                return False, None
            value = -inner
        else:
            return False, None
        if rank(value) not in (Rank.NULL, Rank.BOOLEAN, Rank.NUMBER, Rank.STRING):
            return False, None
        return not (isinstance(value, str) and "\0" in value), value

    def filter(self, node: ast.Node) -> Fragment | None:
        """SQL that is true exactly when the expression is true; when it is not, it may be false or NULL."""
        if isinstance(node, ast.Logic):
            return _join(node, self.filter)
        if isinstance(node, ast.Unary) and node.operator == "NOT":
            inner = self.three_valued(node.operand)
            return None if inner is None else Fragment(f"NOT {inner.sql}", inner.binds)
        made = self._comparison(node) or self._test(node)
        return None if made is None else made[1]

    def three_valued(self, node: ast.Node) -> Fragment | None:
        """SQL that is true, false, or NULL for undefined, exactly as the expression is."""
        if isinstance(node, ast.Logic):
            return _join(node, self.three_valued)
        if isinstance(node, ast.Unary) and node.operator == "NOT":
            inner = self.three_valued(node.operand)
            return None if inner is None else Fragment(f"(NOT {inner.sql})", inner.binds)
        made = self._test(node)
        if made is not None:
            return made[0]
        compared = self._comparison(node)
        return None if compared is None else compared[0]

    # Each of the following gives a pair: the three-valued form and the form for filters, which an index can serve.

    def _comparison(self, node: ast.Node) -> tuple[Fragment, Fragment] | None:
        if isinstance(node, ast.Binary) and node.operator in _MIRROR:
            known, value = self.constant(node.right)
            if known:
                return self._compare(node.left, node.operator, value)
            known, value = self.constant(node.left)
            return self._compare(node.right, _MIRROR[node.operator], value) if known else None
        if isinstance(node, ast.Between) and not node.negated:
            return self._between(node)
        if isinstance(node, ast.In):
            return self._membership(node)
        if isinstance(node, ast.Like):
            return self._like_prefix(node)
        return None

    def _compare(self, node: ast.Node, operator: str, value: Value) -> tuple[Fragment, Fragment] | None:
        place = self.property(node)
        if place is None:
            return None
        kind = int(rank(value))
        if value is None:
            outcome = "1" if operator in ("=", "<=", ">=") else "0"
            exact = Fragment(f"(CASE WHEN {place.rank}=1 THEN {outcome} END)")
            return exact, Fragment(f"({place.rank}=1 AND {outcome})")
        bind = (int(value) if isinstance(value, bool) else value,)
        sql = "<>" if operator == "!=" else operator
        exact = Fragment(f"(CASE WHEN {place.rank}={kind} THEN {place.value}{sql}? END)", bind)
        use = (place,)
        return exact, Fragment(
            f"({place.rank}={kind} AND {place.value}{sql}?)",
            bind,
            equal=use if operator == "=" else (),
            ranged=use if operator not in ("=", "!=") else (),
        )

    def _between(self, node: ast.Between) -> tuple[Fragment, Fragment] | None:
        both = ast.Logic("AND", (ast.Binary(">=", node.operand, node.low), ast.Binary("<=", node.operand, node.high)))
        exact, loose = self.three_valued(both), self.filter(both)
        return (exact, loose) if exact is not None and loose is not None else None

    def _membership(self, node: ast.In) -> tuple[Fragment, Fragment] | None:
        place = self.property(node.operand)
        if place is None or len(node.choices) > MAX_CHOICES:
            return None
        values = []
        for choice in node.choices:
            known, value = self.constant(choice)
            if not known or value is None:
                return None
            values.append(value)
        kinds = {int(rank(value)) for value in values}
        if len(kinds) != 1:
            return None
        kind = kinds.pop()
        binds = tuple(int(value) if isinstance(value, bool) else value for value in values)
        marks = ",".join("?" * len(binds))
        word = "NOT IN" if node.negated else "IN"
        exact = Fragment(f"(CASE WHEN {place.rank}={kind} THEN {place.value} {word} ({marks}) END)", binds)
        return exact, Fragment(f"({place.rank}={kind} AND {place.value} {word} ({marks}))", binds)

    def _like_prefix(self, node: ast.Like) -> tuple[Fragment, Fragment] | None:
        known, pattern = self.constant(node.pattern)
        if not known or not isinstance(pattern, str) or node.negated or node.escape is not None:
            return None
        prefix = pattern[:-1]
        if not pattern.endswith("%") or set(prefix) & set("%_["):
            return None
        return self._starts_with(node.operand, prefix)

    def _test(self, node: ast.Node) -> tuple[Fragment, Fragment] | None:
        """Expressions that are true or false by a function or by being a boolean themselves."""
        known, value = self.constant(node)
        if known:
            text = {True: "1", False: "0"}.get(value, "NULL") if isinstance(value, bool) else "NULL"
            return Fragment(text), Fragment(text)
        if (place := self.property(node)) is not None:
            exact = Fragment(f"(CASE WHEN {place.rank}=2 THEN {place.value} END)")
            return exact, Fragment(f"({place.rank}=2 AND {place.value}=1)", equal=(place,))
        if isinstance(node, ast.Call):
            return self._function(node)
        return None

    def _function(self, node: ast.Call) -> tuple[Fragment, Fragment] | None:
        if len(node.arguments) == 1 and node.name in _KINDS:
            place = self.property(node.arguments[0])
            if place is None:
                return None
            test = Fragment(f"({place.rank} {_KINDS[node.name]})")
            return test, test
        if len(node.arguments) != 2:
            return None
        known, value = self.constant(node.arguments[1])
        if not known:
            return None
        if node.name == "ARRAY_CONTAINS":
            return self._array_contains(node.arguments[0], value)
        if node.name == "STARTSWITH" and isinstance(value, str):
            return self._starts_with(node.arguments[0], value)
        if node.name == "CONTAINS" and isinstance(value, str):
            return self._on_text(node.arguments[0], lambda place: (f"instr({place.value},?)>0", (value,)))
        if node.name == "ENDSWITH" and isinstance(value, str) and value:
            return self._on_text(node.arguments[0], lambda place: (f"substr({place.value},?)=?", (-len(value), value)))
        return None

    def _on_text(
        self, node: ast.Node, make: Callable[[Property], tuple[str, Binds]]
    ) -> tuple[Fragment, Fragment] | None:
        place = self.property(node)
        if place is None:
            return None
        sql, binds = make(place)
        return (
            Fragment(f"(CASE WHEN {place.rank}=4 THEN {sql} END)", binds),
            Fragment(f"({place.rank}=4 AND {sql})", binds),
        )

    def _starts_with(self, node: ast.Node, prefix: str) -> tuple[Fragment, Fragment] | None:
        place = self.property(node)
        if place is None:
            return None
        end = _after_prefix(prefix)
        sql, binds = f"{place.value}>=?", [prefix]
        if end is not None:
            sql, binds = f"{sql} AND {place.value}<?", [prefix, end]
        return (
            Fragment(f"(CASE WHEN {place.rank}=4 THEN ({sql}) END)", tuple(binds)),
            Fragment(f"({place.rank}=4 AND {sql})", tuple(binds), ranged=(place,)),
        )

    def _array_contains(self, node: ast.Node, value: Value) -> tuple[Fragment, Fragment] | None:
        place = self.property(node)
        if place is None or place.path is None:
            return None
        kinds = _JSON_KINDS[int(rank(value))]
        binds: Binds = ()
        test = f"e.type IN ({kinds})"
        if isinstance(value, bool):
            test = f"e.type='{'true' if value else 'false'}'"
        elif value is not None:
            test, binds = f"{test} AND e.atom=?", (value,)
        sql = f"EXISTS(SELECT 1 FROM json_each(body,'{place.path}') e WHERE {test})"
        return (
            Fragment(f"(CASE WHEN {place.rank}=5 THEN {sql} END)", binds),
            Fragment(f"({place.rank}=5 AND {sql})", binds),
        )


def _join(node: ast.Logic, translate: Callable[[ast.Node], Fragment | None]) -> Fragment | None:
    if len(node.terms) > MAX_TERMS:
        return None
    made = [translate(term) for term in node.terms]
    parts = [fragment for fragment in made if fragment is not None]
    if len(parts) < len(made):
        return None
    sql = "(" + f" {node.operator} ".join(part.sql for part in parts) + ")"
    binds = tuple(bind for part in parts for bind in part.binds)
    if node.operator == "OR":
        return Fragment(sql, binds)
    return Fragment(
        sql,
        binds,
        equal=tuple(path for part in parts for path in part.equal),
        ranged=tuple(path for part in parts for path in part.ranged),
    )


_MIRROR = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_KINDS = {
    "IS_DEFINED": "<>0",
    "IS_NULL": "=1",
    "IS_BOOL": "=2",
    "IS_NUMBER": "=3",
    "IS_STRING": "=4",
    "IS_ARRAY": "=5",
    "IS_OBJECT": "=6",
    "IS_PRIMITIVE": "BETWEEN 1 AND 4",
}
_JSON_KINDS = {1: "'null'", 2: "'true','false'", 3: "'integer','real'", 4: "'text'"}


def _after_prefix(prefix: str) -> str | None:
    """The least text greater than all that start with `prefix`; None if there is none."""
    for at in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[at]) + 1
        if point == 0xD800:
            point = 0xE000  # over the surrogates, which are no characters
        if point <= 0x10FFFF:
            return prefix[:at] + chr(point)
    return None
