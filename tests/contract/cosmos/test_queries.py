"""The query language within a partition, through the SDK: what comes over the wire, not the implementation."""

from __future__ import annotations

from typing import Any

import pytest
from azure.cosmos.exceptions import CosmosHttpResponseError

from tests.contract.cosmos.driver import Cosmos, pages, sdk

ITEMS: list[dict[str, Any]] = [
    {"id": "a", "n": 1, "s": "apple", "tags": ["x", "y"], "o": {"p": 1}, "flag": True, "state": "up"},
    {"id": "b", "n": 2, "s": "Banana", "tags": ["y"], "o": {"p": 2}, "flag": False, "state": "up"},
    {"id": "c", "n": 3.5, "s": "cherry", "tags": [], "flag": None, "state": "down"},
    {"id": "d", "n": "4", "s": "date", "tags": [{"k": 1, "v": "one"}, {"k": 2}], "o": {}, "state": "down"},
    {"id": "e", "s": "élan", "tags": "none", "o": None},
]

COMMON = "the tenant of the rows below"
stocked: set[str] = set()

ROWS: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("SELECT VALUE c.id FROM c WHERE c.n = @n", {"@n": 2}, ["b"]),
    ("SELECT VALUE c.id FROM c WHERE c.n = @n", {"@n": "4"}, ["d"]),
    ("SELECT VALUE c.id FROM c WHERE c.n > 1", {}, ["b", "c"]),
    ("SELECT VALUE c.id FROM c WHERE NOT (c.n > 1)", {}, ["a"]),
    ("SELECT VALUE c.id FROM c WHERE c.n >= 1 AND c.n < 3.5", {}, ["a", "b"]),
    ("SELECT VALUE c.id FROM c WHERE c.n = 1 OR c.s = 'date'", {}, ["a", "d"]),
    ("SELECT VALUE c.id FROM c WHERE c.flag", {}, ["a"]),
    ("SELECT VALUE c.id FROM c WHERE NOT c.flag", {}, ["b"]),
    ("SELECT VALUE c.id FROM c WHERE c.flag = null", {}, ["c"]),
    ("SELECT VALUE c.id FROM c WHERE IS_NULL(c.flag)", {}, ["c"]),
    ("SELECT VALUE c.id FROM c WHERE IS_DEFINED(c.flag)", {}, ["a", "b", "c"]),
    ("SELECT VALUE c.id FROM c WHERE NOT IS_DEFINED(c.n)", {}, ["e"]),
    ("SELECT VALUE c.id FROM c WHERE c.id IN ('a', 'e', 'z')", {}, ["a", "e"]),
    ("SELECT VALUE c.id FROM c WHERE c.id NOT IN ('a', 'b', 'c')", {}, ["d", "e"]),
    ("SELECT VALUE c.id FROM c WHERE c.n BETWEEN 2 AND 4", {}, ["b", "c"]),
    ("SELECT VALUE c.id FROM c WHERE c.s LIKE '%an%'", {}, ["b", "e"]),
    ("SELECT VALUE c.id FROM c WHERE c.s LIKE 'd_te'", {}, ["d"]),
    ("SELECT VALUE c.id FROM c WHERE c.s LIKE '[a-c]%'", {}, ["a", "c"]),
    ("SELECT VALUE c.id FROM c WHERE c.o.p = 2", {}, ["b"]),
    ("SELECT VALUE c.id FROM c WHERE c['o']['p'] = 1", {}, ["a"]),
    ("SELECT VALUE c.id FROM c WHERE c.tags[0] = 'y'", {}, ["b"]),
    ('SELECT VALUE c.id FROM c WHERE c.o = {"p": 1}', {}, ["a"]),
    ("SELECT VALUE c.id FROM c WHERE c.tags = @t", {"@t": ["y"]}, ["b"]),
    ("SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS(c.tags, 'y')", {}, ["a", "b"]),
    ('SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS(c.tags, {"k": 1}, true)', {}, ["d"]),
    ("SELECT VALUE c.id FROM c WHERE ARRAY_CONTAINS(@ids, c.id)", {"@ids": ["b", "d"]}, ["b", "d"]),
    ("SELECT VALUE c.id FROM c WHERE STARTSWITH(c.s, 'B')", {}, ["b"]),
    ("SELECT VALUE c.id FROM c WHERE STARTSWITH(c.s, 'b', true)", {}, ["b"]),
    ("SELECT VALUE c.id FROM c WHERE CONTAINS(c.s, 'err') OR ENDSWITH(c.s, 'le')", {}, ["a", "c"]),
    ("SELECT VALUE c.id FROM c WHERE LOWER(c.s) = 'banana'", {}, ["b"]),
    ("SELECT VALUE c.id FROM c WHERE EXISTS(SELECT VALUE t FROM t IN c.tags WHERE t = 'x')", {}, ["a"]),
    ("SELECT VALUE c.id FROM c WHERE ARRAY_LENGTH(c.tags) = 2", {}, ["a", "d"]),
    ("SELECT VALUE c.id FROM c WHERE RegexMatch(c.s, '^[ad]')", {}, ["a", "d"]),
    ("SELECT VALUE c.id FROM c WHERE (c.state ?? 'none') = 'none'", {}, ["e"]),
    ("SELECT VALUE c.flag ? 'yes' : 'no' FROM c", {}, ["yes", "no", "no", "no", "no"]),
    ("SELECT VALUE c.n + 1 FROM c", {}, [2, 3, 4.5]),
    ("SELECT VALUE c.s || '!' FROM c WHERE c.n = 1", {}, ["apple!"]),
    ("SELECT c.id, c.n AS number FROM c WHERE c.id = 'a'", {}, [{"id": "a", "number": 1}]),
    ("SELECT c.id, c.missing FROM c WHERE c.id = 'a'", {}, [{"id": "a"}]),
    ("SELECT 1, c.n FROM c WHERE c.id = 'a'", {}, [{"$1": 1, "n": 1}]),
    ('SELECT VALUE {"i": c.id, "l": [c.n, c.missing]} FROM c WHERE c.id = \'a\'', {}, [{"i": "a", "l": [1]}]),
    ("SELECT VALUE c.missing FROM c", {}, []),
    ("SELECT TOP 2 VALUE c.id FROM c", {}, ["a", "b"]),
    ("SELECT TOP @n VALUE c.id FROM c", {"@n": 1}, ["a"]),
    ("SELECT DISTINCT VALUE c.state FROM c", {}, ["up", "down"]),
    ("SELECT VALUE c.id FROM c ORDER BY c.s", {}, ["b", "a", "c", "d", "e"]),
    ("SELECT VALUE c.id FROM c ORDER BY c.s DESC", {}, ["e", "d", "c", "a", "b"]),
    ("SELECT VALUE c.id FROM c ORDER BY c.n", {}, ["e", "a", "b", "c", "d"]),
    ("SELECT VALUE c.id FROM c ORDER BY c.s OFFSET 1 LIMIT 2", {}, ["a", "c"]),
    ("SELECT VALUE c.id FROM c ORDER BY c.s OFFSET @o LIMIT @l", {"@o": 3, "@l": 9}, ["d", "e"]),
    ("SELECT VALUE COUNT(1) FROM c", {}, [5]),
    ("SELECT COUNT(1) AS n, MAX(c.s) AS last FROM c", {}, [{"n": 5, "last": "élan"}]),
    ("SELECT VALUE COUNT(c.n) FROM c", {}, [4]),
    ("SELECT VALUE SUM(c.n) FROM c WHERE IS_NUMBER(c.n)", {}, [6.5]),
    ("SELECT VALUE AVG(c.n) FROM c WHERE c.n < 3", {}, [1.5]),
    (
        "SELECT c.state, COUNT(1) AS n FROM c GROUP BY c.state",
        {},
        [{"state": "up", "n": 2}, {"state": "down", "n": 2}, {"n": 1}],
    ),
    (
        "SELECT c.id, t FROM c JOIN t IN c.tags WHERE c.n < 3",
        {},
        [{"id": "a", "t": "x"}, {"id": "a", "t": "y"}, {"id": "b", "t": "y"}],
    ),
    ("SELECT VALUE t.v FROM c JOIN t IN c.tags", {}, ["one"]),
    ("SELECT VALUE t FROM t IN c.tags WHERE IS_OBJECT(t) AND t.k > 1", {}, [{"k": 2}]),
    ("SELECT VALUE ARRAY(SELECT VALUE t FROM t IN c.tags WHERE t != 'x') FROM c WHERE c.id = 'a'", {}, [["y"]]),
    ("SELECT VALUE (SELECT VALUE COUNT(1) FROM t IN c.tags) FROM c WHERE c.id = 'a'", {}, [2]),
    ("SELECT VALUE r.s FROM root r WHERE r.id = 'c'", {}, ["cherry"]),
    ("SELECT VALUE x.id FROM (SELECT VALUE c FROM c WHERE c.n = 1) AS x", {}, ["a"]),
    ("SELECT VALUE o.p FROM c.o", {}, [1, 2]),
    ("SELECT VALUE c.id FROM c WHERE c.n & 1 = 1", {}, ["a"]),
    ("SELECT VALUE c.id -- a remark\nFROM c WHERE c.id = 'a'", {}, ["a"]),
    ("SELECT VALUE IIF(c.flag, c.id, 'off') FROM c WHERE IS_BOOL(c.flag)", {}, ["a", "off"]),
    (
        "SELECT VALUE DateTimeDiff('day', '2026-01-01T00:00:00Z', '2026-03-01T00:00:00Z') FROM c WHERE c.id = 'a'",
        {},
        [59],
    ),
]


