"""Queries over all partitions: answered, merged by the SDK through a query plan, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from azure.cosmos.exceptions import CosmosHttpResponseError

from tests.contract.cosmos.driver import Cosmos, sdk

COUNT = 30


async def spread(cosmos: Cosmos) -> None:
    """Items with a common `run`, each in a partition of its own."""
    await cosmos.fill(
        *[
            {
                "id": f"i{number:02}",
                "tenant": f"{cosmos.tenant}-{number}",
                "run": cosmos.tenant,
                "n": number,
                "even": number % 2 == 0,
            }
            for number in range(COUNT)
        ]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT VALUE c.n FROM c WHERE c.run = @tenant ORDER BY c.n", list(range(COUNT))),
        ("SELECT VALUE c.n FROM c WHERE c.run = @tenant ORDER BY c.n DESC OFFSET 3 LIMIT 4", [26, 25, 24, 23]),
        ("SELECT TOP 3 c.n FROM c WHERE c.run = @tenant ORDER BY c.id", [{"n": 0}, {"n": 1}, {"n": 2}]),
        ("SELECT VALUE COUNT(1) FROM c WHERE c.run = @tenant", [COUNT]),
        ("SELECT VALUE SUM(c.n) FROM c WHERE c.run = @tenant", [sum(range(COUNT))]),
        ("SELECT VALUE AVG(c.n) FROM c WHERE c.run = @tenant", [(COUNT - 1) / 2]),
        ("SELECT VALUE MIN(c.n) FROM c WHERE c.run = @tenant", [0]),
        ("SELECT VALUE MAX(c.id) FROM c WHERE c.run = @tenant", ["i29"]),
    ],
)
async def test_merged(cosmos: Cosmos, text: str, expected: list[Any]) -> None:
    await spread(cosmos)
    assert await cosmos.query_all(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT VALUE c.n FROM c WHERE c.run = @tenant AND c.n > 25", [26, 27, 28, 29]),
        ("SELECT DISTINCT VALUE c.even FROM c WHERE c.run = @tenant", [False, True]),
    ],
)
async def test_gathered(cosmos: Cosmos, text: str, expected: list[Any]) -> None:
    await spread(cosmos)
    assert sorted(await cosmos.query_all(text)) == expected


async def test_paged(cosmos: Cosmos) -> None:
    await spread(cosmos)
    found = await cosmos.query_all("SELECT VALUE c.n FROM c WHERE c.run = @tenant", max_item_count=4)
    assert sorted(found) == list(range(COUNT))


async def test_filter_that_names_the_key_needs_no_header(cosmos: Cosmos) -> None:
    await spread(cosmos)
    assert await cosmos.query_all("SELECT VALUE c.n FROM c WHERE c.tenant = CONCAT(@tenant, '-7')") == [7]


@pytest.mark.local_only
@pytest.mark.parametrize(
    "text",
    [
        "SELECT c.even, COUNT(1) AS n FROM c GROUP BY c.even",
        "SELECT COUNT(1) AS n FROM c",
        "SELECT VALUE COUNT(1) + 1 FROM c",
    ],
)
async def test_what_the_sdk_cannot_merge_is_refused(cosmos: Cosmos, text: str) -> None:
    with pytest.raises(CosmosHttpResponseError) as refused:
        await cosmos.query_all(text)
    assert refused.value.status_code == 400


async def test_sync_refuses_a_query_without_key_or_permission(cosmos: Cosmos) -> None:
    if cosmos.mode == "aio":
        pytest.skip("the aio client turns cross-partition on by itself: the application must not rely on a refusal")
    with pytest.raises(CosmosHttpResponseError) as refused:
        await sdk(cosmos.plain.query_items("SELECT * FROM c"))
    assert refused.value.status_code == 400


async def test_hierarchical_prefix(cosmos: Cosmos) -> None:
    await cosmos.fill(
        *[cosmos.item(f"i{number}", user=f"u{number % 3}", n=number) for number in range(9)], shape="hierarchical"
    )
    found = await cosmos.query("SELECT VALUE c.n FROM c", shape="hierarchical", partition_key=[cosmos.tenant])
    assert sorted(found) == list(range(9))
    found = await cosmos.query(
        "SELECT VALUE c.n FROM c WHERE c.n > 6", shape="hierarchical", partition_key=[cosmos.tenant, "u2"]
    )
    assert found == [8]
