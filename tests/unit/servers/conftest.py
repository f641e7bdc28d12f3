from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from shared.composition import Services
from shared.platform.settings import load_settings
from tests.support.cosmos import CosmosPart


@pytest.fixture(scope="module")
def cosmos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CosmosPart]:
    endpoint = CosmosPart(tmp_path_factory.mktemp("cosmos"))
    with endpoint.part:
        yield endpoint


@pytest.fixture
def values(cosmos: CosmosPart, tmp_path: Path) -> dict[str, str]:
    return {**cosmos.database(), "secrets_folder": str(tmp_path / "secrets")}


@pytest_asyncio.fixture
async def services(values: dict[str, str]) -> AsyncIterator[Services]:
    made = Services(load_settings(values))
    yield made
    await made.close()


@pytest_asyncio.fixture
async def others(values: dict[str, str]) -> AsyncIterator[Services]:
    """A second process's services, as far as the store can tell."""
    made = Services(load_settings(values))
    yield made
    await made.close()
