"""Luanti and OpenTTD from the distribution's packages: unpacked without root, started, stopped, and started again."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.flows.test_servers_teeworlds import available
from tests.support.nodes import AgentProcess
from tests.support.server_house import agent_, api_, house_, servers_  # noqa: F401  # fixtures
from tests.support.servers import Servers
from tests.support.waiting import until

OPENTTD_SAVE = "save/autosave/autosave0.sav"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("template", "package", "variables", "protocol", "kept"),
    [
        pytest.param("luanti", "minetest-server", {"SERVER_NAME": "blocks"}, "udp", "worlds/main", id="luanti"),
        pytest.param("openttd", "openttd", {"MAP_SIZE": 6}, "tcp", OPENTTD_SAVE, id="openttd"),
    ],
)
def test_a_game_of_the_distribution_runs_and_stops(
    servers: Servers,
    agent: AgentProcess,
    template: str,
    package: str,
    variables: dict[str, Any],
    protocol: str,
    kept: str,
) -> None:
    if not available(package):
        pytest.skip(f"this machine's distribution has no {package}")
    server = servers.ready(template, template, seconds=240, variables=variables)
    assert f"{protocol}/{server['ports']['game']}" in servers.get(server["id"])["observed"]["bound"]
    assert servers.done(server["id"], "stop")["status"] == "stopped"
    assert (agent.folder / "servers" / server["id"] / "files" / kept).exists()
    assert servers.done(server["id"], "start")["status"] == "running"
    if kept == OPENTTD_SAVE:
        log = agent.folder / "run" / server["id"] / "console.log"
        until(lambda: log.read_text().count("Network revision name") == 2, "it has begun twice")
        time.sleep(1)  # a map that is made begins in this moment
        assert log.read_text().count("Generating map") == 1, "the second start goes on with the world"
    assert servers.done(server["id"], "kill")["status"] == "stopped"
