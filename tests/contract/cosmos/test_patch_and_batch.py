"""Partial update and transactional batch."""

from __future__ import annotations

from typing import Any

import pytest
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosBatchOperationError,
    CosmosHttpResponseError,
    CosmosResourceNotFoundError,
)

from tests.contract.cosmos.driver import Cosmos, sdk


@pytest.mark.parametrize(
    ("case", "before", "operations", "after"),
    [
        ("add a property", {}, [{"op": "add", "path": "/x", "value": 1}], {"x": 1}),
        ("add replaces", {"x": 0}, [{"op": "add", "path": "/x", "value": 1}], {"x": 1}),
        ("add inserts in an array", {"l": [1, 3]}, [{"op": "add", "path": "/l/1", "value": 2}], {"l": [1, 2, 3]}),
        ("add at the end", {"l": [1]}, [{"op": "add", "path": "/l/-", "value": 2}], {"l": [1, 2]}),
        ("set replaces an element", {"l": [1, 3]}, [{"op": "set", "path": "/l/1", "value": 2}], {"l": [1, 2]}),
        (
            "set below",
            {"o": {"p": 1}},
            [{"op": "set", "path": "/o/q", "value": {"r": 1}}],
            {"o": {"p": 1, "q": {"r": 1}}},
        ),
        ("replace", {"x": 1}, [{"op": "replace", "path": "/x", "value": None}], {"x": None}),
        ("remove", {"x": 1, "y": 2}, [{"op": "remove", "path": "/x"}], {"y": 2}),
        ("remove an element", {"l": [1, 2]}, [{"op": "remove", "path": "/l/0"}], {"l": [2]}),
        ("incr", {"n": 1}, [{"op": "incr", "path": "/n", "value": 2}], {"n": 3}),
        ("incr by a fraction", {"n": 1}, [{"op": "incr", "path": "/n", "value": -0.5}], {"n": 0.5}),
        ("incr makes the property", {}, [{"op": "incr", "path": "/n", "value": 2}], {"n": 2}),
        ("move", {"x": 1}, [{"op": "move", "from": "/x", "path": "/y"}], {"y": 1}),
        ("escaped names", {}, [{"op": "set", "path": "/a~1b", "value": 1}], {"a/b": 1}),
        (
            "several",
            {"n": 1},
            [{"op": "incr", "path": "/n", "value": 1}, {"op": "set", "path": "/m", "value": 2}],
            {"n": 2, "m": 2},
        ),
    ],
)
async def test_patch(
    cosmos: Cosmos, case: str, before: dict[str, Any], operations: list[dict[str, Any]], after: dict[str, Any]
) -> None:
    await cosmos.fill(cosmos.item(**before))
    answer = await sdk(cosmos.plain.patch_item("a", cosmos.tenant, operations))
    own = {name: value for name, value in answer.items() if name[0] != "_" and name not in ("id", "tenant")}
    assert own == after, case
    assert await sdk(cosmos.plain.read_item("a", cosmos.tenant)) == answer


@pytest.mark.parametrize(
    ("case", "operations"),
    [
        ("replace what is not there", [{"op": "replace", "path": "/x", "value": 1}]),
        ("remove what is not there", [{"op": "remove", "path": "/x"}]),
        ("parent is not there", [{"op": "add", "path": "/x/y", "value": 1}]),
        ("index beyond the end", [{"op": "add", "path": "/l/9", "value": 1}]),
        ("incr on a text", [{"op": "incr", "path": "/s", "value": 1}]),
        ("incr by a text", [{"op": "incr", "path": "/n", "value": "1"}]),
        ("the id", [{"op": "set", "path": "/id", "value": "b"}]),
        ("the partition key", [{"op": "set", "path": "/tenant", "value": "b"}]),
        ("a system property", [{"op": "set", "path": "/_ts", "value": 1}]),
        ("unknown operation", [{"op": "test", "path": "/n", "value": 1}]),
        ("move from nowhere", [{"op": "move", "from": "/x", "path": "/y"}]),
        ("eleven operations", [{"op": "incr", "path": "/n", "value": 1}] * 11),
        ("none", []),
        ("a later one fails", [{"op": "set", "path": "/n", "value": 9}, {"op": "remove", "path": "/x"}]),
    ],
)
async def test_patch_is_refused_and_changes_nothing(
    cosmos: Cosmos, case: str, operations: list[dict[str, Any]]
) -> None:
    await cosmos.fill(cosmos.item(n=1, s="text", l=[1]))
    before = await sdk(cosmos.plain.read_item("a", cosmos.tenant))
    with pytest.raises(CosmosHttpResponseError) as refused:
        await sdk(cosmos.plain.patch_item("a", cosmos.tenant, operations))
    assert refused.value.status_code == 400, case
    assert await sdk(cosmos.plain.read_item("a", cosmos.tenant)) == before


