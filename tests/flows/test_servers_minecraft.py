"""A Minecraft server from npm, and a real client that joins it and is seen in the observed players."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient
from tests.support.processes import ROOT
from tests.support.server_house import agent_, api_, house_, servers_  # noqa: F401  # fixtures
from tests.support.servers import Servers, until

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


@pytest.mark.slow
def test_a_player_joins_and_is_seen(
    servers: Servers,
    api: ApiClient,
    agent: AgentProcess,
    client: list[subprocess.Popen[str]],
) -> None:
    variables = {"ONLINE_MODE": False, "WORLD": "superflat", "MAX_PLAYERS": 7, "MOTD": "Ann's world"}
    server = servers.ready("craft", "flying-squid", seconds=240, variables=variables)
    assert server["status"] == "running"
    port = server["ports"]["game"]

    joined = subprocess.Popen(
        ["node", "-e", CLIENT, "--", str(port)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    client.append(joined)
    assert joined.stdout is not None
    assert joined.stdout.readline().strip() == "joined"

    def seen() -> bool:
        players = servers.get(server["id"])["observed"]["players"]
        return bool(players and players["online"] == 1)

    until(seen, "the player is in the observed count", 60)
    players = servers.get(server["id"])["observed"]["players"]
    assert players["maximum"] == 7
    assert players["version"] == "1.16.5"

    joined.kill()
    joined.communicate()
    client.clear()

    def gone() -> bool:
        players = servers.get(server["id"])["observed"]["players"]
        return bool(players and players["online"] == 0)

    until(gone, "the player has left", 60)

    began = time.monotonic()
    second = servers.ready("craft-two", "flying-squid", seconds=60, variables=variables)
    install = next(step for step in servers.task_of(second["id"])["steps"] if step["name"] == "install")
    assert install["seconds"] < 15, "the node has the files already"
    assert time.monotonic() - began < 45
    assert second["ports"]["game"] != port
    settings = agent.folder / "servers" / second["id"] / "files" / "settings.json"
    assert str(second["ports"]["game"]) in settings.read_text()
