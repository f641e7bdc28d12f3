"""The query language: what parses, what it means, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from local.cosmos.errors import CosmosError
from local.cosmos.jsonvalue import UNDEFINED
from local.cosmos.query.parser import parse
from local.cosmos.query.pipeline import compile_query
from local.cosmos.query.plan import make_plan
from local.cosmos.query.printer import print_query

DOCUMENT: dict[str, Any] = {
    "id": "d",
    "n": 5,
    "f": 2.5,
    "s": "Text",
    "t": True,
    "z": None,
    "l": [1, "a", None, 1.0],
    "o": {"a": 1, "b": {"c": [2]}},
    "odd name": 7,
}


def value(expression: str, **parameters: Any) -> Any:
    """What an expression is for DOCUMENT; UNDEFINED if it gives no row."""
    query = parse(f"SELECT VALUE {expression} FROM c")
    compiled = compile_query(query, None)
    env: list[Any] = [UNDEFINED] * compiled.scope.width[0]
    env[0], env[compiled.root] = {f"@{name}": given for name, given in parameters.items()}, DOCUMENT
    return next(compiled.run(env), UNDEFINED)


def run(text: str) -> list[Any]:
    """All rows of a query over DOCUMENT."""
    query = parse(text)
    compiled = compile_query(query, query.where)
    env: list[Any] = [UNDEFINED] * compiled.scope.width[0]
    env[0], env[compiled.root] = {}, DOCUMENT
    return list(compiled.run(env))


U = UNDEFINED


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # literals and paths
        ("1", 1),
        ("1.50", 1.5),
        ("1e3", 1000),
        (".5", 0.5),
        ("'it\\'s'", "it's"),
        ('"a\\u00e9\\n"', "aé\n"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
        ("undefined", U),
        ("null", None),
        ("c.o.b.c[0]", 2),
        ("c['odd name']", 7),
        ('c["o"]["a"]', 1),
        ("c.missing.deeper", U),
        ("c.l[9]", U),
        ("c.s[0]", U),
        # comparison: only within one type
        ("c.n = 5", True),
        ("c.n = 5.0", True),
        ("c.n = '5'", U),
        ("c.n != '5'", U),
        ("c.t = 1", U),
        ("c.z = null", True),
        ("c.z != null", False),
        ("c.n != null", U),
        ("c.missing = c.missing", U),
        ("c.n < 6", True),
        ("c.s < 'Z'", True),
        ("c.l < c.l", U),
        ("false < true", True),
        ("null <= null", True),
        ("c.o = {'b': {'c': [2]}, 'a': 1}", True),
        ("c.l = [1, 'a', null, 1]", True),
        ("[true] = [1]", False),
        # three-valued logic
        ("true AND undefined", U),
        ("false AND undefined", False),
        ("true OR undefined", True),
        ("false OR undefined", U),
        ("NOT undefined", U),
        ("NOT c.n", U),
        ("1 AND true", U),
        ("true OR false AND false", True),
        # IN, BETWEEN, LIKE
        ("c.n IN (1, 5)", True),
        ("c.n NOT IN (1, 2)", True),
        ("c.n IN ('5')", U),
        ("c.n BETWEEN 5 AND 6", True),
        ("c.n NOT BETWEEN 5 AND 6", False),
        ("c.s BETWEEN 'A' AND 'Z'", True),
        ("c.s LIKE 'T%t'", True),
        ("c.s LIKE 't%'", False),
        ("c.s NOT LIKE 'x%'", True),
        ("'50%' LIKE '50!%' ESCAPE '!'", True),
        ("'5' LIKE '[^0-4]'", True),
        ("c.n LIKE '5'", U),
        # arithmetic
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 / 4", 2.5),
        ("10 / 5", 2),
        ("1 / 0", U),
        ("-7 % 3", -1),
        ("-c.n", -5),
        ("c.n + c.s", U),
        ("c.n - c.f", 2.5),
        ("6 & 3", 2),
        ("6 | 1", 7),
        ("6 ^ 3", 5),
        ("~1", -2),
        ("1 << 4", 16),
        ("-1 >>> 28", 15),
        ("c.s || '!'", "Text!"),
        # coalesce and ternary
        ("c.missing ?? 'x'", "x"),
        ("c.z ?? 'x'", None),
        ("c.t ? 1 : 2", 1),
        ("c.missing ? 1 : 2", 2),
        ("c.n > 3 ? c.n > 4 ? 'big' : 'mid' : 'small'", "big"),
        # constructors leave out what is undefined
        ("[1, undefined, c.n]", [1, 5]),
        ("{'a': c.n, 'b': c.missing}", {"a": 5}),
        # subqueries
        ("ARRAY(SELECT VALUE x FROM x IN c.l WHERE IS_NUMBER(x))", [1, 1.0]),
        ("(SELECT VALUE COUNT(1) FROM x IN c.l)", 4),
        ("EXISTS(SELECT VALUE x FROM x IN c.l WHERE x = 'b')", False),
        ("EXISTS(SELECT VALUE x FROM x IN c.l WHERE IS_NULL(x))", True),
        ("ARRAY(SELECT DISTINCT VALUE x FROM x IN c.l)", [1, "a", None]),
        ("ARRAY(SELECT VALUE x + c.n FROM x IN c.l WHERE x = 1)", [6, 6]),
    ],
)
def test_expression(expression: str, expected: Any) -> None:
    found = value(expression)
    assert type(found) is type(expected)
    assert found == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("IS_DEFINED(c.z)", True),
        ("IS_DEFINED(c.missing)", False),
        ("IS_INTEGER(5.0)", True),
        ("IS_FINITE_NUMBER(c.f)", True),
        ("IS_PRIMITIVE(c.l)", False),
        ("ToString(c.n)", "5"),
        ("ToString(c.o)", '{"a":1,"b":{"c":[2]}}'),
        ("StringToNumber(' 1.5 ')", 1.5),
        ("StringToNumber('x')", U),
        ("StringToBoolean('true')", True),
        ("StringToArray('[1]')", [1]),
        ("StringToObject('{')", U),
        ("IIF(c.t, 1, 2)", 1),
        ("CONCAT('a', 'b', 'c')", "abc"),
        ("CONCAT('a', 1)", U),
        ("CONTAINS(c.s, 'TEX', true)", True),
        ("CONTAINS(c.s, 'TEX')", False),
        ("STRINGEQUALS('a', 'A', true)", True),
        ("INDEX_OF('abcb', 'b', 2)", 3),
        ("LEFT('abc', 2)", "ab"),
        ("RIGHT('abc', 2)", "bc"),
        ("RIGHT('abc', 0)", ""),
        ("SUBSTRING('abc', 1, 9)", "bc"),
        ("LENGTH('abc')", 3),
        ("LENGTH(c.l)", U),
        ("LTRIM('  a ')", "a "),
        ("TRIM('xax', 'x')", "a"),
        ("REPLACE('aba', 'a', 'c')", "cbc"),
        ("REPLICATE('ab', 2)", "abab"),
        ("REPLICATE('ab', 99999999)", U),
        ("REVERSE('abc')", "cba"),
        ("StringJoin(['a', 'b'], '-')", "a-b"),
        ("StringSplit('a-b', '-')", ["a", "b"]),
        ("RegexMatch('ABC', 'b', 'i')", True),
        ("ABS(-2)", 2),
        ("CEILING(1.1)", 2),
        ("FLOOR(-1.1)", -2),
        ("ROUND(2.5)", 3),
        ("ROUND(-2.5)", -3),
        ("ROUND(1.256, 2)", 1.26),
        ("TRUNC(-1.9)", -1),
        ("SQRT(9)", 3),
        ("SQRT(-1)", U),
        ("POWER(2, 10)", 1024),
        ("LOG(0)", U),
        ("LOG(8, 2)", 3),
        ("SIGN(-4)", -1),
        ("IntDiv(7, 2)", 3),
        ("NumberBin(37, 10)", 30),
        ("ARRAY_CONTAINS(c.l, 'a')", True),
        ("ARRAY_CONTAINS(c.l, true)", False),
        ("ARRAY_CONTAINS([{'a': 1, 'b': 2}], {'a': 1})", False),
        ("ARRAY_CONTAINS([{'a': 1, 'b': 2}], {'a': 1}, true)", True),
        ("ARRAY_CONTAINS_ANY(c.l, 'x', 'a')", True),
        ("ARRAY_CONTAINS_ALL(c.l, 'x', 'a')", False),
        ("ARRAY_LENGTH(c.l)", 4),
        ("ARRAY_CONCAT([1], [2])", [1, 2]),
        ("ARRAY_SLICE([1, 2, 3], 1)", [2, 3]),
        ("ARRAY_SLICE([1, 2, 3], -2, 1)", [2]),
        ("SetIntersect([1, 1, 2], [1, 3])", [1]),
        ("SetUnion([1], [1, 2])", [1, 2]),
        ("ObjectToArray({'a': 1})", [{"k": "a", "v": 1}]),
        ("CHOOSE(2, 'a', 'b')", "b"),
        ("DateTimeAdd('month', 1, '2026-01-31T00:00:00Z')", "2026-02-28T00:00:00.0000000Z"),
        ("DateTimeAdd('day', -1, '2026-03-01T00:00:00.1234567Z')", "2026-02-28T00:00:00.1234567Z"),
        ("DateTimeAdd('fortnight', 1, '2026-01-01T00:00:00Z')", U),
        ("DateTimeDiff('hour', '2026-01-01T00:59:00Z', '2026-01-01T01:00:00Z')", 1),
        ("DateTimeDiff('year', '2025-12-31T23:59:59Z', '2026-01-01T00:00:00Z')", 1),
        ("DateTimePart('ms', '2026-01-01T00:00:00.1234567Z')", 123),
        ("DateTimeBin('2026-01-01T13:27:00Z', 'hour', 6)", "2026-01-01T12:00:00.0000000Z"),
        ("DateTimeFromParts(2026, 2, 30)", U),
        ("DateTimeFromParts(2026, 7, 1, 12)", "2026-07-01T12:00:00.0000000Z"),
        ("DateTimeToTimestamp('1970-01-01T00:00:01.5Z')", 1500),
        ("TimestampToDateTime(1500)", "1970-01-01T00:00:01.5000000Z"),
        ("DateTimeToTicks('1970-01-01T00:00:00.0000001Z')", 1),
        ("DateTimeToTimestamp('2026-01-01T01:00:00+01:00') = DateTimeToTimestamp('2026-01-01T00:00:00Z')", True),
        ("GetCurrentTimestamp() > 1700000000000", True),
    ],
)
def test_function(call: str, expected: Any) -> None:
    found = value(call)
    assert type(found) is type(expected)
    assert found == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELECT", "ends too early"),
        ("SELECT * FROM c WHERE c.a = 'x", "line 1, column 29"),
        ("SELECT *\nFROM c\nWHERE c.group = 1", "line 3, column 9"),
        ("SELECT c.a, d.b FROM c", "'d' could not be resolved"),
        ("SELECT c.a, c.b AS a FROM c", "names 'a' twice"),
        ("SELECT VALUE 'a\\q' FROM c", "unknown escape"),
        ('SELECT VALUE "\\ud800" FROM c', "not valid Unicode"),
        ("SELECT VALUE ABS(1, 2) FROM c", "takes 1 to 1 argument(s), 2 given"),
        ("SELECT VALUE VectorDistance(c.v, [1]) FROM c", "vector search"),
        ("SELECT VALUE c.x.y(1) FROM c", "not supported"),
        ("SELECT VALUE MAX(c.a) + c.b FROM c", "'c' at position"),
        ("SELECT * FROM c GROUP BY c.a", "cannot be grouped"),
        ("SELECT COUNT(1) FROM c WHERE COUNT(1) > 1", "cannot stand here"),
        ("SELECT * FROM c JOIN c.tags", "JOIN needs the form"),
        ("SELECT x FROM c JOIN c IN c.tags", "used twice"),
        ("SELECT VALUE RegexMatch('a', '(') FROM c", "pattern is not valid"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(CosmosError) as refused:
        run(text)
    assert refused.value.status == 400
    assert reason in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM c",
        "SELECT DISTINCT TOP 3 c.a, c['b c'][0] AS x, 1 FROM c JOIN t IN c.tags WHERE NOT (c.a = @a) ORDER BY c.a DESC, c.b",
        "SELECT VALUE {'a': [1, -2.5, null, undefined], 'b': c.x ?? 'y'} FROM root c OFFSET 1 LIMIT @n",
        "SELECT VALUE COUNT(1) FROM c WHERE c.a NOT IN (1, 'x') AND c.b BETWEEN 1 AND 2 OR c.c LIKE 'a!%' ESCAPE '!'",
        "SELECT c.a, SUM(c.n) AS s FROM c GROUP BY c.a",
        "SELECT VALUE x FROM (SELECT VALUE c.o FROM c) AS x WHERE EXISTS(SELECT VALUE t FROM t IN x.l) ? true : false",
    ],
)
def test_printing_and_parsing_again_gives_the_same_query(text: str) -> None:
    printed = print_query(parse(text))
    assert print_query(parse(printed)) == printed


def test_a_thousand_alternatives_are_a_flat_list() -> None:
    text = "SELECT * FROM c WHERE " + " OR ".join(f"c.n = {number}" for number in range(1000))
    query = parse(text)
    assert compile_query(query, query.where) is not None


def test_a_long_chain_of_sums_is_refused_and_does_not_break_the_process() -> None:
    text = "SELECT VALUE " + " + ".join(["1"] * 5000) + " FROM c"
    with pytest.raises(CosmosError) as refused:
        make_plan(text, {})
    assert "too complex" in refused.value.message
