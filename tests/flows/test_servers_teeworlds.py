"""Teeworlds from the distribution's package: unpacked without root, started, asked by its own protocol."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.support.server_house import agent_, api_, house_, servers_  # noqa: F401  # fixtures
from tests.support.servers import Servers
from tests.support.waiting import until


def available(package: str = "teeworlds-server") -> bool:
    """Whether this machine's distribution has the package."""
    if shutil.which("apt-get") is None:
        return False
    shown = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False)
    return "Candidate: " in shown.stdout and "Candidate: (none)" not in shown.stdout


@pytest.mark.slow
@pytest.mark.skipif(not available(), reason="this machine's distribution has no teeworlds-server")
def test_a_teeworlds_server_runs_and_tells_its_map(servers: Servers) -> None:
    server = servers.ready(
        "tee", "teeworlds", seconds=180, variables={"GAME_TYPE": "ctf", "MAP": "ctf1", "MAX_PLAYERS": 6}
    )
    assert server["variables"]["RCON_PASSWORD"] is None, "a secret is not shown"
    shown = servers.api.get(f"/v1/servers/{server['id']}/secrets").json()
    assert len(shown["variables"]["RCON_PASSWORD"]) >= 16

    players = until(lambda: servers.get(server["id"])["observed"]["players"], "the game tells who plays", 60)
    assert (players["online"], players["maximum"], players["map"]) == (0, 6, "ctf1")
    assert servers.done(server["id"], "stop")["status"] == "stopped"
