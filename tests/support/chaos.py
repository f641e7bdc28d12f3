"""Twenty agents at work, each a process with a game; things that die; and what must hold when all is quiet again."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import requests

from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient, Person
from tests.support.waiting import until

TOKEN_SECONDS = 300.0
PEOPLE = 4
PORTS_EACH = 5
#: A task whose flow was never begun is begun by a sweep, which comes each five minutes (sooner to a process that has just
#: begun), when it is a minute old.
LEFT_BEHIND_SECONDS = 540.0


class Crowd:
    """The agents, the person who owns them, and everything that was asked of them."""

    def __init__(self, house: HouseForTests, folder: Path, count: int) -> None:
        self.house = house
        self._person = Person.sign_up(house, "ann")
        self._api = self._person.found_organization("Ann's servers")
        self._token_at = time.monotonic()
        self._lock = threading.Lock()
        self.agents: list[AgentProcess] = []
        self.games: dict[str, str] = {}  # server to node
        try:
            self._begin(folder, count)
        except BaseException:
            self.close()
            raise

    def _begin(self, folder: Path, count: int) -> None:
        with ThreadPoolExecutor(4) as pool:
            for agent in pool.map(lambda number: self._join(folder, number), range(count)):
                self.agents.append(agent)
        first = _free_range(PORTS_EACH * count)
        for number, agent in enumerate(self.agents):
            path, begin = f"/v1/nodes/{agent.node_id}", first + number * PORTS_EACH
            until(lambda path=path: self.api.get(path).json()["presence"] == "online", "the node is online")
            ranges = [{"first": begin, "last": begin + PORTS_EACH - 1}]
            changed = self.api.change("PATCH", path, {"port_ranges": ranges, "overcommit_cpu": 20})
            assert changed.status_code == 200, changed.text
        for number, agent in enumerate(self.agents):
            body = {"name": f"game-{number}", "template": "echo", "node_id": agent.node_id}
            made = until(lambda body=body: self._made(body), f"there is room for {body}")  # on a slow day one is silent
            self.games[made] = agent.node_id
        self.settled()

    def _made(self, body: dict[str, Any]) -> str | None:
        reply = self.api.post("/v1/servers", body)
        assert reply.status_code in (202, 409), reply.text
        return str(reply.json()["server_id"]) if reply.status_code == 202 else None

    def _join(self, folder: Path, number: int) -> AgentProcess:
        agent = AgentProcess.enrolled(self.house, self.api, folder, f"agent-{number}")
        try:
            return agent.start()
        except BaseException:
            agent.__exit__()
            raise

    @property
    def api(self) -> ApiClient:
        """A client whose token holds for a while."""
        with self._lock:
            if time.monotonic() - self._token_at > TOKEN_SECONDS:
                with contextlib.suppress(requests.RequestException, AssertionError):  # nobody is there right now
                    self._api = self._person.client(self._api.organization)
                    self._token_at = time.monotonic()
            return self._api

    def close(self) -> None:
        """End agents and games."""
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda agent: agent.__exit__(), self.agents))

    def restart(self, agent: AgentProcess) -> None:
        """Kill one in the middle of whatever it does, and start it."""
        agent.kill()
        agent.log.write_text("")
        agent.start()

    # ---------------------------------------------------------------- what must hold

    def settled(self) -> None:
        """Wait until nothing is under way: no task, no command, no report that waits."""
        until(lambda: self._active() == 0, "every task has ended", LEFT_BEHIND_SECONDS)

    def _active(self) -> int:
        with contextlib.suppress(requests.RequestException):
            reply = self.api.get("/v1/tasks?active=true&limit=100")
            if reply.status_code == 200:
                return len(reply.json()["items"])
        return -1

    def check(self, work: Work) -> None:
        """Everything that must hold once all is quiet."""
        self.settled()
        self._check_tasks(work)
        self._check_commands(work)
        for agent in self.agents:
            until(lambda agent=agent: _waiting(agent) == 0, "its reports have left")
            self._check_journal(agent)
        for server_id, node_id in self.games.items():
            self._check_game(server_id)
            held = self.api.get(f"/v1/nodes/{node_id}/capacity").json()
            assert held["servers"] == sum(node == node_id for node in self.games.values()), held

    def _check_tasks(self, work: Work) -> None:
        """Those that were promised, and those of which the answer was lost."""
        found: dict[str, Any] = {}
        path: str | None = "/v1/tasks?limit=100"
        while path is not None:
            page = self.api.get(path).json()
            found |= {task["id"]: task for task in page["items"]}
            path = page["next"]
        assert set(work.tasks) <= found.keys()
        for task in found.values():
            # Cancelled, or of an older revision: two requests met at the agent, and the newer one won.
            won = task["state"] in ("succeeded", "cancelled")
            assert won or task["failure"]["code"] in ("stale_revision", "ended_before_ready"), task

    def _check_commands(self, work: Work) -> None:
        for place in work.commands:
            found = until(lambda place=place: self._ended(place), f"{place} has ended", 180)
            assert found["state"] in ("succeeded", "timed_out", "rejected"), found
            work.ends[found["state"]] += 1

    def _ended(self, place: str) -> Any:
        found = self.api.get(place).json()
        return found if found["state"] != "sent" else None

    def _check_journal(self, agent: AgentProcess) -> None:
        """Each command has one outcome. That it has one row is the table's key."""
        with contextlib.closing(sqlite3.connect(agent.folder / "agent.db")) as db:
            rows = db.execute("SELECT content, outcome FROM commands").fetchall()
        assert all(outcome is not None for _, outcome in rows)
        steps = Counter(json.loads(content)["id"] for content, _ in rows)
        assert max(steps.values(), default=1) == 1

    def _check_game(self, server_id: str) -> None:
        """What runs is what is desired, once; and what is told is what runs."""

        def agrees() -> bool:
            server = self.api.get(f"/v1/servers/{server_id}").json()
            running = games_of(server_id)
            wanted = 1 if server["desired"]["power"] == "on" else 0
            told = server["status"] == ("running" if wanted else "stopped")
            return len(running) == wanted and told

        with contextlib.suppress(AssertionError):
            until(agrees, "told, desired and running agree", 60)
            return
        server = self.api.get(f"/v1/servers/{server_id}").json()
        raise AssertionError(f"{len(games_of(server_id))} processes of {server_id}: {json.dumps(server)[:2000]}")


