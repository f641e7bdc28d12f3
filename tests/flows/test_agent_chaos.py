"""Things die while agents work: the control plane, the broker, the line, an agent. In the end everything has ended once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.app import Agent
from agent.config import load_config
from agent.enrol import enrol
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient, Person
from tests.support.processes import free_port

pytestmark = pytest.mark.slow
AGENTS = 20


class Line:
    """The line between agents and the broker: can be cut (connections die, new ones are refused) or stall (nothing moves)."""

    def __init__(self, port: int, target: int) -> None:
        self.port, self._target = port, target
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, onward_writer}
        await asyncio.gather(
            self._pump(reader, onward_writer), self._pump(onward_reader, writer), return_exceptions=True
        )

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
        finally:
            writer.close()
            self._writers.discard(writer)

    async def cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in tuple(self._writers):
            writer.close()

    def stall(self) -> None:
        self._open.clear()

    def flow(self) -> None:
        self._open.set()


class Crowd:
    """Many agents and the line, in one thread with one loop."""

    def __init__(self, house: HouseForTests, folder: Path, line: Line) -> None:
        self.house, self.folder, self.line = house, folder, line
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.agents: list[Agent] = []
        self._tasks: list[Any] = []

    def do(self, work: Any) -> Any:
        """Run a coroutine over there."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)

    async def _join(self, token: str, number: int) -> None:
        config = load_config(None, {}, {"folder": str(self.folder / f"a{number}"), "api_url": self.house.api})
        await enrol(config, token, f"agent-{number}")
        agent = Agent(config)
        self.agents.append(agent)
        self._tasks.append(asyncio.create_task(agent.run()))

    def join(self, api: ApiClient, count: int) -> None:
        self.do(self.line.start())
        tokens = [api.post("/v1/enrolment-tokens", {}).json()["token"] for _ in range(count)]

        async def join_all() -> None:
            await asyncio.gather(*(self._join(token, number) for number, token in enumerate(tokens)))

        self.do(join_all())

    @property
    def node_ids(self) -> list[str]:
        return [agent.identity.papers.node_id for agent in self.agents]

    def close(self) -> None:
        async def end() -> None:
            for agent in self.agents:
                agent.stop("the test is over")
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.line.cut()

        self.do(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(30)
        self.loop.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseForTests]:
    house = HouseForTests(
        tmp_path_factory.mktemp("house"), "cosmos", "bus", "auth", "host", settings={"MERIDIAN_RATE_LIMITS": "false"}
    )
    line_port = free_port()
    connection = house.settings()["ServiceBusConnection"]
    spaces = {"default": {"connection": connection, "amqp_port": line_port, "tls": False}}
    house._settings["MERIDIAN_AGENT_NAMESPACES"] = json.dumps(spaces)
    house.line_port = line_port  # type: ignore[attr-defined]
    with house:
        yield house


@pytest.fixture(scope="module")
def api(house: HouseForTests) -> ApiClient:
    return Person.sign_up(house, "ann").found_organization("Ann's servers")


@pytest.fixture(scope="module")
def crowd(house: HouseForTests, api: ApiClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    line = Line(house.line_port, house.house.ports.bus)  # type: ignore[attr-defined]
    crowd = Crowd(house, tmp_path_factory.mktemp("crowd"), line)
    crowd.join(api, AGENTS)
    yield crowd
    crowd.close()


def until(condition: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.1)
    return found


def ask(api: ApiClient, node_ids: list[str]) -> list[str]:
    """Send a ping to each; where to look for the answers."""
    replies = [api.post(f"/v1/nodes/{node_id}/commands", {"type": "node.ping"}) for node_id in node_ids]
    assert [reply.status_code for reply in replies] == [202] * len(node_ids), replies[0].text
    return [reply.headers["Location"] for reply in replies]


def all_answered(api: ApiClient, places: list[str]) -> None:
    left = set(places)

    def answered() -> bool:
        for place in tuple(left):
            reply = api.get(place)
            if reply.status_code == 200 and reply.json()["state"] != "sent":
                assert reply.json()["state"] == "succeeded", reply.text
                left.discard(place)
        return not left

    until(answered, f"every command is answered (of {len(places)})")


def test_the_control_plane_is_killed_and_comes_back(house: HouseForTests, api: ApiClient, crowd: Crowd) -> None:
    all_answered(api, ask(api, crowd.node_ids))
    places = ask(api, crowd.node_ids)
    house.kill("host")
    time.sleep(1)
    house.start("host")
    all_answered(api, places)
    all_answered(api, ask(api, crowd.node_ids))


def test_the_broker_is_killed_and_comes_back(house: HouseForTests, api: ApiClient, crowd: Crowd) -> None:
    house.kill("bus")
    until(lambda: all(agent.link.state != "up" for agent in crowd.agents), "all have noticed")
    asked_meanwhile = ask(api, crowd.node_ids[:2])
    house.start("bus")
    until(lambda: all(agent.link.state == "up" for agent in crowd.agents), "all are back")
    all_answered(api, ask(api, crowd.node_ids))
    all_answered(api, asked_meanwhile)


def test_the_line_stalls_and_is_cut_and_comes_back(api: ApiClient, crowd: Crowd) -> None:
    crowd.loop.call_soon_threadsafe(crowd.line.stall)
    places = ask(api, crowd.node_ids)
    time.sleep(5)
    assert any(api.get(place).json()["state"] == "sent" for place in places)
    crowd.loop.call_soon_threadsafe(crowd.line.flow)
    all_answered(api, places)

    crowd.do(crowd.line.cut())
    until(lambda: all(agent.link.state != "up" for agent in crowd.agents), "all have noticed")
    places = ask(api, crowd.node_ids)
    for agent in crowd.agents:
        crowd.loop.call_soon_threadsafe(agent.outbox.event, "test", "said while the line was cut")
    crowd.do(crowd.line.start())
    all_answered(api, places)
    until(lambda: all(agent.storage.report_count == 0 for agent in crowd.agents), "what was said meanwhile has arrived")
    assert all(agent.storage.reports_dropped == 0 for agent in crowd.agents)


def test_an_agent_killed_in_the_middle_ends_each_command_once(
    house: HouseForTests, api: ApiClient, crowd: Crowd, tmp_path: Path
) -> None:
    agent = AgentProcess.enrolled(house, api, tmp_path, name="victim")
    with agent:
        for pause in (0.0, 0.02, 0.05, 0.1):
            places = ask(api, [agent.node_id] * 2)
            time.sleep(pause)
            agent.kill()
            agent.log.write_text("")
            agent.start()
            all_answered(api, places)
        with contextlib.closing(sqlite3.connect(agent.folder / "agent.db")) as journal:
            rows = journal.execute("SELECT outcome, (SELECT COUNT(*) FROM commands) FROM commands").fetchall()
        assert [outcome is not None for outcome, _ in rows] == [True] * 8