@pytest.mark.parametrize(("text", "parameters", "expected"), ROWS, ids=[row[0] for row in ROWS])
async def test_query(cosmos: Cosmos, text: str, parameters: dict[str, Any], expected: list[Any]) -> None:
    if cosmos.target.database not in stocked:  # the same five items serve every row
        await cosmos.fill(*({**item, "tenant": COMMON} for item in ITEMS))
        stocked.add(cosmos.target.database)
    assert await cosmos.query(text, parameters=parameters, partition_key=COMMON) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELEC * FROM c", "line 1, column 1"),
        ("SELECT * FROM c WHERE c.a ==", "column 28"),
        ("SELECT * FROM c WHERE c.order = 1", 'c["order"]'),
        ("SELECT * FROM c WHERE d.a = 1", "'d' could not be resolved"),
        ("SELECT * FROM c WHERE NOSUCH(c.a)", "no such function"),
        ("SELECT * FROM c WHERE udf.f(c.a)", "not supported"),
        ("SELECT * FROM c WHERE ST_DISTANCE(c.a, c.b) < 1", "spatial"),
        ("SELECT * FROM c WHERE c.a = @missing", "@missing"),
        ("SELECT * FROM c ORDER BY c.x, c.y", "composite index"),
        ("SELECT * FROM c ORDER BY c.a + 1", "paths of the document"),
        ("SELECT c.a, COUNT(1) FROM c", "GROUP BY"),
        ("SELECT * FROM c JOIN t IN c.tags", "JOIN"),
        ("SELECT * FROM c OFFSET -1 LIMIT 1", "near '-'"),
        ("SELECT TOP 'x' * FROM c", "near"),
        ("SELECT * FROM c WHERE " + "(" * 100 + "true" + ")" * 100, "nested deeper"),
        ("SELECT * FROM c WHERE " + "NOT " * 100 + "true", "too complex"),
        ("SELECT * FROM c WHERE NOT c.a = 1", "NOT binds tighter"),
        ("", "ends too early"),
    ],
)
@pytest.mark.local_only
async def test_query_is_refused_with_place_and_reason(cosmos: Cosmos, text: str, reason: str) -> None:
    if not text:
        text = " "
    with pytest.raises(CosmosHttpResponseError) as refused:
        await cosmos.query(text)
    assert refused.value.status_code == 400
    assert reason in str(refused.value.message)


