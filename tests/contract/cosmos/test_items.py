"""Single items: create, read, replace, upsert, delete, with ETags and partition keys of every kind."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core import MatchConditions
from azure.cosmos.exceptions import (
    CosmosAccessConditionFailedError,
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)
from azure.cosmos.partition_key import NonePartitionKeyValue

from tests.contract.cosmos.driver import Cosmos, sdk


async def test_create_gives_back_the_item_with_system_properties(cosmos: Cosmos) -> None:
    made = await sdk(cosmos.plain.create_item(cosmos.item(n=1, text="é\u2028\U0001f600", deep={"list": [1, None, {}]})))
    assert made["n"] == 1
    assert made["text"] == "é\u2028\U0001f600"
    assert made["deep"] == {"list": [1, None, {}]}
    assert made["_etag"].startswith('"')
    assert made["_attachments"] == "attachments/"
    assert isinstance(made["_ts"], int)
    assert await sdk(cosmos.plain.read_item("a", cosmos.tenant)) == made


async def test_create_twice_conflicts(cosmos: Cosmos) -> None:
    await cosmos.fill(cosmos.item())
    with pytest.raises(CosmosResourceExistsError):
        await sdk(cosmos.plain.create_item(cosmos.item()))


async def test_the_same_id_lives_in_two_partitions(cosmos: Cosmos) -> None:
    await cosmos.fill(cosmos.item(v="one"), {"id": "a", "tenant": cosmos.tenant + "-other", "v": "two"})
    assert (await sdk(cosmos.plain.read_item("a", cosmos.tenant)))["v"] == "one"
    assert (await sdk(cosmos.plain.read_item("a", cosmos.tenant + "-other")))["v"] == "two"


@pytest.mark.parametrize("item_id", ["missing", "a b", "ä", "x" * 255, "per%cent", "plus+", "semi;colon", "'quote'"])
async def test_odd_ids_work_and_missing_ones_are_404(cosmos: Cosmos, item_id: str) -> None:
    with pytest.raises(CosmosResourceNotFoundError):
        await sdk(cosmos.plain.read_item(item_id, cosmos.tenant))
    await cosmos.fill(cosmos.item(item_id))
    assert (await sdk(cosmos.plain.read_item(item_id, cosmos.tenant)))["id"] == item_id
    await sdk(cosmos.plain.delete_item(item_id, cosmos.tenant))


async def test_replace_keeps_rid_and_changes_etag(cosmos: Cosmos) -> None:
    made = await sdk(cosmos.plain.create_item(cosmos.item(n=1)))
    replaced = await sdk(cosmos.plain.replace_item("a", cosmos.item(n=2)))
    assert replaced["_rid"] == made["_rid"]
    assert replaced["_etag"] != made["_etag"]
    await sdk(cosmos.plain.delete_item("a", cosmos.tenant))
    again = await sdk(cosmos.plain.create_item(cosmos.item(n=3)))
    assert again["_rid"] != made["_rid"]
    with pytest.raises(CosmosResourceNotFoundError):
        await sdk(cosmos.plain.replace_item("gone", cosmos.item("gone")))


async def test_upsert_inserts_and_replaces(cosmos: Cosmos) -> None:
    first = await sdk(cosmos.plain.upsert_item(cosmos.item(n=1)))
    second = await sdk(cosmos.plain.upsert_item(cosmos.item(n=2)))
    assert first["_rid"] == second["_rid"]
    assert (await sdk(cosmos.plain.read_item("a", cosmos.tenant)))["n"] == 2


async def test_delete(cosmos: Cosmos) -> None:
    await cosmos.fill(cosmos.item())
    await sdk(cosmos.plain.delete_item("a", cosmos.tenant))
    with pytest.raises(CosmosResourceNotFoundError):
        await sdk(cosmos.plain.delete_item("a", cosmos.tenant))


@pytest.mark.parametrize("operation", ["replace", "upsert", "delete", "patch"])
async def test_if_match_lets_the_present_version_through_and_no_other(cosmos: Cosmos, operation: str) -> None:
    made = await sdk(cosmos.plain.create_item(cosmos.item(n=1)))
    changed = await sdk(cosmos.plain.replace_item("a", cosmos.item(n=2)))

    async def attempt(etag: str) -> Any:
        condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        if operation == "replace":
            return await sdk(cosmos.plain.replace_item("a", cosmos.item(n=3), **condition))
        if operation == "upsert":
            return await sdk(cosmos.plain.upsert_item(cosmos.item(n=3), **condition))
        if operation == "delete":
            return await sdk(cosmos.plain.delete_item("a", cosmos.tenant, **condition))
        change = [{"op": "set", "path": "/n", "value": 3}]
        return await sdk(cosmos.plain.patch_item("a", cosmos.tenant, change, **condition))

    with pytest.raises(CosmosAccessConditionFailedError):
        await attempt(made["_etag"])
    assert (await sdk(cosmos.plain.read_item("a", cosmos.tenant)))["n"] == 2
    await attempt(changed["_etag"])


async def test_read_with_the_known_etag_is_not_modified(cosmos: Cosmos) -> None:
    made = await sdk(cosmos.plain.create_item(cosmos.item()))
    condition = {"etag": made["_etag"], "match_condition": MatchConditions.IfModified}
    assert not await sdk(cosmos.plain.read_item("a", cosmos.tenant, **condition)), "304 carries no item"
    await sdk(cosmos.plain.replace_item("a", cosmos.item(n=2)))
    assert (await sdk(cosmos.plain.read_item("a", cosmos.tenant, **condition)))["n"] == 2


@pytest.mark.parametrize("key", ["text", 42, 1.5, True, False, None, "", "ü/ä"], ids=repr)
async def test_partition_key_of_every_simple_type(cosmos: Cosmos, key: Any) -> None:
    item = {"id": cosmos.tenant, "tenant": key}
    await sdk(cosmos.plain.create_item(item))
    assert (await sdk(cosmos.plain.read_item(cosmos.tenant, key)))["tenant"] == key
    await sdk(cosmos.plain.delete_item(cosmos.tenant, key))


async def test_item_without_partition_key(cosmos: Cosmos) -> None:
    await sdk(cosmos.plain.create_item({"id": cosmos.tenant}))
    assert (await sdk(cosmos.plain.read_item(cosmos.tenant, NonePartitionKeyValue)))["id"] == cosmos.tenant
    await sdk(cosmos.plain.delete_item(cosmos.tenant, NonePartitionKeyValue))


async def test_number_keys_are_one_key_however_written(cosmos: Cosmos) -> None:
    await sdk(cosmos.plain.create_item({"id": cosmos.tenant, "tenant": 42.0}))
    assert (await sdk(cosmos.plain.read_item(cosmos.tenant, 42)))["id"] == cosmos.tenant
    await sdk(cosmos.plain.delete_item(cosmos.tenant, 42))


async def test_nested_partition_key(cosmos: Cosmos) -> None:
    container = cosmos.container("nested")
    await sdk(container.create_item({"id": "a", "owner": {"id": cosmos.tenant}}))
    assert (await sdk(container.read_item("a", cosmos.tenant)))["owner"]["id"] == cosmos.tenant


async def test_hierarchical_partition_key(cosmos: Cosmos) -> None:
    container = cosmos.container("hierarchical")
    for user in ("u1", "u2"):
        await sdk(container.create_item(cosmos.item(user=user, v=user)))
    assert (await sdk(container.read_item("a", [cosmos.tenant, "u2"])))["v"] == "u2"
    found = await sdk(container.query_items("SELECT VALUE c.v FROM c", partition_key=[cosmos.tenant]))
    assert sorted(found) == ["u1", "u2"]
    found = await sdk(container.query_items("SELECT VALUE c.v FROM c", partition_key=[cosmos.tenant, "u1"]))
    assert found == ["u1"]


@pytest.mark.local_only
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize(
    ("case", "fields", "status"),
    [
        ("slash in id", {"id": "a/b"}, 400),
        ("backslash in id", {"id": "a\\b"}, 400),
        ("question mark in id", {"id": "a?b"}, 400),
        ("hash in id", {"id": "a#b"}, 400),
        ("one dot", {"id": "."}, 400),
        ("over-long id", {"id": "x" * 1024}, 400),
        ("id that is a number", {"id": 7}, 400),
        ("ttl of zero", {"ttl": 0}, 400),
        ("ttl that is a text", {"ttl": "soon"}, 400),
        ("integer that no double holds", {"n": 2**53 + 1}, 400),
        ("array as partition key", {"tenant": ["x"]}, 400),
        ("over 2 MB", {"blob": "x" * (2 * 1024 * 1024)}, 413),
    ],
)
async def test_item_is_refused(cosmos: Cosmos, case: str, fields: dict[str, Any], status: int) -> None:
    with pytest.raises((CosmosHttpResponseError, ValueError, TypeError)) as refused:
        await sdk(cosmos.plain.create_item({**cosmos.item(), **fields}))
    if isinstance(refused.value, CosmosHttpResponseError):  # the SDK itself refuses some ids
        assert refused.value.status_code == status, case


async def test_minimal_answer(cosmos: Cosmos) -> None:
    answer = await sdk(cosmos.plain.create_item(cosmos.item(), no_response=True))
    assert not answer
    assert (await sdk(cosmos.plain.read_item("a", cosmos.tenant)))["id"] == "a"


async def test_charges_follow_the_published_model(cosmos: Cosmos) -> None:
    await sdk(cosmos.plain.create_item(cosmos.item(pad="x" * 500), response_hook=cosmos.note_headers))
    assert 4 < float(cosmos.headers["x-ms-request-charge"]) < 9
    await sdk(cosmos.plain.read_item("a", cosmos.tenant, response_hook=cosmos.note_headers))
    assert float(cosmos.headers["x-ms-request-charge"]) == 1
    assert cosmos.headers["x-ms-activity-id"]


async def test_a_write_is_seen_by_the_same_client_at_once(cosmos: Cosmos) -> None:
    for number in range(5):
        await sdk(cosmos.plain.upsert_item(cosmos.item(n=number), response_hook=cosmos.note_headers))
        assert "#" in cosmos.headers["x-ms-session-token"]
        assert (await sdk(cosmos.plain.read_item("a", cosmos.tenant)))["n"] == number
        assert await cosmos.query("SELECT VALUE c.n FROM c") == [number]


async def test_read_items(cosmos: Cosmos) -> None:
    await cosmos.fill(*[cosmos.item(f"i{number}", n=number) for number in range(5)])
    wanted = [("i3", cosmos.tenant), ("i1", cosmos.tenant), ("missing", cosmos.tenant)]
    found = await sdk(cosmos.plain.read_items(wanted))
    assert [item["id"] for item in found] == ["i3", "i1"]


async def test_read_many_items_over_partitions(cosmos: Cosmos) -> None:
    tenants = [f"{cosmos.tenant}-{number}" for number in range(40)]
    await cosmos.fill(*[{"id": f"id-{tenant}", "tenant": tenant} for tenant in tenants])
    found = await sdk(cosmos.plain.read_items([(f"id-{tenant}", tenant) for tenant in tenants]))
    assert [item["tenant"] for item in found] == tenants


async def test_delete_all_items_of_a_partition(cosmos: Cosmos) -> None:
    other = {"id": "a", "tenant": cosmos.tenant + "-other"}
    await cosmos.fill(cosmos.item("a"), cosmos.item("b"), other)
    await sdk(cosmos.plain.delete_all_items_by_partition_key(cosmos.tenant))
    assert await cosmos.query("SELECT * FROM c") == []
    assert (await sdk(cosmos.plain.read_item("a", other["tenant"])))["id"] == "a"
