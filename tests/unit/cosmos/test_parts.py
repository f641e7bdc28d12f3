"""The parts that decide by themselves: keys, signatures, tokens, lifetimes, charges, budgets, indexes."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import orjson
import pytest
from azure.cosmos import PartitionKey as SdkKey

from local.cosmos import charges
from local.cosmos.app import App
from local.cosmos.auth import MasterKey
from local.cosmos.budget import Budget
from local.cosmos.continuation import TokenSigner
from local.cosmos.engine import Engine, Options
from local.cosmos.errors import CosmosError
from local.cosmos.housekeeping import purge_all
from local.cosmos.http import Done
from local.cosmos.indexing import DEFAULT_POLICY
from local.cosmos.jsonvalue import UNDEFINED, canonical, sort_key
from local.cosmos.meter import MOST_KINDS, Meter
from local.cosmos.partition import KeyDefinition, parse_path, prefix_range
from local.cosmos.query.execution import QueryRun, run_page
from local.cosmos.query.indexes import is_indexed, wanted_index
from local.cosmos.query.parser import parse
from local.cosmos.query.plan import make_plan
from local.cosmos.query.routing import pinned
from local.cosmos.terms import Terms
from local.cosmos.ttl import expiry
from tests.unit.cosmos.engines import NOW, everything, fill, open_storage, query

VALUES: list[Any] = ["a", "", "ü" * 40, "x" * 2000, 0, 1, -1, 1.5, 2**53, True, False, None]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_the_place_in_the_ring_is_the_sdks(value: Any) -> None:
    mine = KeyDefinition.parse({"paths": ["/a"]}).of_values([value])
    assert mine.epk == SdkKey("/a")._get_effective_partition_key_string([value])


@pytest.mark.parametrize("values", [["a", "b"], ["a", None], [1, True]], ids=repr)
def test_the_place_of_a_hierarchical_key_is_the_sdks(values: list[Any]) -> None:
    sdk = SdkKey(["/a", "/b"])
    mine = KeyDefinition.parse({"paths": ["/a", "/b"], "kind": "MultiHash"}).of_values(values)
    assert mine.epk == sdk._get_effective_partition_key_string(values)
    bounds = sdk._get_epk_range_for_prefix_partition_key(values[:1])
    assert prefix_range(values[:1]) == (bounds.min, bounds.max)


@pytest.mark.parametrize(
    ("path", "steps"),
    [("/a", ("a",)), ("/a/b", ("a", "b")), ('/"a b"/c', ("a b", "c")), ("a", None), ("/", None), ("", None)],
)
def test_paths(path: str, steps: tuple[str, ...] | None) -> None:
    if steps is not None:
        assert parse_path(path) == steps
        return
    with pytest.raises(CosmosError):
        parse_path(path)


def test_mixed_types_are_ordered_as_documented() -> None:
    ordered = [UNDEFINED, None, False, True, -1, 2.5, 10, "", "A", "a", [1], {"a": 1}]
    shuffled = random.Random(1).sample(ordered, len(ordered))
    assert sorted(shuffled, key=sort_key) == ordered


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [(1, 1.0, True), (1, True, False), ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True), (None, UNDEFINED, False)],
)
def test_canonical_text_tells_values_apart(left: Any, right: Any, same: bool) -> None:
    assert (canonical(left) == canonical(right)) is same


@pytest.mark.parametrize(
    ("case", "default", "own", "expected"),
    [
        ("switched off", None, 10, None),
        ("default", 60, None, 160),
        ("own wins", 60, 10, 110),
        ("own for ever", 60, -1, None),
        ("on, but for ever", -1, None, None),
        ("on, own", -1, 5, 105),
    ],
)
def test_expiry(case: str, default: int | None, own: int | None, expected: int | None) -> None:
    assert expiry(default, own, 100) == expected, case


def test_a_token_is_good_for_its_binding_only() -> None:
    signer = TokenSigner("key")
    token = signer.make(b"query", {"r": 1})
    assert signer.read(b"query", token) == {"r": 1}
    for other, binding in ((signer, b"another"), (TokenSigner("other key"), b"query")):
        with pytest.raises(CosmosError):
            other.read(binding, token)


@pytest.mark.parametrize("token", ["", "x", "====", "AAAA", "é"])
def test_a_broken_token_is_refused(token: str) -> None:
    with pytest.raises(CosmosError):
        TokenSigner("key").read(b"", token)


def test_charges_meet_the_published_anchors() -> None:
    kilobyte = 1024
    assert charges.read(kilobyte) == 1.0
    assert charges.read(100 * kilobyte) == 10.0
    for size, units in ((1, 4.95), (4, 6.67), (16, 9.52), (64, 22.67), (100, 50.0)):
        assert charges.insert(size * kilobyte, 0) == units
        assert charges.delete(size * kilobyte, 0) == units
        assert charges.replace(size * kilobyte, 0) == pytest.approx(2 * units, abs=0.01)
    for size, units in ((4, 1.14), (16, 1.67), (64, 4.76)):
        assert charges.read(size * kilobyte) == units
    assert charges.insert(10, 0) == charges.insert(kilobyte, 0), "nothing is cheaper than a kilobyte"
    assert charges.insert(1000 * kilobyte, 0) > 10 * charges.insert(64 * kilobyte, 0)
    assert charges.query(0, 0, 0) == 2.3
    assert charges.query(100, 50_000, 50_000) > charges.query(10, 5_000, 5_000) > 2.3


def _person(first: str, family: str | None = None, **more: object) -> dict[str, object]:
    return {"FamilyName": family, "FirstName": first, **more}


FAMILIES = {  # items of the .NET tutorial, and what its text says that they cost with everything indexed
    11.43: {
        "id": "Andersen.1",
        "LastName": "Andersen",
        "Parents": [_person("Thomas"), _person("Mary Kay")],
        "Children": [_person("Henriette", Gender="female", Grade=5, Pets=[{"GivenName": "Fluffy"}])],
        "Address": {"State": "WA", "County": "King", "City": "Seattle"},
        "IsRegistered": False,
    },
    14.29: {
        "id": "Wakefield.7",
        "LastName": "Wakefield",
        "Parents": [_person("Robin", "Wakefield"), _person("Ben", "Miller")],
        "Children": [
            _person(
                "Jesse", "Merriam", Gender="female", Grade=8, Pets=[{"GivenName": "Goofy"}, {"GivenName": "Shadow"}]
            ),
            _person("Lisa", "Miller", Gender="female", Grade=1, Pets=None),
        ],
        "Address": {"State": "NY", "County": "Manhattan", "City": "NY"},
        "IsRegistered": True,
    },
}


@pytest.mark.parametrize("units", FAMILIES)
def test_what_is_indexed_costs_what_the_service_said_it_does(units: float) -> None:
    indexed = Terms(DEFAULT_POLICY).count(FAMILIES[units])
    assert charges.insert(700, indexed) == pytest.approx(units, rel=0.01)


NAMED = {"includedPaths": [{"path": "/a/?"}, {"path": "/b/*"}], "excludedPaths": [{"path": "/*"}]}


@pytest.mark.parametrize(
    ("what", "policy", "item", "count"),
    [
        ("everything", DEFAULT_POLICY, {"id": "1", "a": 1, "b": [1, 2], "c": {"d": None}, "_etag": "x", "_ts": 1}, 4),
        ("a part is left out", {**DEFAULT_POLICY, "excludedPaths": [{"path": "/c/*"}]}, {"a": 1, "c": {"d": 1}}, 1),
        ("named paths alone", NAMED, {"id": "1", "a": 1, "b": {"c": 1, "d": [2, 3]}, "e": 5}, 4),
        ("what is named and missing is indexed too", NAMED, {"id": "1", "e": 5}, 2),
        ("nothing", {"includedPaths": [], "excludedPaths": [{"path": "/*"}]}, {"a": 1}, 0),
        ("no index at all", {"indexingMode": "none"}, {"a": 1}, 0),
    ],
)
def test_indexed_values_are_counted(what: str, policy: dict[str, object], item: dict[str, object], count: int) -> None:
    assert Terms(policy).count(item) == count, what


def test_the_meter_tells_kinds_of_items_apart_within_a_batch_too() -> None:
    meter = Meter(0.0)
    done = [
        Done("create", "srv_01J", 7.0),
        Done("replace", "led_nod_01J", 12.0),
        Done("create", "server_name:one", 6.0),
    ]
    meter.record("db", "tenants", charges.Operation.BATCH, 25.0, done)
    meter.record("db", "tenants", charges.Operation.READ, 1.0, [Done("read", "srv_01K", 1.0)])
    found = meter.totals()["containers"]["db/tenants"]
    assert found["request_units"] == 26.0
    assert {kind: counts["request_units"] for kind, counts in found["kinds"].items()} == {
        "create server": 6.0,
        "create srv": 7.0,
        "read srv": 1.0,
        "replace led": 12.0,
    }
    for number in range(5_000):
        meter.record("db", "tenants", charges.Operation.READ, 1.0, [Done("read", f"n{number}", 1.0)])
    kinds = meter.totals()["containers"]["db/tenants"]["kinds"]
    assert len(kinds) == MOST_KINDS, "ids without a beginning in common do not fill the memory"


def test_a_budget_counts_each_second_and_container_by_itself() -> None:
    budget = Budget(10)
    budget.charge(1, 100.0, 12)
    with pytest.raises(CosmosError) as refused:
        budget.admit(1, 100.75)
    assert refused.value.headers["x-ms-retry-after-ms"] == "250"
    budget.admit(2, 100.75)
    budget.admit(1, 101.0)


def test_the_key_must_be_base64() -> None:
    for bad in ("", "not base64!", "a"):
        with pytest.raises(ValueError, match="key"):
            MasterKey(bad)


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


def test_ended_items_are_purged_with_their_unique_values(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    unique = {"uniqueKeys": [{"paths": ["/e"]}]}
    items = [{"id": f"i{n}", "pk": "t", "e": n, "ttl": 1 if n < 700 else 100} for n in range(710)]
    container = fill(storage, items, defaultTtl=-1, uniqueKeyPolicy=unique)
    key = "a2V5"
    engine = Engine(storage, MasterKey(key), TokenSigner(key), Options(), clock=lambda: NOW + 5)
    assert asyncio.run(purge_all(engine)) == 700
    assert storage.writer.execute(f"SELECT count(*) FROM {container.table}").fetchone()[0] == 10
    assert storage.writer.execute("SELECT count(*) FROM unique_values").fetchone()[0] == 10
    engine.close()


async def test_the_application_answers_any_asgi_server(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    key = "a2V5"
    engine = Engine(storage, MasterKey(key), TokenSigner(key), Options())
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "raw_path": b"/dbs",
        "headers": [(b"host", b"x")],
        "client": ("127.0.0.1", 1),
    }
    await App(engine)(scope, receive, send)
    assert sent[0]["status"] == 401
    assert orjson.loads(sent[1]["body"])["code"] == "Unauthorized"
    engine.close()


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
