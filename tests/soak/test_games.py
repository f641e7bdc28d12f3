"""Fifty games at one agent for twenty minutes, people at work on them all the time: memory must not grow."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.benchmarks.machine import children_of, cpu_seconds, private_bytes
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient, Person
from tests.support.servers import Servers, online_with_own_ports
from tests.support.slopes import slope_of

pytestmark = pytest.mark.soak
GAMES = int(os.environ.get("SOAK_GAMES", "50"))
MINUTES = float(os.environ.get("SOAK_MINUTES", "20"))
SETTLE_MINUTES = MINUTES * 0.4  # consoles' rings fill, allocators find their size
TOKEN_SECONDS = 300.0
SAMPLE_SECONDS = 5.0
#: What would be noticed within days: 64 KiB a minute are 90 MiB a day. A database's own growth is left out: until its page
#: cache is full (that has a bound) a part may grow as its file does.
MOST_KIB_A_MINUTE = 64.0


#: Fills its console's ring at each start, so that what grows later is not the ring.
TALKATIVE = """
schema: 1
key: talkative
name: Talkative
game: talkative
ports: [{name: game, protocol: tcp}]
resources: {memory_mib: 64, cpu_millicores: 100, disk_mib: 64}
install:
  - kind: write
    path: talkative.py
    content: |
      import os, sys
      for number in range(1000):
          print("line", number, "of what games say when they start", flush=number % 100 == 99)
      print("up", flush=True)
      for line in sys.stdin:
          word = line.strip()
          if word == "quit":
              break
          print("you said", word, flush=True)
          if word == "crash":
              os._exit(3)
start: {argv: [python3, talkative.py]}
stop: {method: command, value: quit, timeout_seconds: 10}
ready: {kind: log, pattern: up}
ready_seconds: 30
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[HouseForTests]:
    folder = tmp_path / "house"
    folder.mkdir()
    with HouseForTests(folder, "cosmos", "bus", "auth", "host", settings={"MERIDIAN_RATE_LIMITS": "false"}) as house:
        yield house


class Watcher:
    """Takes the memory of every part, games left out, and their CPU over the whole time."""

    def __init__(self, house: HouseForTests, agent: AgentProcess) -> None:
        assert agent.process is not None
        self._pids = {name: children_of(part.process.pid) for name, part in house.parts.items() if _lives(part)}
        self._pids["agent"] = [agent.process.pid]
        places = {"bus": house.folder / "servicebus", "agent": agent.folder}
        self._folders = {name: places.get(name, house.folder / name) for name in self._pids}
        self.memory: dict[str, list[tuple[float, float]]] = {name: [] for name in self._pids}
        self.beyond: dict[str, list[tuple[float, float]]] = {name: [] for name in self._pids}  # what is stored
        self._began = time.monotonic()
        self._cpu = {name: cpu_seconds(pids) for name, pids in self._pids.items()}

    def sample(self) -> None:
        at = time.monotonic() - self._began
        for name, pids in self._pids.items():
            used = sum(map(private_bytes, pids)) / 1024
            self.memory[name].append((at, used))
            stored = (
                0.0 if name == "agent" else _stored_kib(self._folders[name])
            )  # it caches a quarter of a MiB at most
            self.beyond[name].append((at, used - stored))

    def lines(self) -> list[str]:
        minutes = (time.monotonic() - self._began) / 60
        return [
            f"{name:8} {kept[-1][1] / 1024:7.1f} MiB, {slope_of(kept)} KiB a minute, beyond what it stores"
            f" {slope_of(self.beyond[name])},"
            f" {(cpu_seconds(self._pids[name]) - self._cpu[name]) / minutes * 1000:.0f} ms of CPU a minute"
            for name, kept in self.memory.items()
        ]


def _stored_kib(folder: Path) -> float:
    """The size of the databases in a folder."""
    found = [path for suffix in ("db", "sqlite", "sqlite3") for path in folder.rglob(f"*.{suffix}")]
    return sum(path.stat().st_size for path in found) / 1024


def _lives(part: object) -> bool:
    process = getattr(part, "process", None)
    return process is not None and process.poll() is None