async def test_patch_predicate(cosmos: Cosmos) -> None:
    await cosmos.fill(cosmos.item(state="idle"))
    change = [{"op": "set", "path": "/state", "value": "busy"}]
    predicate = "from c where c.state = 'idle'"
    await sdk(cosmos.plain.patch_item("a", cosmos.tenant, change, filter_predicate=predicate))
    with pytest.raises(CosmosAccessConditionFailedError) as refused:
        await sdk(cosmos.plain.patch_item("a", cosmos.tenant, change, filter_predicate=predicate))
    assert refused.value.sub_status in (1110, None)


async def test_patch_of_a_missing_item(cosmos: Cosmos) -> None:
    with pytest.raises(CosmosResourceNotFoundError):
        await sdk(cosmos.plain.patch_item("a", cosmos.tenant, [{"op": "set", "path": "/x", "value": 1}]))


async def test_batch_does_everything(cosmos: Cosmos) -> None:
    await cosmos.fill(cosmos.item("old", n=1), cosmos.item("gone"), cosmos.item("there", n=1))
    results = await sdk(
        cosmos.plain.execute_item_batch(
            [
                ("create", (cosmos.item("new"),)),
                ("upsert", (cosmos.item("up"),)),
                ("read", ("there",)),
                ("replace", ("old", cosmos.item("old", n=2))),
                ("patch", ("there", [{"op": "incr", "path": "/n", "value": 5}])),
                ("delete", ("gone",)),
            ],
            cosmos.tenant,
        )
    )
    assert [result["statusCode"] for result in results] == [201, 201, 200, 200, 200, 204]
    assert results[4]["resourceBody"]["n"] == 6
    assert results[0]["eTag"] == results[0]["resourceBody"]["_etag"]
    ids = sorted(await cosmos.query("SELECT VALUE c.id FROM c"))
    assert ids == ["new", "old", "there", "up"]


@pytest.mark.parametrize(
    ("case", "failing", "status"),
    [
        ("create of what exists", lambda c: ("create", (c.item("there"),)), 409),
        ("replace of what does not", lambda c: ("replace", ("missing", c.item("missing"))), 404),
        ("delete of what does not", lambda c: ("delete", ("missing",)), 404),
        ("stale version", lambda c: ("replace", ("there", c.item("there")), {"if_match_etag": '"stale"'}), 412),
        ("bad patch", lambda c: ("patch", ("there", [{"op": "remove", "path": "/x"}])), 400),
        ("bad id", lambda c: ("create", ({**c.item(), "id": ""},)), 400),
    ],
)
async def test_batch_that_fails_leaves_nothing_behind(cosmos: Cosmos, case: str, failing: Any, status: int) -> None:
    await cosmos.fill(cosmos.item("there", n=1))
    operations = [
        ("create", (cosmos.item("first"),)),
        ("patch", ("there", [{"op": "incr", "path": "/n", "value": 1}])),
        failing(cosmos),
        ("create", (cosmos.item("last"),)),
    ]
    with pytest.raises(CosmosBatchOperationError) as failed:
        await sdk(cosmos.plain.execute_item_batch(operations, cosmos.tenant))
    assert failed.value.error_index == 2, case
    assert failed.value.status_code == status
    assert [answer["statusCode"] for answer in failed.value.operation_responses] == [424, 424, status, 424]
    assert await cosmos.query("SELECT c.id, c.n FROM c") == [{"id": "there", "n": 1}]


async def test_batch_sees_its_own_writes(cosmos: Cosmos) -> None:
    results = await sdk(
        cosmos.plain.execute_item_batch([("create", (cosmos.item("x", n=1),)), ("read", ("x",))], cosmos.tenant)
    )
    assert results[1]["resourceBody"]["n"] == 1


@pytest.mark.local_only
@pytest.mark.parametrize(
    ("case", "operations"),
    [
        ("101 operations", lambda c: [("create", (c.item(f"i{number}"),)) for number in range(101)]),
        ("another partition", lambda c: [("create", ({"id": "x", "tenant": "somebody else"},))]),
    ],
)
async def test_batch_is_refused_whole(cosmos: Cosmos, case: str, operations: Any) -> None:
    with pytest.raises(CosmosHttpResponseError) as refused:
        await sdk(cosmos.plain.execute_item_batch(operations(cosmos), cosmos.tenant))
    assert refused.value.status_code == 400, case


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_batch_over_two_megabytes(cosmos: Cosmos) -> None:
    operations = [("create", (cosmos.item(f"i{number}", pad="x" * 300_000),)) for number in range(8)]
    with pytest.raises(CosmosHttpResponseError) as refused:
        await sdk(cosmos.plain.execute_item_batch(operations, cosmos.tenant))
    assert refused.value.status_code == 413


async def test_a_hundred_operations_in_a_hierarchical_partition(cosmos: Cosmos) -> None:
    operations = [("create", (cosmos.item(f"i{number}", user="u"),)) for number in range(100)]
    container = cosmos.container("hierarchical")
    results = await sdk(container.execute_item_batch(operations, [cosmos.tenant, "u"]))
    assert len(results) == 100