async def test_composite_order(cosmos: Cosmos) -> None:
    items = [cosmos.item(f"{a}{b}", a=a, b=b) for a in (2, 1) for b in (1, 3, 2)]
    await cosmos.fill(*items, shape="composite")
    text = "SELECT VALUE c.id FROM c ORDER BY c.a ASC, c.b DESC"
    assert await cosmos.query(text, shape="composite") == ["13", "12", "11", "23", "22", "21"]
    reverse = "SELECT VALUE c.id FROM c ORDER BY c.a DESC, c.b ASC"
    assert await cosmos.query(reverse, shape="composite") == ["21", "22", "23", "11", "12", "13"]


@pytest.mark.parametrize(
    "text",
    ["SELECT VALUE c.n FROM c", "SELECT VALUE c.n FROM c ORDER BY c.n DESC", "SELECT VALUE t FROM c JOIN t IN c.l"],
)
async def test_paging_by_token(cosmos: Cosmos, text: str) -> None:
    await cosmos.fill(*[cosmos.item(f"i{number:02}", n=number, l=[number]) for number in range(23)])
    whole = await cosmos.query(text)
    assert len(whole) == 23
    seen, token = [], None
    for expected in (10, 10, 3):
        pager = cosmos.plain.query_items(text, partition_key=cosmos.tenant, max_item_count=10).by_page(token)
        page = [item async for item in await pager.__anext__()] if cosmos.mode == "aio" else list(next(pager))
        assert len(page) == expected
        seen += page
        token = pager.continuation_token
    assert seen == whole
    assert token is None


