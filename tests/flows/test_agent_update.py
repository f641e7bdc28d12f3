"""A real agent changes to real releases, by command and by hand, with a game running on through all of it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.command_line import CommandLine
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient
from tests.support.releases import KEY, Launched, Shop
from tests.support.server_house import api_, house_  # noqa: F401  # fixtures
from tests.support.waiting import until

pytestmark = pytest.mark.slow
OTHER = ec.generate_private_key(ec.SECP256R1())
CRASHES = {"site/agent/cli.py": b"raise SystemExit(3)\n"}
HANGS = {"site/agent/cli.py": b"import time\ntime.sleep(3600)\n"}
#: Runs, keeps games, and never gets an answer from the control plane.
DEAF = {"site/agent/api.py": b"%s\n\nasync def _deaf(*_):\n    raise ApiUnreachable('deaf')\n\nApi.post = _deaf\n"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    yield shop
    shop.close()


@pytest.fixture(scope="module")
def agent(
    house: HouseForTests, api: ApiClient, shop: Shop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launched]:
    enrolled = AgentProcess.enrolled(house, api, tmp_path_factory.mktemp("agent"), name="attic")
    launched = Launched(enrolled, shop.release("1.0.0"))
    try:
        until(lambda: launched.status.get("link") == "up" and launched.game()[0], "it runs, and keeps its game")
        yield launched
    finally:
        launched.close()


def ask(api: ApiClient, agent: Launched, url: str, manifest: str) -> str:
    body = {"type": "node.update", "release": {"url": url, "manifest": manifest}}
    reply = api.post(f"/v1/nodes/{agent.agent.node_id}/commands", body)
    assert reply.status_code == 202, reply.text
    return reply.headers["Location"]


def ask_for(api: ApiClient, agent: Launched, shop: Shop, file: Path) -> str:
    manifest = file.with_name(f"{file.name}.manifest").read_text()
    return ask(api, agent, f"{shop.url}/{file.name}", manifest)


def ended(api: ApiClient, place: str) -> dict[str, Any]:
    def look() -> Any:
        found = api.get(place).json()
        return found if found["state"] != "sent" else None

    found: dict[str, Any] = until(look, "the command has ended")
    return found


def shown_version(api: ApiClient, agent: Launched) -> str:
    return str(api.get(f"/v1/nodes/{agent.agent.node_id}").json()["agent_version"])


@contextlib.contextmanager
def game_runs_on(agent: Launched) -> Iterator[None]:
    before = agent.game()
    assert before[0]
    yield
    until(lambda: agent.status["running"], "an agent runs")
    until(lambda: [one["state"] for one in agent.status["servers"]] == ["running"], "the game was found again")
    assert agent.game() == before, "the game is the very same process"


def test_a_release_is_taken_by_command_and_stays(
    house: HouseForTests, api: ApiClient, agent: Launched, shop: Shop, tmp_path: Path
) -> None:
    key = api.post("/v1/api-keys", {"name": "updates", "scopes": ["nodes.read", "nodes.commands"]}).json()["key"]
    meridian = CommandLine(house, tmp_path, {"MERIDIAN_API_KEY": key})
    file = shop.release("1.0.1")
    with game_runs_on(agent):
        found = meridian.ask("nodes", "update", "attic", f"{shop.url}/{file.name}")
    assert found["state"] == "succeeded", found
    assert found["outcome"]["result"] == {"agent_version": "1.0.1"}
    assert agent.current == "agent-1.0.1.pyz"
    assert not (agent.folder / "releases" / "trial").exists()
    until(lambda: shown_version(api, agent) == "1.0.1", "the node shows its release")
    assert api.get(f"/v1/nodes/{agent.agent.node_id}").json()["protocol_skew"] == 0
    kept = sorted(file.name for file in (agent.folder / "releases").glob("agent-*"))
    assert kept == ["agent-1.0.0.pyz", "agent-1.0.1.pyz"]


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("signed by another", "bad_manifest"),
        ("older", "not_newer"),
        ("truncated", "digest_mismatch"),
        ("longer", "too_large"),
        ("another file", "digest_mismatch"),
        ("not there", "download_refused"),
        ("no line", "download_failed"),
    ],
)
def test_what_does_not_hold_is_refused(api: ApiClient, agent: Launched, shop: Shop, what: str, code: str) -> None:
    before = agent.status["pid"]
    file = shop.release("0.9.0" if what == "older" else "3.0.0", key=OTHER if what == "signed by another" else KEY)
    manifest = file.with_name(f"{file.name}.manifest").read_text()
    content, url = file.read_bytes(), f"{shop.url}/{file.name}"
    if what == "truncated":
        file.write_bytes(content[:-1])
    elif what == "longer":
        file.write_bytes(content + b"x")
    elif what == "another file":
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif what == "not there":
        url = f"{shop.url}/absent.pyz"
    elif what == "no line":
        url = "http://127.0.0.1:1/x.pyz"
    found = ended(api, ask(api, agent, url, manifest))
    assert (found["state"], found["outcome"]["code"]) == ("failed", code), found
    assert found["outcome"]["detail"]
    assert agent.current == "agent-1.0.1.pyz"
    assert agent.status["pid"] == before
    assert not list((agent.folder / "releases").glob(".incoming-*"))


def test_a_release_that_nobody_can_name_never_leaves_the_door(api: ApiClient, agent: Launched) -> None:
    path = f"/v1/nodes/{agent.agent.node_id}/commands"
    good = {"url": "https://releases.example/a.pyz", "manifest": "a.b.c"}
    for body in (
        {"type": "node.update"},
        {"type": "node.update", "release": good},
        {"type": "node.ping", "release": good},
        {"type": "node.update", "release": {**good, "url": "http://releases.example/a.pyz"}},
        {"type": "node.update", "release": {**good, "url": "file:///etc/passwd"}},
    ):
        refused = api.post(path, body)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid"), body


@pytest.mark.parametrize(("version", "fault"), [("2.0.0", CRASHES), ("2.0.1", DEAF), ("2.0.2", HANGS)])
def test_a_release_that_does_not_hold_is_taken_back(
    api: ApiClient, agent: Launched, shop: Shop, version: str, fault: dict[str, bytes]
) -> None:
    with game_runs_on(agent):
        found = ended(api, ask_for(api, agent, shop, shop.release(version, fault)))
    assert (found["state"], found["outcome"]["code"]) == ("failed", "rolled_back"), found
    assert agent.current == "agent-1.0.1.pyz"
    assert agent.status["version"] == "1.0.1"


@pytest.mark.parametrize("moment", ["while it downloads", "after the switch"])
def test_an_agent_killed_in_the_middle_goes_on(api: ApiClient, agent: Launched, shop: Shop, moment: str) -> None:
    version = "4.0.0" if moment == "while it downloads" else "4.0.1"
    file = shop.release(version)
    with game_runs_on(agent):
        shop.asked.clear()
        shop.hold = threading.Event()
        pid = agent.status["pid"]
        place = ask_for(api, agent, shop, file)
        assert shop.asked.wait(60)
        if moment == "after the switch":
            shop.hold.set()
            until(lambda: agent.current == f"agent-{version}.pyz", "the link is switched")
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself, just now
            os.kill(pid, signal.SIGKILL)
        shop.hold.set()
        found = ended(api, place)
    assert found["state"] == "succeeded", found
    assert agent.status["version"] == version


def test_a_release_is_taken_by_hand(api: ApiClient, agent: Launched, shop: Shop) -> None:
    file = shop.release("5.0.0")
    with game_runs_on(agent):
        done = agent.call(str(file), "update", str(file))  # as people do it: with the new release itself
        assert done.returncode == 0, done.stderr
        assert done.stdout == "switched to 5.0.0, the agent restarts\n"
        until(lambda: shown_version(api, agent) == "5.0.0", "the node shows its release")
    again = agent.command("update", str(file))
    assert (again.returncode, again.stderr) == (1, "meridian-agent: release 5.0.0 is not newer than 5.0.0\n")
