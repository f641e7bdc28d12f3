"""Fifty games at one agent for twenty minutes, people at work on them all the time: memory must not grow."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus.management import ServiceBusAdministrationClient

from shared.nodes.models import queue_of
from tests.support.footprints import Footprints
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient, Person
from tests.support.servers import Servers, online_with_own_ports

pytestmark = pytest.mark.soak
GAMES = int(os.environ.get("SOAK_GAMES", "50"))
MINUTES = float(os.environ.get("SOAK_MINUTES", "20"))
SETTLE_MINUTES = MINUTES * 0.4  # consoles' rings fill, tables and allocators find their size
LONGEST = 2.0  # times the minutes that are measured: so long a part may take until its slope is clear
TOKEN_SECONDS = 300.0
SAMPLE_SECONDS = 5.0
#: KiB. The soak asks for as much in a minute as fifty players' servers do in a day (34 restarts, 70 lines): what is kept of
#: each restart would have to be under half a KiB, and what leaks with time alone under 1 MiB an hour.
MOST_KIB_A_MINUTE = 16.0

CRASH_CODE = 3
#: Fills its console's ring at each start, so that what grows later is not the ring.
TALKATIVE = f"""
schema: 1
key: talkative
name: Talkative
game: talkative
ports: [{{name: game, protocol: tcp}}]
resources: {{memory_mib: 64, cpu_millicores: 100, disk_mib: 64}}
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
              os._exit({CRASH_CODE})
start: {{argv: [python3, talkative.py]}}
stop: {{method: command, value: quit, timeout_seconds: 10}}
ready: {{kind: log, pattern: up}}
ready_seconds: 300
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[HouseForTests]:
    folder = tmp_path / "house"
    folder.mkdir()
    with HouseForTests(folder, "cosmos", "bus", "auth", "host", settings={"MERIDIAN_RATE_LIMITS": "false"}) as house:
        yield house


