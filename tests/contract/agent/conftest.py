from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent.drivers.base import Driver
from agent.drivers.container import ContainerDriver
from agent.drivers.process import ProcessDriver
from tests.support.podman import IMAGE, Podman, podman_  # noqa: F401  # a fixture


@pytest.fixture(params=["process", "container"])
def make_driver(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Driver]:
    """Makes a driver, and makes another one over the same servers, as a restarted agent does."""
    if request.param == "process":
        return lambda: ProcessDriver(tmp_path / "run", runtimes=("python3",))
    engine: Podman = request.getfixturevalue("podman")
    return lambda: ContainerDriver(tmp_path / "run", engine.socket, IMAGE)


@pytest.fixture
async def driver(make_driver: Callable[[], Driver]) -> AsyncIterator[Driver]:
    driver = make_driver()
    yield driver
    for running in tuple(driver._running.values()):  # type: ignore[attr-defined]
        await running.kill()
    await driver.close()
