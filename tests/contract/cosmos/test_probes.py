"""Behaviour of which nobody here is sure: each probe notes what the target answers, in a file to compare targets by.

COSMOS_TEST_PROBES   the file (JSON); default: in the run's temporary folder
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.cosmos.exceptions import CosmosHttpResponseError

from tests.contract.cosmos.driver import Cosmos, sdk

pytestmark = pytest.mark.probe
Probe = Callable[[Cosmos], Awaitable[Any]]


def rows(text: str) -> Probe:
    async def run(cosmos: Cosmos) -> Any:
        return await cosmos.query(text)

    return run


async def upsert_if_absent(cosmos: Cosmos) -> Any:
    return await sdk(cosmos.plain.upsert_item(cosmos.item("a"), match_condition=MatchConditions.IfMissing))


async def upsert_of_nothing_with_etag(cosmos: Cosmos) -> Any:
    condition = {"etag": '"x"', "match_condition": MatchConditions.IfNotModified}
    return (await sdk(cosmos.plain.upsert_item(cosmos.item("none"), **condition)))["id"]


async def replace_under_another_key(cosmos: Cosmos) -> Any:
    return (await sdk(cosmos.plain.replace_item("a", {**cosmos.item("a"), "tenant": cosmos.tenant + "x"})))["id"]


async def false_predicate(cosmos: Cosmos) -> Any:
    change = [{"op": "set", "path": "/n", "value": 2}]
    return (await sdk(cosmos.plain.patch_item("a", cosmos.tenant, change, filter_predicate="from c where c.n = 99")))[
        "id"
    ]


PROBES: dict[str, Probe] = {
    "number = text": rows("SELECT VALUE c.n = 'x' FROM c WHERE c.id = 'a'"),
    "number != text": rows("SELECT VALUE c.id FROM c WHERE c.n != 'x'"),
    "number != null": rows("SELECT VALUE c.id FROM c WHERE c.n != null"),
    "NOT IN mixed types": rows("SELECT VALUE c.id FROM c WHERE c.n NOT IN ('x', 5)"),
    "SUM of nothing": rows("SELECT VALUE SUM(c.n) FROM c WHERE c.n > 100"),
    "MIN of nothing": rows("SELECT VALUE MIN(c.n) FROM c WHERE c.n > 100"),
    "AVG with a text": rows("SELECT VALUE AVG(c.m) FROM c"),
    "order of mixed types": rows("SELECT VALUE c.id FROM c ORDER BY c.m"),
    "division by zero": rows("SELECT VALUE c.n / 0 FROM c WHERE c.id = 'a'"),
    "LENGTH of a pair": rows("SELECT VALUE LENGTH('\U0001f600') FROM c WHERE c.id = 'a'"),
    "upsert if absent": upsert_if_absent,
    "upsert of nothing with an ETag": upsert_of_nothing_with_etag,
    "replace under another key": replace_under_another_key,
    "false predicate": false_predicate,
}


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(os.environ.get("COSMOS_TEST_PROBES") or tmp_path_factory.mktemp("probes") / "probes.json")


@pytest.mark.parametrize("name", PROBES)
async def test_probe(cosmos: Cosmos, notes: Path, name: str) -> None:
    await cosmos.fill(
        cosmos.item("a", n=1, m="x"), cosmos.item("b", n=2, m=[1]), cosmos.item("c", m=None), cosmos.item("d", m=3)
    )
    try:
        answer = await PROBES[name](cosmos)
    except CosmosHttpResponseError as error:
        answer = {"status": error.status_code, "substatus": error.sub_status}
    found = json.loads(notes.read_text()) if notes.exists() else {}
    found[f"{name} ({cosmos.mode})"] = answer
    notes.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert not (isinstance(answer, dict) and answer.get("status", 0) >= 500), answer