class People:
    """Somebody is always doing something; every task that they get is remembered."""

    def __init__(self, person: Person, api: ApiClient, ids: list[str]) -> None:
        self._person, self._api, self._ids = person, api, ids
        self._since = time.monotonic()
        self.tasks: list[str] = []
        self.lines = 0
        self.crashes = Counter[str]()  # asked for, by server

    @property
    def api(self) -> ApiClient:
        """With a token that has not ended."""
        if time.monotonic() - self._since > TOKEN_SECONDS:
            self._api, self._since = self._person.client(self._api.organization), time.monotonic()
        return self._api

    def act(self, restarts: float = 3) -> None:
        """One thing, to one server; of some fifteen things that many are restarts."""
        chosen = random.choice(self._ids)
        what = random.choices(("line", "read", "restart", "crash"), weights=(6, 6, restarts, 0.3))[0]
        if what == "read":
            assert self.api.get("/v1/servers?limit=50").status_code == 200
            assert self.api.get(f"/v1/servers/{chosen}/console").status_code == 200
        elif what == "restart":
            reply = self.api.post(f"/v1/servers/{chosen}/restart")
            assert reply.status_code in (202, 409), reply.text
            if reply.status_code == 202:
                self.tasks.append(reply.json()["task_id"])
        elif Servers(self.api).get(chosen)["status"] == "running":
            line = "crash" if what == "crash" else f"hello {self.lines}"
            reply = self.api.post(f"/v1/servers/{chosen}/console", {"line": line})
            assert reply.status_code in (202, 409), reply.text
            self.lines += reply.status_code == 202
            self.crashes[chosen] += what == "crash" and reply.status_code == 202

    def settle(self, seconds: float) -> None:
        """Many restarts, so that what has a bound (caches, tables, heaps) has reached it when we begin to measure."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.act(restarts=15)
            time.sleep(random.uniform(0.05, 0.15))

    def act_for(self, seconds: float, footprints: Footprints) -> None:
        """One after the other, with what it costs taken each few seconds."""
        deadline, taken = time.monotonic() + seconds, 0.0
        while time.monotonic() < deadline:
            self.act()
            if time.monotonic() - taken >= SAMPLE_SECONDS:
                footprints.take()
                taken = time.monotonic()
            time.sleep(random.uniform(0.1, 0.5))


def test_fifty_games_for_twenty_minutes(house: HouseForTests, tmp_path: Path) -> None:
    person = Person.sign_up(house, "ann")
    api = person.found_organization("Ann's servers")
    with AgentProcess.enrolled(house, api, tmp_path, "attic") as agent:
        shorten_window(house, agent, SETTLE_MINUTES * 0.6)
        servers = made(api, agent)
        people = People(person, api, servers)
        people.settle(SETTLE_MINUTES * 60)
        footprints = measured(people, house, agent)
        ends = [Servers(people.api).task(task, 180) for task in people.tasks]
        open_commands = unended(agent)
        for server in servers:  # nobody is left behind in the middle of something
            Servers(people.api).status(server, "running", 420)
    tell(people, ends, footprints)
    check_ends(people, ends)
    assert open_commands == 0
    verdicts = {name: (slope.verdict(MOST_KIB_A_MINUTE), slope) for name, slope in footprints.growth.items()}
    wrong = {
        name: f"{verdict}: {slope} KiB a minute" for name, (verdict, slope) in verdicts.items() if verdict != "flat"
    }
    assert not wrong, f"not shown to stay below {MOST_KIB_A_MINUTE:g} KiB a minute: {wrong}"


def made(api: ApiClient, agent: AgentProcess) -> list[str]:
    """The servers, all of them ready."""
    online_with_own_ports(api, agent.node_id, 2 * GAMES + 50)
    reply = api.post("/v1/templates", {"source": TALKATIVE})
    assert reply.status_code == 201, reply.text
    asked = [Servers(api).create(f"game-{number}", reply.json()["id"]) for number in range(GAMES)]
    for each in asked:
        task = Servers(api).task(each["task_id"], 180)
        assert task["state"] == "succeeded", task["failure"]
    return [str(each["server_id"]) for each in asked]


def shorten_window(house: HouseForTests, agent: AgentProcess, minutes: float) -> None:
    """Have the broker forget the ids of the node's messages sooner than after the hour that the product asks for.

    With an hour the window fills all through the soak, and hides what grows besides; with this it is full before we measure,
    and ids are forgotten as they are remembered. An id takes 0.2 KiB (a dictionary's entry and a heap's): the hour's bound at
    the soak's pace of some hundred messages a minute is 1.2 MiB.
    """
    settings = house.settings()
    with ServiceBusAdministrationClient.from_connection_string(
        settings["MERIDIAN_SERVICE_BUS_ADMIN"], connection_verify=settings["MERIDIAN_SERVICE_BUS_CA_FILE"]
    ) as admin:
        queue = admin.get_queue(queue_of(agent.node_id))
        queue.duplicate_detection_history_time_window = timedelta(minutes=minutes)
        admin.update_queue(queue)


def measured(people: People, house: HouseForTests, agent: AgentProcess) -> Footprints:
    """What the parts hold, taken until each one's slope is clear, or the time is over."""
    footprints, minutes = Footprints(house, agent), MINUTES - SETTLE_MINUTES
    people.act_for(minutes * 60, footprints)
    deadline = time.monotonic() + minutes * (LONGEST - 1) * 60
    while time.monotonic() < deadline and any(
        slope.verdict(MOST_KIB_A_MINUTE) == "unclear" for slope in footprints.growth.values()
    ):
        people.act_for(60, footprints)
    return footprints


def tell(people: People, ends: list[dict[str, Any]], footprints: Footprints) -> None:
    """What happened, and every failure with its reason."""
    states = dict(Counter(str(task["state"]) for task in ends))
    print(f"\n{GAMES} games, {len(ends)} tasks ended {states}, {people.lines} lines, {people.crashes.total()} crashes")
    for task in ends:
        if task["state"] != "succeeded":
            print(f"{task['id']} of {task['target']} {task['state']}: {task['failure']}")
    print("\n".join(footprints.lines()))


def check_ends(people: People, ends: list[dict[str, Any]]) -> None:
    """All went well, but for a restart whose game was told to crash while it came up: that fails, and says so."""
    met = Counter[str]()
    for task in ends:
        if task["state"] != "succeeded":
            assert task["failure"]["code"] == "ended_before_ready", task
            assert f"code {CRASH_CODE} " in task["failure"]["reason"], task
            met[task["target"]] += 1
    assert met <= people.crashes, "more failed than crashes were asked for"


def unended(agent: AgentProcess) -> int:
    """Commands in the agent's journal without an outcome."""
    with contextlib.closing(sqlite3.connect(agent.folder / "agent.db")) as journal:
        return int(journal.execute("SELECT COUNT(*) FROM commands WHERE outcome IS NULL").fetchone()[0])
