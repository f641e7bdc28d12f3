"""The cable is pulled out for ten minutes. Games go on, crash and come back; what was asked meanwhile happens once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.cable import Cable
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient, Person
from tests.support.servers import Servers, online_with_own_ports
from tests.support.waiting import until

pytestmark = pytest.mark.soak
MINUTES = float(os.environ.get("CUT_MINUTES", "10"))


@pytest.fixture
def cable() -> Iterator[Cable]:
    cable = Cable()
    yield cable
    cable.close()


@pytest.fixture
def house(cable: Cable, tmp_path: Path) -> Iterator[HouseForTests]:
    folder = tmp_path / "house"
    folder.mkdir()
    house = HouseForTests(folder, "cosmos", "bus", "auth", "host", settings={"MERIDIAN_RATE_LIMITS": "false"})
    house.set(cable.settings(house))
    with house:
        cable.plug_in(house)
        yield house


def journal(agent: AgentProcess) -> list[dict[str, Any]]:
    """What the agent has written down of each command."""
    with contextlib.closing(sqlite3.connect(agent.folder / "agent.db")) as db:
        return [
            {**json.loads(content), "ended": outcome is not None}
            for content, outcome in db.execute("SELECT content, outcome FROM commands")
        ]


def game_of(server_id: str) -> int | None:
    """The game's process, found without asking anybody."""
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):
            mine = process.environ().get("MERIDIAN_SERVER_ID") == server_id
            if mine and process.name() != "sh" and process.status() != psutil.STATUS_ZOMBIE:
                return process.pid
    return None


def test_a_cut_of_ten_minutes(house: HouseForTests, cable: Cable, tmp_path: Path) -> None:
    person = Person.sign_up(house, "ann")
    api = person.found_organization("Ann's servers")
    agent = AgentProcess.enrolled(house, api, tmp_path, "attic", prefix=cable.prefix, api_url=cable.api)
    with agent:
        online_with_own_ports(api, agent.node_id)
        servers = Servers(api)
        crashes, stops, quiet = (servers.ready(name) for name in ("crashes", "stops", "quiet"))
        before = game_of(crashes["id"])
        assert before is not None

        cable.cut()
        began = time.monotonic()
        os.kill(before, signal.SIGKILL)
        asked = [servers.act(stops["id"], "stop")]
        until(lambda: game_of(crashes["id"]) not in (None, before), "the game came back without us", 60)
        seen = follow_presence(api, agent.node_id, began + MINUTES * 60)
        api = person.client(api.organization)  # a token lives ten minutes
        servers = Servers(api)
        assert servers.get(stops["id"])["status"] == "running", "nothing of it has arrived"
        assert None not in (game_of(stops["id"]), game_of(quiet["id"]))
        asked += [servers.act(quiet["id"], "restart")]

        cable.mend()
        mended = time.monotonic()
        node = f"/v1/nodes/{agent.node_id}"
        until(lambda: api.get(node).json()["presence"] == "online", "the node is back", 180)
        back = time.monotonic() - mended
        assert [servers.task(task, 180)["state"] for task in asked] == ["succeeded"] * 2
        settled = time.monotonic() - mended
        assert servers.status(stops["id"], "stopped")
        assert servers.status(crashes["id"], "running")["observed"]["crashes"] == 1
        check_once(agent, asked)
    presence = ", ".join(f"{name} after {seconds:.0f} s" for name, seconds in seen.items())
    print(
        f"\ncut of {MINUTES:g} min by {cable.kind}: {presence};"
        f" online again {back:.0f} s after it was mended, everything that was asked was done after {settled:.0f} s"
    )


def follow_presence(api: ApiClient, node_id: str, deadline: float) -> dict[str, float]:
    """When the node was first called what, until the deadline; asked rarely, so that nobody calls it watched."""
    began = time.monotonic()
    seen: dict[str, float] = {}
    while time.monotonic() < deadline:
        reply = api.get(f"/v1/nodes/{node_id}")
        if reply.status_code == 200:
            seen.setdefault(reply.json()["presence"], time.monotonic() - began)
        time.sleep(min(5.0, max(0.1, deadline - time.monotonic())))
    if MINUTES > 2.5:
        assert 60 <= seen["silent"] <= 150, seen
    assert "lost" not in seen or seen["lost"] >= 540, seen
    return seen


def check_once(agent: AgentProcess, tasks: list[str]) -> None:
    """Every command in the journal has ended, and each task was one command."""
    rows = journal(agent)
    assert all(row["ended"] for row in rows)
    for task in tasks:
        assert sum(row["task_id"] == task for row in rows) == 1, task