async def test_all_pages(cosmos: Cosmos) -> None:
    await cosmos.fill(*[cosmos.item(f"i{number}") for number in range(7)])
    pager = cosmos.plain.query_items("SELECT * FROM c", partition_key=cosmos.tenant, max_item_count=3).by_page()
    assert [len(page) for page in await pages(pager)] == [3, 3, 1]


@pytest.mark.local_only
async def test_a_token_serves_no_other_query_and_no_other_tenant(cosmos: Cosmos) -> None:
    await cosmos.fill(*[cosmos.item(f"i{number}") for number in range(5)])

    async def page(text: str, tenant: str, token: str | None) -> str:
        pager = cosmos.plain.query_items(text, partition_key=tenant, max_item_count=2).by_page(token)
        await sdk(pager.__anext__()) if cosmos.mode == "aio" else next(pager)
        return str(pager.continuation_token)

    token = await page("SELECT * FROM c", cosmos.tenant, None)
    for text, tenant in (("SELECT c.id FROM c", cosmos.tenant), ("SELECT * FROM c", "somebody else")):
        with pytest.raises(CosmosHttpResponseError) as refused:
            await page(text, tenant, token)
        assert refused.value.status_code == 400
    with pytest.raises(CosmosHttpResponseError):
        await page("SELECT * FROM c", cosmos.tenant, token[:-6] + "AAAAAA")


async def test_a_partition_sees_itself_only(cosmos: Cosmos) -> None:
    await cosmos.fill(cosmos.item("mine"), {"id": "theirs", "tenant": cosmos.tenant + "-other"})
    for text in (
        "SELECT VALUE c.id FROM c",
        f"SELECT VALUE c.id FROM c WHERE c.tenant = '{cosmos.tenant}-other' OR true",
    ):
        assert await cosmos.query(text) == ["mine"]


async def test_query_charge_grows_with_what_is_loaded(cosmos: Cosmos) -> None:
    await cosmos.fill(*[cosmos.item(f"i{number}", n=number) for number in range(60)])
    await cosmos.query("SELECT * FROM c WHERE c.n = 1", response_hook=cosmos.note_headers)
    one = float(cosmos.headers["x-ms-request-charge"])
    await cosmos.query("SELECT * FROM c", response_hook=cosmos.note_headers)
    assert one < 3
    assert float(cosmos.headers["x-ms-request-charge"]) > one + 2
