"""A hundred people press the button at once, and there is room for sixty: ten real agents, the real API and store."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import psutil
import pytest

from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient
from tests.support.server_house import api_, house_  # noqa: F401  # fixtures
from tests.support.servers import Servers, is_free
from tests.support.waiting import until

NODES, ROOM, ASKED, MEMORY_MIB = 10, 6, 100, 64
PORTS = ROOM + 2  # so few that two who chose without looking at each other would soon choose the same
PATIENCE_SECONDS = 240


@pytest.fixture(scope="module")
def nodes(
    house: HouseForTests, api: ApiClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, AgentProcess]]:
    """Ten nodes with room for six servers each; all are this machine, so each has ports of its own."""
    folder = tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        found = {}
        for number in range(NODES):
            agent = AgentProcess.enrolled(house, api, folder, name=f"node-{number}")
            found[agent.node_id] = stack.enter_context(agent)
        for node_id, first in zip(found, port_ranges(), strict=True):
            path = f"/v1/nodes/{node_id}"
            until(partial(online, api, path), "the node is online")
            has = api.get(f"{path}/capacity").json()["has"]["memory_mib"]
            room = {"reserve_memory_mib": has - ROOM * MEMORY_MIB - 10, "overcommit_cpu": 20}
            ports = {"port_ranges": [{"first": first, "last": first + PORTS - 1}]}
            changed = api.change("PATCH", path, room | ports)
            assert changed.status_code == 200, changed.text
        yield found


def online(api: ApiClient, path: str) -> bool:
    return bool(api.get(path).json()["presence"] == "online")


def port_ranges() -> list[int]:
    """Where each node's ports begin: free now, apart from each other."""
    firsts = [first for first in range(24_000, 30_000, 10) if all(map(is_free, range(first, first + PORTS)))]
    return sorted(random.sample(firsts, NODES))


def ask(api: ApiClient, number: int, gate: threading.Barrier) -> Any:
    own = ApiClient(api.base, api.credential, api.organization)
    body = {"name": f"rush-{number}", "template": "echo", "labels": {"event": "rush"}}
    gate.wait(60)
    reply = own.post("/v1/servers", body)
    own.close()
    return reply


def everything(api: ApiClient, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while path:
        page = api.get(path).json()
        found += page["items"]
        path = page.get("next") or ""
    return found


def held(api: ApiClient, nodes: dict[str, AgentProcess]) -> dict[str, dict[str, Any]]:
    return {node_id: api.get(f"/v1/nodes/{node_id}/capacity").json() for node_id in nodes}


def games() -> dict[int, int]:
    """What runs on this machine, seen by its processes: pid and port of every echo game."""
    found = {}
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if "echo.py" in words and process.info["status"] != psutil.STATUS_ZOMBIE:
            found[process.pid] = int(words[-1])
    return found


def test_sixty_are_placed_and_run_forty_are_told_why_and_all_room_comes_back(
    api: ApiClient, nodes: dict[str, AgentProcess]
) -> None:
    gate = threading.Barrier(ASKED)
    with ThreadPoolExecutor(ASKED) as pool:
        replies = list(pool.map(lambda number: ask(api, number, gate), range(ASKED)))
    codes = Counter((reply.status_code, reply.json().get("code")) for reply in replies)
    assert codes == {(202, None): 60, (409, "no_room"): 40}
    for refused in (reply.json() for reply in replies if reply.status_code == 409):
        assert len({error["field"] for error in refused["errors"]}) == NODES, "each node has its reason"
        assert all("short of memory by" in error["message"] for error in refused["errors"])

    servers = Servers(api)
    placed = [reply.json() for reply in replies if reply.status_code == 202]
    for each in placed:
        task = servers.task(each["task_id"], PATIENCE_SECONDS)
        assert task["state"] == "succeeded", task

    kept = everything(api, "/v1/servers?limit=50")
    assert {server["id"] for server in kept} == {each["server_id"] for each in placed}
    assert Counter(server["status"] for server in kept) == {"running": 60}
    assert Counter(server["node_id"] for server in kept) == dict.fromkeys(nodes, ROOM)
    ports = {server["observed"]["pid"]: server["ports"]["game"] for server in kept}
    assert len(ports) == len(set(ports.values())) == 60, "no port twice"
    running = games()
    assert {pid: port for pid, port in running.items() if pid in ports} == ports, "what is told is what runs"
    for node_id, capacity in held(api, nodes).items():
        here = [server for server in kept if server["node_id"] == node_id]
        assert capacity["servers"] == len(here)
        assert capacity["held"]["memory_mib"] == ROOM * MEMORY_MIB
        assert sorted(int(key.rsplit(":", 1)[-1]) for key in capacity["ports_held"]) == sorted(
            server["ports"]["game"] for server in here
        )

    gone = api.post("/v1/servers/actions", {"labels": {"event": "rush"}, "action": "delete"}).json()["items"]
    assert len(gone) == 60
    for item in gone:
        assert servers.task(item["task_id"], PATIENCE_SECONDS)["state"] == "succeeded"
    assert not games().keys() & ports.keys(), "nothing runs on"
    for capacity in held(api, nodes).values():
        assert (capacity["servers"], capacity["held"]["memory_mib"], capacity["ports_held"]) == (0, 0, [])
