"""The target, and a client of either kind for each check."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.contract.cosmos.driver import Cosmos
from tests.contract.cosmos.target import KEY, Target
from tests.support.processes import Part, free_port

GIVEN = os.environ.get("COSMOS_TEST_ENDPOINT")
KIND = os.environ.get("COSMOS_TEST_TARGET", "azure" if GIVEN else "local")


def endpoint(folder: Path, *options: str, port: int | None = None) -> Part:
    """A local endpoint in a process of its own, not yet started."""
    port = port or free_port()
    return Part.module(
        "local.cosmos",
        *("--port", str(port), "--data", str(folder / "data"), "--key", KEY, "--sync", "NORMAL", *options),
        log=folder / "log",
        port=port,
    )


@pytest.fixture(scope="session", params=["whole"] if GIVEN else ["whole", "three ranges"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The endpoint under test: as it is, and locally also as if the data lay on three physical partitions."""
    if GIVEN:
        given = Target(GIVEN, KIND)
        given.prepare()
        yield given
        given.clean()
        return
    options = [] if request.param == "whole" else ["--ranges", "3"]
    part = endpoint(tmp_path_factory.mktemp("cosmos"), *options).start()
    try:
        own = Target(f"http://localhost:{part.port}", "local")
        own.prepare()
        yield own
        assert "Traceback" not in part.output(), part.output()
    finally:
        part.kill()


@pytest.fixture(params=["sync", "aio"])
async def cosmos(request: pytest.FixtureRequest, target: Target) -> AsyncIterator[Cosmos]:
    """A client of each kind."""
    if request.param == "sync":
        with target.client() as client:
            yield Cosmos(target, "sync", client)
    else:
        async with target.async_client() as client:
            yield Cosmos(target, "aio", client)


# What these ask has nothing to do with how many partitions there are.
ONE_TARGET = ("test_refusals.py", "test_http.py", "test_management.py", "test_probes.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What needs power over the endpoint is left out elsewhere."""
    twice = [item for item in items if "three ranges" in item.name and item.path.name in ONE_TARGET]
    if twice:
        config.hook.pytest_deselected(items=twice)
        items[:] = [item for item in items if item not in set(twice)]
    for item in items:
        if KIND != "local" and item.get_closest_marker("local_only"):
            item.add_marker(pytest.mark.skip(reason="needs power over the endpoint"))
