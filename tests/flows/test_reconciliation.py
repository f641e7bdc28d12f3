"""Nodes that have something else than is desired are put right by themselves: commands lost, disks set back, orphans."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from azure.servicebus import ServiceBusClient

from shared.composition import Services
from shared.nodes.models import queue_of
from shared.platform.ids import OrgId
from shared.platform.settings import load_settings
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient
from tests.support.server_house import agent_, api_, servers_  # noqa: F401  # fixtures
from tests.support.servers import Servers, online_with_own_ports
from tests.support.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseForTests]:
    settings = {"MERIDIAN_RATE_LIMITS": "false", "MERIDIAN_COMPARE_PAUSE_SECONDS": "1"}
    with HouseForTests(tmp_path_factory.mktemp("house"), "cosmos", "bus", "auth", "host", settings=settings) as house:
        yield house


def dead_letter(house: HouseForTests, node_id: str, count: int = 1) -> None:
    """What happens to a command that nobody can take: here by hand, while the node is away."""
    taken = 0
    with (
        ServiceBusClient.from_connection_string(house.settings()["ServiceBusConnection"]) as client,
        client.get_queue_receiver(queue_of(node_id)) as receiver,
    ):
        while taken < count:
            for message in receiver.receive_messages(count - taken, max_wait_time=10):
                receiver.dead_letter_message(message, reason="poison")
                taken += 1


def reconciled(api: ApiClient, server_id: str) -> dict[str, Any]:
    """The reconciliation of a server, when it has ended. Somebody looks at the node, so it beats often."""

    def ended() -> Any:
        for node in api.get("/v1/nodes").json()["items"]:
            api.get(f"/v1/nodes/{node['id']}/health")
        found = api.get(f"/v1/tasks?target={server_id}&kind=server.reconcile").json()["items"]
        return found[0] if found and found[0]["ended_at"] else None

    task: dict[str, Any] = until(ended, f"{server_id} is reconciled", 240)
    assert task["state"] == "succeeded", task
    assert task["by"] == "system"
    return task


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def held(api: ApiClient, agent: AgentProcess) -> int:
    return int(api.get(f"/v1/nodes/{agent.node_id}/capacity").json()["servers"])


def trail(api: ApiClient, action: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(f"/v1/audit?action={action}").json()["items"]
    return found


def test_the_agents_database_is_gone(servers: Servers, api: ApiClient, agent: AgentProcess) -> None:
    runs, stopped, fell = (servers.ready(name) for name in ("runs", "stopped", "fell"))
    servers.done(stopped["id"], "stop")
    servers.done(runs["id"], "restart")
    pid = servers.get(runs["id"])["observed"]["pid"]
    agent.kill()
    os.kill(fell["observed"]["pid"], signal.SIGKILL)
    for path in agent.folder.glob("agent.db*"):
        path.unlink()
    agent.log.write_text("")
    agent.start()
    for each in (runs, stopped, fell):
        reconciled(api, each["id"])
    again = servers.status(runs["id"], "running")
    assert again["observed"]["pid"] == pid, "the game that went on running was taken over, not started beside itself"
    assert servers.get(stopped["id"])["status"] == "stopped"
    assert servers.status(fell["id"], "running")["observed"]["pid"] != fell["observed"]["pid"]
    assert {entry["target"]["id"] for entry in trail(api, "server.reconciled")} >= {runs["id"], fell["id"]}
    assert servers.done(runs["id"], "stop")["status"] == "stopped"
    assert not alive(pid)


def test_a_command_that_became_a_dead_letter(
    house: HouseForTests, servers: Servers, api: ApiClient, agent: AgentProcess
) -> None:
    server = servers.ready("told-in-vain")
    agent.kill()
    task = servers.act(server["id"], "stop")
    dead_letter(house, agent.node_id)
    agent.log.write_text("")
    agent.start()
    time.sleep(3)
    assert servers.get(server["id"])["status"] == "running", "nobody told it"
    assert api.get(f"/v1/tasks?target={server['id']}&kind=server.reconcile").json()["items"] == [], "one is under way"
    assert api.post(f"/v1/tasks/{task}/cancel").status_code == 202
    assert servers.task(task)["state"] == "cancelled"
    found = reconciled(api, server["id"])
    assert servers.status(server["id"], "stopped")
    assert not alive(server["observed"]["pid"])
    assert found["steps"][0]["name"] == "stop"


async def test_an_orphan_whose_node_is_back(
    house: HouseForTests, servers: Servers, api: ApiClient, agent: AgentProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers.ready("orphan")
    before = held(api, agent)
    agent.kill()
    removed = api.change("DELETE", f"/v1/servers/{server['id']}").json()["task_id"]
    dead_letter(house, agent.node_id)
    for name, value in house.settings().items():
        monkeypatch.setenv(name, value)
    services = Services(load_settings())
    try:  # half an hour passes: what the flow's last activity does
        await services.operations.expire(OrgId(str(api.organization)), removed)
        assert servers.task(removed)["state"] == "timed_out"
        assert api.get(f"/v1/servers/{server['id']}").status_code == 404
        assert held(api, agent) == before, "it goes on holding what it has"
    finally:
        await services.close()
    agent.log.write_text("")
    agent.start()
    reconciled(api, server["id"])
    assert not alive(server["observed"]["pid"])
    assert not (agent.folder / "servers" / server["id"]).exists()
    assert held(api, agent) == before - 1


def test_what_was_placed_elsewhere_is_cleaned_away_though_nobody_told_its_first_node(
    house: HouseForTests, servers: Servers, api: ApiClient, agent: AgentProcess, tmp_path: Path
) -> None:
    path, port_held = f"/v1/nodes/{agent.node_id}", socket.socket()
    usual = {name: api.get(path).json()[name] for name in ("port_ranges", "overcommit_memory")}
    with AgentProcess.enrolled(house, api, tmp_path, name="cellar") as other, port_held as foreign:
        online_with_own_ports(api, other.node_id)
        foreign.bind(("0.0.0.0", 0))
        foreign.listen()
        port = foreign.getsockname()[1]
        tight = {"port_ranges": [{"first": port, "last": port}], "overcommit_memory": 0.5}  # it is taken first
        assert api.change("PATCH", path, tight).status_code == 200
        made = servers.create("leaves")
        task = f"/v1/tasks/{made['task_id']}"
        until(lambda: api.get(task).json()["attempt"] == 2, "its first node has met the port")
        agent.kill()
        assert servers.task(made["task_id"])["state"] == "succeeded"
        left = agent.folder / "servers" / made["server_id"]
        assert left.is_dir()
        dead_letter(house, agent.node_id)
        before = servers.status(made["server_id"], "running")
        assert before["node_id"] == other.node_id
        agent.log.write_text("")
        agent.start()
        found = reconciled(api, made["server_id"])
        assert found["node_id"] == agent.node_id
        assert not left.exists()
        after = servers.get(made["server_id"])
        kept = ("status", "revision", "node_id", "ports")
        assert [after[name] for name in kept] == [before[name] for name in kept]
        assert after["observed"]["pid"] == before["observed"]["pid"]
        assert alive(after["observed"]["pid"])
        servers.done(made["server_id"], "stop")
        removal = api.change("DELETE", f"/v1/servers/{made['server_id']}").json()["task_id"]
        assert servers.task(removal)["state"] == "succeeded"
    assert api.change("PATCH", path, usual).status_code == 200


def test_a_disk_that_was_set_back_brings_no_deleted_server_back(
    servers: Servers, api: ApiClient, agent: AgentProcess, tmp_path: Path
) -> None:
    server = servers.ready("revenant")
    before = held(api, agent)
    agent.kill()
    shutil.copytree(agent.folder, tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns("stdin"))
    agent.log.write_text("")
    agent.start()
    task = api.change("DELETE", f"/v1/servers/{server['id']}").json()["task_id"]
    assert servers.task(task)["state"] == "succeeded"
    time.sleep(2)  # its beat tells that the server is gone: else only the look of each few hours finds what comes now
    agent.kill()
    for path in agent.folder.glob("agent.db*"):
        path.unlink()
    for path in (tmp_path / "copy").glob("agent.db*"):
        shutil.copy2(path, agent.folder)
    place = agent.folder / "servers" / server["id"]
    shutil.copytree(tmp_path / "copy" / "servers" / server["id"], place)
    agent.log.write_text("")
    agent.start()
    reconciled(api, server["id"])
    until(lambda: not place.exists(), "it is cleaned away again")
    assert held(api, agent) == before - 1


def test_what_nobody_remembers_is_told_of_and_left_alone(servers: Servers, api: ApiClient, agent: AgentProcess) -> None:
    assert servers.api is api
    stranger = "srv_01J0000000000000000000STRN"
    place = agent.folder / "servers" / stranger
    agent.kill()
    place.mkdir()
    (place / "world").write_text("years of work")
    agent.log.write_text("")
    agent.start()

    def told() -> Any:
        api.get(f"/v1/nodes/{agent.node_id}/health")
        return trail(api, "node.stranger_found")

    (entry,) = until(told, "the trail tells", 120)
    assert entry["after"]["server"] == stranger
    time.sleep(2)
    assert (place / "world").read_text() == "years of work"
    assert api.get(f"/v1/tasks?target={stranger}").json()["items"] == []
    shutil.rmtree(place)


def test_a_new_disk_under_an_old_node(servers: Servers, api: ApiClient, agent: AgentProcess) -> None:
    server = servers.ready("homeless")
    node_id = agent.node_id
    agent.kill()
    os.kill(server["observed"]["pid"], signal.SIGKILL)
    shutil.rmtree(agent.folder)
    made = api.post("/v1/enrolment-tokens", {"node_id": node_id}).json()
    done = agent.run("enroll", "--token", made["token"], "--root-sha256", made["root_sha256"])
    assert done.returncode == 0, done.stderr
    agent.log.write_text("")
    agent.start()
    found = reconciled(api, server["id"])
    assert [step["name"] for step in found["steps"]][:2] == ["prepare", "install"], "nothing of it was there"
    again = servers.status(server["id"], "running")
    assert again["ports"] == server["ports"]
