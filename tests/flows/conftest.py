"""One house for the flow tests that need nothing special of it: real parts, started once a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.house import HouseForTests
from tests.support.people import ApiClient, Person


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseForTests]:
    """The whole house without rate limits: many people act at once from one address here."""
    with HouseForTests(tmp_path_factory.mktemp("house"), settings={"MERIDIAN_RATE_LIMITS": "false"}) as house:
        yield house


@pytest.fixture(scope="module")
def olga(house: HouseForTests) -> Person:
    """A person, for the tests of one module."""
    return Person.sign_up(house, "olga")


@pytest.fixture(scope="module")
def owner(olga: Person) -> ApiClient:
    """The organization that Olga owns."""
    return olga.found_organization("Olga's")
