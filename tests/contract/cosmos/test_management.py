"""Account, databases, containers, throughput."""

from __future__ import annotations

import secrets
from itertools import pairwise
from typing import Any

import pytest
from azure.cosmos import PartitionKey
from azure.cosmos.exceptions import (
    CosmosHttpResponseError,
    CosmosResourceExistsError,
    CosmosResourceNotFoundError,
)

from tests.contract.cosmos.driver import Cosmos, sdk

pytestmark = pytest.mark.local_only  # a real account bills and throttles containers


@pytest.fixture
def name() -> str:
    return f"x-{secrets.token_hex(5)}"


async def test_database_lifecycle(cosmos: Cosmos, name: str) -> None:
    await sdk(cosmos.client.create_database(name))
    with pytest.raises(CosmosResourceExistsError):
        await sdk(cosmos.client.create_database(name))
    assert name in [database["id"] for database in await sdk(cosmos.client.list_databases())]
    found = await sdk(cosmos.client.query_databases(f"SELECT * FROM r WHERE r.id = '{name}'"))
    assert [database["id"] for database in found] == [name]
    properties = await sdk(cosmos.client.get_database_client(name).read())
    assert properties["id"] == name
    assert properties["_etag"].startswith('"')
    await sdk(cosmos.client.delete_database(name))
    with pytest.raises(CosmosResourceNotFoundError):
        await sdk(cosmos.client.get_database_client(name).read())


async def test_container_keeps_its_definition(cosmos: Cosmos, name: str) -> None:
    policy = {
        "indexingMode": "consistent",
        "automatic": True,
        "includedPaths": [{"path": "/*"}],
        "excludedPaths": [{"path": "/body/?"}, {"path": '/"_etag"/?'}],
        "compositeIndexes": [[{"path": "/a", "order": "ascending"}, {"path": "/b", "order": "descending"}]],
    }
    container = await sdk(
        cosmos.database.create_container(
            name,
            PartitionKey(["/tenant", "/month"]),
            indexing_policy=policy,
            default_ttl=60,
            unique_key_policy={"uniqueKeys": [{"paths": ["/email"]}]},
        )
    )
    properties = await sdk(container.read())
    assert properties["partitionKey"] == {"paths": ["/tenant", "/month"], "kind": "MultiHash", "version": 2}
    assert properties["indexingPolicy"] == policy
    assert properties["defaultTtl"] == 60
    assert properties["uniqueKeyPolicy"]["uniqueKeys"] == [{"paths": ["/email"]}]
    with pytest.raises(CosmosResourceExistsError):
        await sdk(cosmos.database.create_container(name, PartitionKey("/tenant")))
    listed = [entry["id"] for entry in await sdk(cosmos.database.list_containers())]
    assert name in listed
    await sdk(cosmos.database.delete_container(name))
    with pytest.raises(CosmosResourceNotFoundError):
        await sdk(cosmos.database.get_container_client(name).read())


async def test_replace_container_changes_lifetime_but_not_keys(cosmos: Cosmos, name: str) -> None:
    container = await sdk(cosmos.database.create_container(name, PartitionKey("/tenant")))
    await sdk(cosmos.database.replace_container(name, PartitionKey("/tenant"), default_ttl=100))
    assert (await sdk(container.read()))["defaultTtl"] == 100
    with pytest.raises(CosmosHttpResponseError) as refused:
        await sdk(cosmos.database.replace_container(name, PartitionKey("/other")))
    assert refused.value.status_code == 400
    await sdk(cosmos.database.delete_container(name))


async def test_container_made_anew_is_noticed_by_a_client_that_knows_the_old_one(cosmos: Cosmos, name: str) -> None:
    container = await sdk(cosmos.database.create_container(name, PartitionKey("/tenant")))
    await sdk(container.create_item({"id": "old", "tenant": "t"}))
    with cosmos.target.client() as other:
        database = other.get_database_client(cosmos.target.database)
        database.delete_container(name)
        database.create_container(name, PartitionKey("/tenant"))
    await sdk(container.create_item({"id": "new", "tenant": "t"}))
    assert [item["id"] for item in await sdk(container.query_items("SELECT * FROM c", partition_key="t"))] == ["new"]
    await sdk(cosmos.database.delete_container(name))


async def test_throughput_is_kept(cosmos: Cosmos, name: str) -> None:
    container = await sdk(cosmos.database.create_container(name, PartitionKey("/tenant"), offer_throughput=400))
    assert (await sdk(container.get_throughput())).offer_throughput == 400
    await sdk(container.replace_throughput(700))
    assert (await sdk(container.get_throughput())).offer_throughput == 700
    await sdk(cosmos.database.delete_container(name))


async def test_feed_ranges_cover_the_ring(cosmos: Cosmos) -> None:
    ranges = [entry["Range"] for entry in await sdk(cosmos.plain.read_feed_ranges())]
    assert ranges[0]["min"] == ""
    assert ranges[-1]["max"] == "FF"
    assert all(left["max"] == right["min"] for left, right in pairwise(ranges))


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("too many levels", {"partition_key": PartitionKey(["/a", "/b", "/c", "/d"])}),
        ("not a path", {"partition_key": PartitionKey("tenant")}),
        ("lifetime of zero", {"partition_key": PartitionKey("/a"), "default_ttl": 0}),
        ("version 1 keys", {"partition_key": PartitionKey("/a", version=1)}),
        (
            "vectors",
            {"partition_key": PartitionKey("/a"), "vector_embedding_policy": {"vectorEmbeddings": [{"path": "/v"}]}},
        ),
    ],
)
async def test_definition_is_refused(cosmos: Cosmos, name: str, case: str, options: dict[str, Any]) -> None:
    with pytest.raises(CosmosHttpResponseError) as refused:
        await sdk(cosmos.database.create_container(name, **options))
    assert refused.value.status_code == 400, case
