"""A real agent changes to real releases, by command and by hand, with a game running on through all of it."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.build import build
from agent.storage import Storage
from shared.messaging.codec import to_json
from shared.messaging.releases import sign_release
from shared.messaging.server_spec import Launch, ServerSpec
from tests.support.command_line import CommandLine
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient
from tests.support.server_house import api_, house_  # noqa: F401  # fixtures
from tests.support.waiting import until

pytestmark = pytest.mark.slow
TRIAL_SECONDS = 12
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
GAME = ServerSpec("srv_game", 1, "game", "on", Launch(("python3", "-c", "import time; time.sleep(3600)")))
CRASHES = {"site/agent/cli.py": b"raise SystemExit(3)\n"}
HANGS = {"site/agent/cli.py": b"import time\ntime.sleep(3600)\n"}
#: Runs, keeps games, and never gets an answer from the control plane.
DEAF = {"site/agent/api.py": b"%s\n\nasync def _deaf(*_):\n    raise ApiUnreachable('deaf')\n\nApi.post = _deaf\n"}


class Shop:
    """Releases: built, signed, and served to whoever asks. `hold` keeps a request waiting."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = threading.Event()
        self.hold: threading.Event | None = None
        shop = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(folder))

            def do_GET(self) -> None:
                shop.asked.set()
                if shop.hold is not None:
                    shop.hold.wait(60)
                with contextlib.suppress(OSError):
                    super().do_GET()

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def release(self, version: str, changes: dict[str, bytes] | None = None, key: Any = KEY) -> Path:
        """A release with its manifest beside it."""
        file = self.folder / f"{version}.pyz"
        build(file, version=version)
        if changes:
            _change(file, changes)
        file.with_name(f"{file.name}.manifest").write_text(sign_release(file, version, key))
        return file

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _change(file: Path, changes: dict[str, bytes]) -> None:
    """Break a release in one place. It unpacks itself under a name of its own, as any other release does."""
    with zipfile.ZipFile(file) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for name, content in changes.items():
        files[name] = content.replace(b"%s", files[name])
    main = files["__main__.py"].decode()
    old = main.split('DIGEST = "')[1].split('"')[0]
    new = hashlib.sha256(repr(sorted(changes)).encode() + old.encode()).hexdigest()[:32]
    files["__main__.py"] = main.replace(old, new).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    file.write_bytes(buffer.getvalue())


class Launched:
    """An enrolled agent in a folder of its own, run by its launcher."""

    def __init__(self, agent: AgentProcess, first: Path) -> None:
        self.agent, self.folder = agent, agent.folder
        public = KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        key_file = agent.folder / "release.pub"
        key_file.write_bytes(public)
        self.env = agent.env | {
            "MERIDIAN_AGENT_PYTHON": sys.executable,
            "MERIDIAN_AGENT_PAUSE": "0.2",
            "MERIDIAN_AGENT_TRIAL_SECONDS": str(TRIAL_SECONDS),
            "MERIDIAN_AGENT_RELEASE_KEY_FILE": str(key_file),
            "MERIDIAN_AGENT_CACHE": str(agent.folder / "releases" / "unpacked"),
        }
        self.env.pop("PYTHONPATH", None)
        assert self.call(str(first), "install", str(first)).returncode == 0
        self._keep_a_game()
        with agent.log.open("ab") as log:
            self.launcher = subprocess.Popen(
                [str(self.folder / "launcher.sh"), "--loop", "run"], cwd="/", env=self.env, stdout=log, stderr=log
            )

    def _keep_a_game(self) -> None:
        storage = Storage(self.folder / "agent.db")
        storage.put_server(GAME.server_id, 1, to_json(GAME).decode())
        storage.put_server_state(GAME.server_id, '{"state": "stopped"}')
        (self.folder / "servers" / GAME.server_id / "files").mkdir(parents=True)
        storage.close()

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd="/", env=self.env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.call(str(self.folder / "releases" / "current"), *arguments)

    @property
    def status(self) -> dict[str, Any]:
        done = self.command("status", "--json")
        return json.loads(done.stdout) if done.stdout else {"running": False}

    @property
    def current(self) -> str:
        return str((self.folder / "releases" / "current").readlink())

    def game(self) -> tuple[int, str]:
        """The running game's process and when it began."""
        storage = Storage(self.folder / "agent.db")
        kept = storage.server(GAME.server_id)
        storage.close()
        assert kept is not None
        handle = json.loads(kept.state).get("handle")
        if not handle:
            return 0, ""
        pid = json.loads(handle["token"])["pid"]
        return pid, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]

    def close(self) -> None:
        self.launcher.terminate()
        self.launcher.wait(30)
        self.agent.run("uninstall", "--yes")


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
