"""What a root agent does by default: games through the whole house, each under a user of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.owners import COUNT, FIRST, why_not
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient
from tests.support.server_house import api_, house_, servers_  # noqa: F401  # fixtures
from tests.support.servers import Servers, online_with_own_ports
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.geteuid() != 0, reason="only root may give users away")]


@pytest.fixture(scope="module")
def agent(house: HouseForTests, api: ApiClient) -> Iterator[AgentProcess]:
    """In a place that other users may enter, as `/var/lib` is; pytest's own folders are closed to them."""
    place = Path(tempfile.mkdtemp(prefix="meridian-users-"))
    place.chmod(0o711)
    try:
        if problem := why_not(place / "attic", ""):
            pytest.skip(problem)
        with AgentProcess.enrolled(house, api, place, name="attic") as agent:
            online_with_own_ports(api, agent.node_id)
            yield agent
        assert not (place / "attic").exists(), "uninstall leaves nothing"
    finally:
        shutil.rmtree(place)


def uid_of(servers: Servers, server_id: str) -> int:
    """Whose the running game is."""
    observed = until(
        lambda: servers.get(server_id)["observed"].get("pid") and servers.get(server_id)["observed"], "it runs"
    )
    lines = Path(f"/proc/{observed['pid']}/status").read_text().splitlines()
    effective = {line.split()[2] for line in lines if line.startswith("Uid:")}
    return int(effective.pop())


def running_as(uid: int) -> list[str]:
    """What this user runs; the dead that nobody has collected yet do not count."""
    found = subprocess.run(["ps", "-o", "stat=,args=", "-u", str(uid)], capture_output=True, text=True, check=False)
    return [line for line in found.stdout.splitlines() if not line.startswith("Z")]


@pytest.mark.parametrize("template", ["echo", "flying-squid"])
def test_two_servers_have_two_users_and_one_copy_of_their_files(
    servers: Servers, agent: AgentProcess, template: str
) -> None:
    variables: dict[str, Any] = {"ONLINE_MODE": False, "WORLD": "superflat"} if template == "flying-squid" else {}
    made = [
        servers.ready(f"{template}-{number}", template, seconds=240, **({"variables": variables} if variables else {}))
        for number in (1, 2)
    ]
    users = [uid_of(servers, server["id"]) for server in made]
    assert len(set(users)) == 2
    assert all(FIRST <= uid < FIRST + COUNT for uid in users)
    shared = 0
    for server, uid in zip(made, users, strict=True):
        files = agent.folder / "servers" / server["id"] / "files"
        assert (files.stat().st_uid, files.stat().st_mode & 0o777) == (uid, 0o700)
        for path in files.rglob("*"):
            found = path.lstat()
            assert found.st_uid == uid or (found.st_uid == 0 and not found.st_mode & 0o022) or path.is_symlink(), path
            shared += found.st_nlink > 1 and path.is_file()
    assert shared or os.environ.get("MERIDIAN_REFLINKS"), "the second one's files are the first one's, by hard links"
    health = servers.api.get(f"/v1/nodes/{agent.node_id}/health").json()
    assert "run as root" not in str(health)


def test_a_server_that_is_gone_leaves_neither_files_nor_processes(servers: Servers, agent: AgentProcess) -> None:
    server = servers.ready("short", "echo")
    uid = uid_of(servers, server["id"])
    reply = servers.api.change("DELETE", f"/v1/servers/{server['id']}")
    assert reply.status_code == 202, reply.text
    until(lambda: not (agent.folder / "servers" / server["id"]).exists(), "its folder is gone")
    assert running_as(uid) == []