class People:
    """Somebody is always doing something; every task that they get is remembered."""

    def __init__(self, person: Person, api: ApiClient, ids: list[str]) -> None:
        self._person, self.api, self._ids = person, api, ids
        self._since = time.monotonic()
        self.tasks: list[str] = []
        self.lines = 0

    def act(self) -> None:
        if time.monotonic() - self._since > TOKEN_SECONDS:
            self.api, self._since = self._person.client(self.api.organization), time.monotonic()
        servers, chosen = Servers(self.api), random.choice(self._ids)
        what = random.choices(("line", "read", "restart", "crash"), weights=(6, 6, 3, 0.3))[0]
        if what == "read":
            assert self.api.get("/v1/servers?limit=50").status_code == 200
            assert self.api.get(f"/v1/servers/{chosen}/console").status_code == 200
        elif what == "restart":
            reply = self.api.post(f"/v1/servers/{chosen}/restart")
            assert reply.status_code in (202, 409), reply.text
            if reply.status_code == 202:
                self.tasks.append(reply.json()["task_id"])
        elif servers.get(chosen)["status"] == "running":
            line = "crash" if what == "crash" else f"hello {self.lines}"
            reply = self.api.post(f"/v1/servers/{chosen}/console", {"line": line})
            assert reply.status_code in (202, 409), reply.text
            self.lines += reply.status_code == 202


def test_fifty_games_for_twenty_minutes(house: HouseForTests, tmp_path: Path) -> None:
    person = Person.sign_up(house, "ann")
    api = person.found_organization("Ann's servers")
    with AgentProcess.enrolled(house, api, tmp_path, "attic") as agent:
        online_with_own_ports(api, agent.node_id)
        assert (
            api.change(
                "PATCH", f"/v1/nodes/{agent.node_id}", {"port_ranges": [{"first": 24_000, "last": 24_999}]}
            ).status_code
            == 200
        )
        reply = api.post("/v1/templates", {"source": TALKATIVE})
        assert reply.status_code == 201, reply.text
        made = [Servers(api).create(f"game-{number}", reply.json()["id"]) for number in range(GAMES)]
        for each in made:
            assert Servers(api).task(each["task_id"], 180)["state"] == "succeeded"
        people = People(person, api, [each["server_id"] for each in made])
        work_for(people, SETTLE_MINUTES * 60, None)
        watcher = Watcher(house, agent)
        work_for(people, (MINUTES - SETTLE_MINUTES) * 60, watcher)
        lines = watcher.lines()
        ends = ends_of(people)
        open_commands = unended(agent)
        for each in made:  # nobody is left behind in the middle of something
            Servers(people.api).status(each["server_id"], "running", 420)
    print(
        f"\n{GAMES} games, {MINUTES:g} min, {len(people.tasks)} tasks ended {dict(ends)}, {people.lines} lines written"
    )
    print("\n".join(lines))
    assert set(ends) <= {"succeeded", "failed"}, ends
    assert ends["failed"] <= len(people.tasks) / 20, "a restart that met a crash"
    assert open_commands == 0
    for name, kept in watcher.beyond.items():
        assert slope_of(kept).low < MOST_KIB_A_MINUTE, f"{name} grows by {slope_of(kept)} KiB a minute"


def work_for(people: People, seconds: float, watcher: Watcher | None) -> None:
    deadline, sampled = time.monotonic() + seconds, 0.0
    while time.monotonic() < deadline:
        people.act()
        if watcher is not None and time.monotonic() - sampled >= SAMPLE_SECONDS:
            watcher.sample()
            sampled = time.monotonic()
        time.sleep(random.uniform(0.1, 0.5))


def ends_of(people: People) -> Counter[str]:
    """How the tasks ended, all of them."""
    return Counter(Servers(people.api).task(task, 180)["state"] for task in people.tasks)


def unended(agent: AgentProcess) -> int:
    """Commands in the agent's journal without an outcome."""
    with contextlib.closing(sqlite3.connect(agent.folder / "agent.db")) as journal:
        return int(journal.execute("SELECT COUNT(*) FROM commands WHERE outcome IS NULL").fetchone()[0])
