"""Fixtures of the flow tests of servers: a house, an organization, an agent that is online. Import the four names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient, Person
from tests.support.servers import Servers, online_with_own_ports


@pytest.fixture(name="house", scope="module")
def house_(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseForTests]:
    folder = tmp_path_factory.mktemp("house")
    settings = {"MERIDIAN_RATE_LIMITS": "false"}
    with HouseForTests(folder, "cosmos", "bus", "auth", "host", settings=settings) as house:
        yield house


@pytest.fixture(name="api", scope="module")
def api_(house: HouseForTests) -> ApiClient:
    return Person.sign_up(house, "ann").found_organization("Ann's servers")


@pytest.fixture(name="agent", scope="module")
def agent_(house: HouseForTests, api: ApiClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    with AgentProcess.enrolled(house, api, tmp_path_factory.mktemp("agent"), name="attic") as agent:
        online_with_own_ports(api, agent.node_id)
        yield agent


@pytest.fixture(name="servers", scope="module")
def servers_(api: ApiClient, agent: AgentProcess) -> Servers:
    return Servers(api)
