"""A Minecraft server from npm, and a real client that joins it and is seen in the observed players."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient
from tests.support.processes import ROOT
from tests.support.server_house import agent_, api_, house_, servers_  # noqa: F401  # fixtures
from tests.support.servers import Servers
from tests.support.waiting import until

# The agent looks each 10 s, and keeps a sample when a minute is over; then a look more.
MINUTE_SECONDS = 75.0
CLIENT = """
const mc = require('minecraft-protocol')
const client = mc.createClient({ host: '127.0.0.1', port: +process.argv.at(-1), username: 'tester', version: '1.16.5', auth: 'offline' })
client.on('login', () => console.log('joined'))
client.on('error', error => { console.log('error ' + error.message); process.exit(1) })
client.on('kick_disconnect', packet => { console.log('kicked ' + packet.reason); process.exit(1) })
"""


@pytest.fixture
def client(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def join(port: int) -> subprocess.Popen[str]:
    """A player who has logged in."""
    words = ["node", "-e", CLIENT, "--", str(port)]
    player = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert player.stdout is not None
    assert player.stdout.readline().strip() == "joined"
    return player


def players(servers: Servers, server_id: str, online: int) -> dict[str, Any]:
    """What is observed of the players, once so many are seen."""

    def seen() -> Any:
        found = servers.get(server_id)["observed"]["players"]
        return found if found and found["online"] == online else None

    found: dict[str, Any] = until(seen, f"{online} in the observed count", 60)
    return found


def key_for(api: ApiClient) -> dict[str, str]:
    """The command line's environment to act with a key."""
    made = api.post("/v1/api-keys", {"name": "figures", "scopes": ["servers.read", "metrics.read"]})
    assert made.status_code == 201, made.text
    return {"MERIDIAN_API_KEY": made.json()["key"]}


@pytest.mark.slow
def test_a_player_joins_and_is_seen_now_and_in_the_figures(
    house: HouseForTests,
    servers: Servers,
    api: ApiClient,
    agent: AgentProcess,
    client: list[subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    variables = {"ONLINE_MODE": False, "WORLD": "superflat", "MAX_PLAYERS": 7, "MOTD": "Ann's world"}
    server = servers.ready("craft", "flying-squid", seconds=240, variables=variables)
    up_since = time.monotonic()
    assert server["status"] == "running"
    port = server["ports"]["game"]
    client.append(join(port))
    seen = players(servers, server["id"], 1)
    assert (seen["maximum"], seen["version"]) == (7, "1.16.5")

    began = time.monotonic()
    second = servers.ready("craft-two", "flying-squid", seconds=60, variables=variables)
    install = next(step for step in servers.task_of(second["id"])["steps"] if step["name"] == "install")
    assert install["seconds"] < 15, "the node has the files already"
    assert time.monotonic() - began < 45
    assert second["ports"]["game"] != port
    settings = agent.folder / "servers" / second["id"] / "files" / "settings.json"
    assert str(second["ports"]["game"]) in settings.read_text()

    time.sleep(max(0.0, MINUTE_SECONDS - (time.monotonic() - up_since)))
    player = client.pop()
    player.kill()
    player.communicate()
    players(servers, server["id"], 0)  # a change of players is told at once, and with it the minutes so far
    meridian = CommandLine(house, tmp_path, key_for(api))
    minutes = until(lambda: meridian.ask("servers", "stats", "craft", "--hours", "1")["points"], "a minute's sample")
    assert minutes[0]["players"] == 1
    assert minutes[0]["memory_mib"] > 10
    hours = meridian.ask("servers", "stats", "craft", "--grain", "hour")["points"]
    assert max(point["players"] for point in hours) == 1
    shown = meridian.run("servers", "stats", "craft").stdout
    assert re.search(r"Players +[▁█]+ ", shown), shown
    assert meridian.ask("servers", "show", "craft")["observed"]["players"]["version"] == "1.16.5"
