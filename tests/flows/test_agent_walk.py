"""The whole way, with real parts: a machine enrols at the real API, gets its session, a signed command and reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient, Person
from tests.support.waiting import until


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseForTests]:
    with HouseForTests(tmp_path_factory.mktemp("house"), "cosmos", "bus", "auth", "host") as house:
        yield house


@pytest.fixture(scope="module")
def api(house: HouseForTests) -> ApiClient:
    return Person.sign_up(house, "ann").found_organization("Ann's servers")


@pytest.fixture(scope="module")
def agent(house: HouseForTests, api: ApiClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    with AgentProcess.enrolled(house, api, tmp_path_factory.mktemp("agent"), name="attic") as agent:
        yield agent


def test_it_is_online_with_what_the_machine_has(api: ApiClient, agent: AgentProcess) -> None:
    def online() -> bool:
        return bool(api.get(f"/v1/nodes/{agent.node_id}").json()["presence"] == "online")

    until(online, "the node is online")
    inventory = api.get(f"/v1/nodes/{agent.node_id}/inventory").json()
    assert inventory["hardware"]["memory_mib"] > 100

    def told() -> Any:
        found = api.get(f"/v1/nodes/{agent.node_id}/health").json()
        return found if found["observed"] and found["observed"]["link"] == "up" else None

    health = until(told, "a line that came up is told at once", seconds=30)
    assert health["status"] in ("healthy", "degraded"), health
    said = health["observed"]
    assert said["memory_used_mib"] > 100
    assert 0 < said["disks"][0]["free_mib"] <= said["disks"][0]["size_mib"]
    assert said["disks"][0]["free_mib"] == said["disk_free_mib"]
    assert min(said["cpu_percent"], said["received_kib_s"], said["sent_kib_s"]) >= 0
    assert abs(said["clock_skew_seconds"]) < 30
    listed = api.get("/v1/nodes?name=attic").json()["items"]
    assert [node["id"] for node in listed] == [agent.node_id]


@pytest.mark.parametrize("command", ["node.ping", "node.inventory"])
def test_a_command_goes_through_a_durable_orchestration_and_its_report_comes_back(
    api: ApiClient, agent: AgentProcess, command: str
) -> None:
    reply = api.post(f"/v1/nodes/{agent.node_id}/commands", {"type": command})
    assert reply.status_code == 202, reply.text

    def ended() -> Any:
        found = api.get(reply.headers["Location"]).json()
        return found if found["state"] != "sent" else None

    found = until(ended, "the command has ended")
    assert found["state"] == "succeeded", found
    assert found["outcome"]["result"]


def test_the_token_is_spent(house: HouseForTests, api: ApiClient, agent: AgentProcess, tmp_path: Path) -> None:
    second = AgentProcess(house, tmp_path / "second")
    failed = second.run("enroll", "--token", agent.token)
    assert failed.returncode == 1
    assert "enrolment_refused" in failed.stderr
    states = [one["state"] for one in api.get("/v1/enrolment-tokens").json()["items"]]
    assert states == ["used"]
