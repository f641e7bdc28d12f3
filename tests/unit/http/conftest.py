from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.http.principal import Auth
from tests.support.clocks import SetClock
from tests.support.cosmos import CosmosPart
from tests.support.doors import Backing, Doors, settings_for_tests
from tests.support.processes import dead_address
from tests.unit.http.sample import Gate, make
from tests.unit.http.world import ORIGIN, World


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


@pytest.fixture
def world() -> World:
    gate, clock = Gate(), SetClock()
    backing = Backing(
        authenticators={Auth.USER: gate},
        authorizer=gate,
        clock=clock,
        settings=settings_for_tests(cors_origins=(ORIGIN,), body_limit_bytes=10_000),
    )
    routes, kept = make(backing)
    return World(Doors(routes), gate, kept, clock)