class Work:
    """Four people ask for things all the time, until the block ends. What was answered with 202 is kept."""

    def __init__(self, crowd: Crowd, chance: random.Random) -> None:
        self._crowd = crowd
        self.tasks: list[str] = []
        self.commands: list[str] = []
        self.refused: Counter[int] = Counter()
        self.ends: Counter[str] = Counter()
        self._over = threading.Event()
        seeds = [chance.random() for _ in range(PEOPLE)]
        self._threads = [threading.Thread(target=self._ask, args=(random.Random(seed),)) for seed in seeds]

    def __enter__(self) -> Work:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(120)

    def _ask(self, chance: random.Random) -> None:
        games = list(self._crowd.games)
        while not self._over.wait(chance.uniform(0.1, 0.8)):
            with contextlib.suppress(requests.RequestException):  # nobody there: nothing was promised
                if chance.random() < 0.5:
                    node = chance.choice(self._crowd.agents).node_id
                    self._note(self._crowd.api.post(f"/v1/nodes/{node}/commands", {"type": "node.ping"}))
                else:
                    action = chance.choice(("start", "stop", "restart", "kill"))
                    self._note(self._crowd.api.post(f"/v1/servers/{chance.choice(games)}/{action}"))

    def _note(self, reply: requests.Response) -> None:
        if reply.status_code != 202:
            self.refused[reply.status_code] += 1
        elif "/commands/" in reply.headers["Location"]:
            self.commands.append(reply.headers["Location"])
        else:
            self.tasks.append(reply.json()["task_id"])


def games_of(server_id: str) -> list[int]:
    """Its processes, shims left out, found without asking anybody."""
    return [process.pid for process in _of_games() if process.environ().get("MERIDIAN_SERVER_ID") == server_id]


def _of_games() -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            if process.name() != "sh" and process.status() != psutil.STATUS_ZOMBIE:
                process.environ()
                yield process


def _free_range(size: int) -> int:
    """The first of so many free ports in a row: the agents share this machine, and a game's port is its node's alone."""
    while True:
        first = random.randrange(10_000, 25_000 - size)
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + size):
                stack.enter_context(socket.create_server(("", port)))
            return first


def _waiting(agent: AgentProcess) -> int:
    with contextlib.closing(sqlite3.connect(agent.folder / "agent.db")) as db:
        return int(db.execute("SELECT COUNT(*) FROM reports").fetchone()[0])
