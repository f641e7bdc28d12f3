"""How a query gets at its items: the partitions it pins, the index it wants, the page it fills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from local.cosmos.partition import KeyDefinition
from local.cosmos.query.execution import QueryRun, run_page
from local.cosmos.query.indexes import is_indexed, wanted_index
from local.cosmos.query.parser import parse
from local.cosmos.query.plan import make_plan
from local.cosmos.query.routing import pinned
from tests.unit.cosmos.engines import everything, fill, open_storage, query

ORDER = {"includedPaths": [{"path": "/*"}], "excludedPaths": [{"path": "/body/*"}, {"path": "/name/?"}]}


@pytest.mark.parametrize(
    ("case", "policy", "steps", "expected"),
    [
        ("everything", {"includedPaths": [{"path": "/*"}]}, ("a",), True),
        ("excluded below", ORDER, ("body", "text"), False),
        ("excluded itself", ORDER, ("name",), False),
        ("below an excluded value", ORDER, ("name", "first"), True),
        ("none", {"indexingMode": "none"}, ("a",), False),
        (
            "the more precise wins",
            {"includedPaths": [{"path": "/a/b/?"}], "excludedPaths": [{"path": "/*"}]},
            ("a", "b"),
            True,
        ),
    ],
)
def test_indexing_policy(case: str, policy: dict[str, Any], steps: tuple[str, ...], expected: bool) -> None:
    assert is_indexed(policy, steps) is expected, case


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("SELECT * FROM c", None),
        ("SELECT * FROM c WHERE c.a = 1", [("a", False)]),
        ("SELECT * FROM c WHERE c.b = 1 AND c.a = 'x' AND c.n > 2", [("a", False), ("b", False), ("n", False)]),
        ("SELECT * FROM c WHERE c.a = 1 ORDER BY c.t DESC", [("a", False), ("t", False)]),
        ("SELECT * FROM c ORDER BY c.t ASC, c.u DESC", [("t", False), ("u", True)]),
        ("SELECT * FROM c WHERE c.body.x = 1", None),
        ("SELECT * FROM c WHERE c.body.x = 1 AND c.a = 1", [("a", False)]),
        ("SELECT * FROM c WHERE STARTSWITH(c.id, 'x') AND c.body.x = 1 ORDER BY c.id DESC", [("id", False)]),
        ("SELECT * FROM c WHERE c.a = 1 ORDER BY c.body.x", None),
    ],
)
def test_the_index_that_a_query_wants(text: str, columns: list[tuple[str, bool]] | None) -> None:
    shape = wanted_index(make_plan(text, {}).pushed, ORDER)
    assert (None if shape is None else [(column.steps[0], way) for column, way in shape.columns]) == columns


@pytest.mark.parametrize(
    ("where", "keys", "items"),
    [
        ("c.pk = 'a'", ['["a"]'], None),
        ("c.pk IN ('a', 'b') AND c.n > 1", ['["a"]', '["b"]'], None),
        ("c.id = 'x' AND c.pk = 'a'", ['["a"]'], [('["a"]', "x")]),
        (
            "(c.id = 'x' AND c.pk = 'a') OR (c.id = 'y' AND c.pk = 'b')",
            ['["a"]', '["b"]'],
            [('["a"]', "x"), ('["b"]', "y")],
        ),
        ("c.pk = 'a' OR c.n = 1", None, None),
        ("NOT (c.pk = 'a')", None, None),
        ("c.pk != 'a'", None, None),
        ("c.pk = null", None, None),
        ("c.n = 1", None, None),
    ],
)
def test_what_a_filter_pins(where: str, keys: list[str] | None, items: list[tuple[str, str]] | None) -> None:
    found = pinned(parse(f"SELECT * FROM c WHERE {where}"), {}, KeyDefinition.parse({"paths": ["/pk"]}))
    assert (None if found is None else list(found.keys)) == keys
    assert (list(found.items) if found is not None and found.items is not None else None) == items


def test_an_index_is_used_and_changes_no_answer(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    container = fill(storage, [{"id": f"i{n:03}", "pk": "t", "a": n % 3, "n": 7 * n % 200} for n in range(200)])
    text = "SELECT VALUE c.id FROM c WHERE c.a = 1 ORDER BY c.n DESC"
    before = query(storage, container, text, page=9)
    shape = wanted_index(make_plan(text, {}).pushed, container.definition["indexingPolicy"])
    assert shape is not None
    storage.writer.execute(shape.statement(container.table))
    assert query(storage, container, text, page=9) == before
    pushed = make_plan(text, {}).pushed
    where = " AND ".join(fragment.sql for fragment in pushed.where)
    order = ", ".join(f"{place.rank} DESC, {place.value} DESC" for place, _ in pushed.order or ())
    plan = storage.reader.execute(
        f"EXPLAIN QUERY PLAN SELECT body FROM {container.table} WHERE epk='x' AND +pk='y' AND {where} ORDER BY {order}, rid DESC",
        [bind for fragment in pushed.where for bind in fragment.binds],
    ).fetchall()
    assert len(plan) == 1, plan
    assert shape.name(container.table) in plan[0][3]
    storage.close()


@pytest.mark.parametrize("push_down", [True, False])
@pytest.mark.parametrize(
    "text", ["SELECT * FROM c", "SELECT c.pad FROM c ORDER BY c.id", "SELECT DISTINCT c.id, c.pad FROM c"]
)
def test_a_page_ends_at_four_megabytes(tmp_path: Path, text: str, push_down: bool) -> None:
    storage = open_storage(tmp_path)
    container = fill(storage, [{"id": f"i{n:02}", "pk": "t", "pad": f"{n:02}" + "x" * 500_000} for n in range(20)])
    plan = make_plan(text, {}, push_down=push_down)
    pages, state = [], None
    while not pages or state is not None:
        page = run_page(storage.reader, QueryRun(plan, everything(container), {}, 1000, state))
        pages.append([orjson.loads(row)["pad"][:2] for row in page.rows])
        assert sum(map(len, page.rows)) < 5_000_000
        state = page.state
    assert [pad for page in pages for pad in page] == [f"{n:02}" for n in range(20)]
    assert len(pages) == 3
    storage.close()
