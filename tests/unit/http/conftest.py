from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cosmos import CosmosPart
from tests.support.processes import dead_address


@pytest.fixture(scope="session")
def cosmos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CosmosPart]:
    endpoint = CosmosPart(tmp_path_factory.mktemp("cosmos"))
    with endpoint.part:
        yield endpoint


@pytest.fixture(scope="session")
def database(cosmos: CosmosPart) -> dict[str, str]:
    return cosmos.database()


@pytest.fixture
def nowhere() -> Iterator[str]:
    with dead_address() as address:
        yield address
