"""A second machine in the network: the house is opened to it, and it takes part over TLS alone.

The network is 127.0.0.2: an address of this machine that nothing of the house listens at until it is opened.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.supervisor.ports import Public
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient, Person
from tests.support.processes import free_port
from tests.support.servers import Servers, online_with_own_ports
from tests.support.waiting import until

THERE = "127.0.0.2"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseForTests]:
    folder = tmp_path_factory.mktemp("house")
    public = Public(THERE, free_port())
    with HouseForTests(folder, "cosmos", "bus", "auth", "host", "front", public=public) as house:
        until(lambda: answers(public.port), "the front listens")
        yield house


@pytest.fixture(scope="module")
def api(house: HouseForTests) -> ApiClient:
    return Person.sign_up(house, "ann").found_organization("Ann's servers")


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((THERE, port)) == 0


def test_only_what_speaks_tls_is_open(house: HouseForTests) -> None:
    ports = house.house.ports
    assert {name for name, port in ports.by_option().items() if answers(port)} == {"bus-tls", "bus-websocket"}


def test_the_line_that_is_told_makes_a_machine_over_there_a_node_that_runs_a_game(
    house: HouseForTests, api: ApiClient, tmp_path: Path
) -> None:
    told = shlex.split(api.post("/v1/enrolment-tokens", {"note": "attic"}).json()["command"])
    assert told[:4] == ["meridian-agent", "enroll", "--api-url", house.house.public_url]
    authority = house.folder / "front" / "ca.pem"
    agent = AgentProcess(house, tmp_path / "attic", api_url=house.house.public_url, ca_file=str(authority))
    stranger = AgentProcess(house, tmp_path / "stranger", api_url=house.house.public_url)
    refused = stranger.run(*told[1:], "--name", "stranger")
    assert (refused.returncode, "certificate" in refused.stderr.lower()) == (1, True), refused.stderr
    done = agent.run(*told[1:], "--name", "attic")
    assert done.returncode == 0, done.stderr
    with agent:
        online_with_own_ports(api, agent.node_id)
        assert f"connected to {THERE}" in agent.output()
        server = Servers(api).ready("over-there")
        assert (server["status"], server["node_id"]) == ("running", agent.node_id)
