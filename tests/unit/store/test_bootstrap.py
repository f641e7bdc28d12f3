"""Containers are made once; those of another version are not taken for ours."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest
from azure.cosmos import PartitionKey
from azure.cosmos.aio import CosmosClient

from shared.platform.settings import load_settings
from shared.store.bootstrap import OtherLayout, bootstrap
from tests.support.cosmos import CosmosPart
from tests.support.processes import ROOT


async def index_all(values: dict[str, Any], name: str) -> None:
    """As a version did that had its queries' fields elsewhere."""
    async with CosmosClient(values["cosmos_endpoint"], credential=values["cosmos_key"]) as client:
        database = client.get_database_client(values["cosmos_database"])
        await database.delete_container(name)
        await database.create_container(name, PartitionKey(path="/org_id"))


def test_a_second_time_there_is_nothing_to_create(cosmos: CosmosPart) -> None:
    assert asyncio.run(bootstrap(load_settings(cosmos.database()))) == []


def test_what_another_version_stored_is_not_passed_over_in_silence(cosmos: CosmosPart) -> None:
    values = cosmos.database()
    asyncio.run(index_all(values, "tenants"))
    with pytest.raises(OtherLayout, match="another version of Meridian made tenants of http"):
        asyncio.run(bootstrap(load_settings(values)))
    env = {**os.environ, **{name.upper(): value for name, value in values.items()}}
    words = [sys.executable, "-m", "shared.store.bootstrap"]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, "make clean-data" in done.stderr) == (2, True), done.stderr
