"""One house for all flow tests of a session: real parts, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.house import HouseForTests


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseForTests]:
    """The whole house without rate limits: many people act at once from one address here."""
    with HouseForTests(tmp_path_factory.mktemp("house"), settings={"MERIDIAN_RATE_LIMITS": "false"}) as house:
        yield house
