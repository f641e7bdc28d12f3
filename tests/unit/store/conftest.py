from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from shared.composition import Services
from shared.platform.ids import OrgId
from shared.platform.settings import load_settings
from tests.support.clocks import SetClock
from tests.support.cosmos import CosmosPart
from tests.support.processes import dead_address

_orgs = itertools.count(1)


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
async def services(database: dict[str, str], clock: SetClock) -> AsyncIterator[Services]:
    made = Services(load_settings(database), clock=clock)
    yield made
    await made.close()


@pytest.fixture
def nowhere() -> Iterator[str]:
    with dead_address() as address:
        yield address


@pytest.fixture
def org() -> OrgId:
    """An organization that no other test has."""
    return OrgId(f"org_test_{next(_orgs)}")
