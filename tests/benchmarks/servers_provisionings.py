"""How many servers a second are provisioned with a hundred agents on the line, and what each part of the house pays."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.harness import Bench, bench
from tests.benchmarks.machine import cpu_seconds
from tests.support.house import HouseForTests
from tests.support.people import ApiClient, Person
from tests.support.processes import ROOT
from tests.support.waiting import until

AGENTS = 100
SERVERS = 200
CALLERS = 8
PARTS = ("cosmos", "bus", "auth", "host")


@contextmanager
def crowd(house: HouseForTests, api: ApiClient, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A hundred agents in one process, enrolled and on the line (see `tests.support.crowd`)."""
    tokens = [api.post("/v1/enrolment-tokens", {}).json()["token"] for _ in range(AGENTS)]
    command = [sys.executable, "-m", "tests.support.crowd", str(folder / "crowd"), house.api]
    with (
        (folder / "crowd.log").open("w") as log,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(tokens) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "up\n", (folder / "crowd.log").read_text()[-4000:]
            yield process
        finally:
            process.kill()


@bench("servers-provisionings")
def servers_provisionings(run: Bench) -> None:
    """Provisionings a second with 100 agents over the real protocol (their games alone are not started), and their price."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"MERIDIAN_RATE_LIMITS": "false"}
        with HouseForTests(folder / "house", *PARTS, settings=settings) as house:
            api = Person.sign_up(house, "ann").found_organization("Bench")
            began = time.perf_counter()
            with crowd(house, api, folder) as agents:
                run.figure("agents enrolled and on the line", round(AGENTS / (time.perf_counter() - began), 1), "/s")
                until(lambda: all(node["presence"] == "online" for node in nodes(api)), "all nodes are online", 120)
                _measure(run, house, api, agents)


def nodes(api: ApiClient) -> list[dict[str, Any]]:
    """Every node of the organization."""
    return _all(api, "/v1/nodes?limit=100")


def _all(api: ApiClient, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    following: str | None = path
    while following:
        page = api.get(following).json()
        found += page["items"]
        following = page["next"]
    return found


def _measure(run: Bench, house: HouseForTests, api: ApiClient, agents: subprocess.Popen[str]) -> None:
    parts = {name: part.process.pid for name, part in house.parts.items() if part.process and name in PARTS}
    parts["agents"] = agents.pid
    # One that is not counted: what is imported and connected at first use is there then.
    _provision(api, "warm", 1)
    before = {name: cpu_seconds([pid]) for name, pid in parts.items()}
    tasks = _provision(api, "s", SERVERS)
    spent = {name: cpu_seconds([pid]) - before[name] for name, pid in parts.items()}
    _tell(run, tasks, spent)
    _check(api, agents)


def _provision(api: ApiClient, name: str, count: int) -> list[dict[str, Any]]:
    """Ask for so many servers, several callers at a time, and wait until the last one is ready; their tasks."""

    def one(number: int) -> str:
        body = {"name": f"{name}-{number}", "template": "echo", "strategy": "spread"}
        reply = api.post("/v1/servers", body)
        assert reply.status_code == 202, reply.text
        return str(reply.headers["Location"])

    with ThreadPoolExecutor(CALLERS) as pool:
        places = list(pool.map(one, range(count)))
    tasks = [_ended(api, place) for place in places]
    failed = [task for task in tasks if task["state"] != "succeeded"]
    assert not failed, failed[0]
    return tasks


def _ended(api: ApiClient, place: str) -> dict[str, Any]:
    """The task when it is over. Asked seldom: the callers' questions are not what is measured."""
    deadline = time.monotonic() + 120
    while True:
        task: dict[str, Any] = api.get(place).json()
        if task["ended_at"] is not None:
            return task
        assert time.monotonic() < deadline, task
        time.sleep(0.5)


def _tell(run: Bench, tasks: list[dict[str, Any]], spent: dict[str, float]) -> None:
    began = [datetime.fromisoformat(task["created_at"]) for task in tasks]
    ended = [datetime.fromisoformat(task["ended_at"]) for task in tasks]
    took = [(end - begin).total_seconds() for begin, end in zip(began, ended, strict=True)]
    seconds = (max(ended) - min(began)).total_seconds()
    run.figure("provisionings", round(len(tasks) / seconds, 1), "/s")
    run.figure("from the request to ready, p50", round(statistics.median(took), 2), "s")
    run.figure("from the request to ready, the last", round(max(took), 2), "s")
    for name, cpu in spent.items():
        run.figure(f"CPU of a provisioning: {name}", round(cpu / len(tasks) * 1000, 1), "ms")
    run.figure("CPU of a provisioning: together", round(sum(spent.values()) / len(tasks) * 1000, 1), "ms")


def _check(api: ApiClient, agents: subprocess.Popen[str]) -> None:
    """What is reserved is what runs, and no port of a node is held twice."""
    assert agents.stdin is not None
    assert agents.stdout is not None
    agents.stdin.write("end\n")
    agents.stdin.flush()
    runs: dict[str, dict[str, list[str]]] = json.loads(agents.stdout.readline())
    listed: dict[str, set[str]] = {node_id: set() for node_id in runs}
    for server in _all(api, "/v1/servers?limit=100"):
        listed[server["node_id"]].add(server["id"])
    assert listed == {node_id: set(games) for node_id, games in runs.items()}
    for node_id, games in runs.items():
        held = api.get(f"/v1/nodes/{node_id}/capacity").json()
        ports = Counter(port for bound in games.values() for port in bound)
        assert not ports or max(ports.values()) == 1, (node_id, ports)
        reserved = Counter(_port(key) for key in held["ports_held"])
        assert reserved == ports, (node_id, reserved, ports)
        assert held["servers"] == len(games), (node_id, held, games)


def _port(key: str) -> str:
    """`tcp/25565` of `tcp/0.0.0.0:25565`, as the ledger names it."""
    return f"{key.partition('/')[0]}/{key.rpartition(':')[2]}"
