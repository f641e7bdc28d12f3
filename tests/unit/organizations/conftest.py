"""The services over a real Cosmos endpoint, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from shared.composition import Services
from shared.platform.settings import load_settings
from tests.support.clocks import SetClock
from tests.support.cosmos import CosmosPart
from tests.support.seeding import Owner, seed_owner


@pytest.fixture(scope="session")
def cosmos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CosmosPart]:
    endpoint = CosmosPart(tmp_path_factory.mktemp("cosmos"))
    with endpoint.part:
        yield endpoint


@pytest.fixture(scope="session")
def database(cosmos: CosmosPart) -> dict[str, str]:
    return cosmos.database()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest_asyncio.fixture
async def services(database: dict[str, str], clock: SetClock, tmp_path: Path) -> AsyncIterator[Services]:
    made = Services(load_settings({**database, "secrets_folder": str(tmp_path / "secrets")}), clock=clock)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def owner(services: Services) -> Owner:
    return await seed_owner(services)
