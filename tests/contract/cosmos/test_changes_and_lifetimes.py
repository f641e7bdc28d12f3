"""Change feed, time to live, unique keys."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from azure.cosmos.exceptions import CosmosResourceExistsError, CosmosResourceNotFoundError

from tests.contract.cosmos.driver import Cosmos, sdk

PATIENCE_SECONDS = 30


async def changes(cosmos: Cosmos, **options: Any) -> tuple[list[str], str]:
    """The ids of one read to the end, and the continuation."""
    found = await sdk(cosmos.plain.query_items_change_feed(response_hook=cosmos.note_headers, **options))
    return [item["id"] for item in found], cosmos.headers["etag"]


async def test_change_feed_of_a_partition(cosmos: Cosmos) -> None:
    await cosmos.fill(cosmos.item("a"), cosmos.item("b"), {"id": "other", "tenant": cosmos.tenant + "-other"})
    await sdk(cosmos.plain.upsert_item(cosmos.item("a", n=2)))
    ids, token = await changes(cosmos, partition_key=cosmos.tenant, start_time="Beginning")
    assert ids == ["b", "a"]
    assert (await changes(cosmos, continuation=token))[0] == []
    await cosmos.fill(cosmos.item("c"))
    ids, token = await changes(cosmos, continuation=token)
    assert ids == ["c"]
    await sdk(cosmos.plain.delete_item("c", cosmos.tenant))
    assert (await changes(cosmos, continuation=token))[0] == []


async def test_change_feed_from_now(cosmos: Cosmos) -> None:
    await cosmos.fill(cosmos.item("before"))
    ids, token = await changes(cosmos, partition_key=cosmos.tenant, start_time="Now")
    assert ids == []
    await cosmos.fill(cosmos.item("after"))
    assert (await changes(cosmos, continuation=token))[0] == ["after"]


async def test_change_feed_in_pages_loses_nothing(cosmos: Cosmos) -> None:
    await cosmos.fill(*[cosmos.item(f"i{number}") for number in range(11)])
    ids, _ = await changes(cosmos, partition_key=cosmos.tenant, start_time="Beginning", max_item_count=3)
    assert ids == [f"i{number}" for number in range(11)]


async def test_change_feed_of_a_container_holds_every_partition(cosmos: Cosmos) -> None:
    mine = {f"{cosmos.tenant}-{number}" for number in range(12)}
    await cosmos.fill(*[{"id": tenant, "tenant": tenant} for tenant in mine])
    ids, _ = await changes(cosmos, start_time="Beginning")
    assert mine <= set(ids)


async def gone(cosmos: Cosmos, item_id: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            await sdk(cosmos.container("ttl").read_item(item_id, cosmos.tenant))
        except CosmosResourceNotFoundError:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"{item_id} never expired")


async def test_items_end_at_their_ttl_everywhere_at_once(cosmos: Cosmos) -> None:
    container = cosmos.container("ttl")
    await cosmos.fill(cosmos.item("long", ttl=1000), cosmos.item("ever"), cosmos.item("short", ttl=1), shape="ttl")
    await gone(cosmos, "short")
    assert sorted(await cosmos.query("SELECT VALUE c.id FROM c", shape="ttl")) == ["ever", "long"]
    assert await cosmos.query("SELECT VALUE COUNT(1) FROM c", shape="ttl") == [2]
    feed = await sdk(container.query_items_change_feed(partition_key=cosmos.tenant, start_time="Beginning"))
    assert sorted(item["id"] for item in feed) == ["ever", "long"]
    await sdk(container.create_item(cosmos.item("short", ttl=1000)))


@pytest.mark.local_only
async def test_a_changed_default_lifetime_counts_for_what_is_there(cosmos: Cosmos) -> None:
    from azure.cosmos import PartitionKey

    name = f"ttl-{cosmos.tenant}"
    container = await sdk(cosmos.database.create_container(name, PartitionKey("/tenant")))
    await sdk(container.create_item(cosmos.item("a", ttl=1)))
    await sdk(container.create_item(cosmos.item("b")))
    assert len(await sdk(container.query_items("SELECT * FROM c", partition_key=cosmos.tenant))) == 2
    await sdk(cosmos.database.replace_container(name, PartitionKey("/tenant"), default_ttl=-1))
    deadline = time.monotonic() + PATIENCE_SECONDS
    left: list[Any] = []
    while time.monotonic() < deadline and left != ["b"]:
        left = [item["id"] for item in await sdk(container.query_items("SELECT * FROM c", partition_key=cosmos.tenant))]
    assert left == ["b"]
    await sdk(cosmos.database.delete_container(name))


async def test_unique_keys_hold_within_a_partition(cosmos: Cosmos) -> None:
    container = cosmos.container("unique")
    await sdk(container.create_item(cosmos.item("a", email="x", first="f", last="l")))
    for fields in ({"email": "x", "first": "g", "last": "l"}, {"email": "y", "first": "f", "last": "l"}):
        with pytest.raises(CosmosResourceExistsError):
            await sdk(container.create_item(cosmos.item("b", **fields)))
    await sdk(
        container.create_item({**cosmos.item("a", email="x", first="f", last="l"), "tenant": cosmos.tenant + "2"})
    )
    await sdk(container.create_item(cosmos.item("b", email="y", first="f", last="m")))
    with pytest.raises(CosmosResourceExistsError):
        await sdk(container.upsert_item(cosmos.item("b", email="x", first="f", last="m")))
    with pytest.raises(CosmosResourceExistsError):
        await sdk(container.replace_item("b", cosmos.item("b", email="x", first="f", last="m")))


async def test_a_unique_value_is_free_again_after_delete_and_change(cosmos: Cosmos) -> None:
    container = cosmos.container("unique")
    await sdk(container.create_item(cosmos.item("a", email="x", first="1")))
    await sdk(container.upsert_item(cosmos.item("a", email="z", first="1")))
    await sdk(container.create_item(cosmos.item("b", email="x", first="2")))
    await sdk(container.delete_item("b", cosmos.tenant))
    await sdk(container.create_item(cosmos.item("c", email="x", first="2")))


async def test_a_missing_property_is_a_unique_value_too(cosmos: Cosmos) -> None:
    container = cosmos.container("unique")
    await sdk(container.create_item(cosmos.item("a", first="1", last="1")))
    with pytest.raises(CosmosResourceExistsError):
        await sdk(container.create_item(cosmos.item("b", first="2", last="2")))
