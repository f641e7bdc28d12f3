"""The unit under a real systemd: installed as the guide says, killed, restarted, stopped, with a game that runs on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.build import build
from agent.drivers.cgroup_v2 import GAMES_SERVICE
from agent.drivers.cgroups import is_v2
from agent.owners import FIRST
from agent.storage import Storage
from agent.systemd import UNIT_FILE, UNIT_NAME, out_of_reach, unit
from shared.messaging.codec import to_json
from shared.messaging.server_spec import Launch, Limits, ServerSpec
from tests.support.house import HouseForTests
from tests.support.people import ApiClient
from tests.support.server_house import api_, house_  # noqa: F401  # fixtures
from tests.support.systemd import SYSTEMD, Systemd
from tests.support.waiting import until

pytestmark = pytest.mark.slow
FOLDER = "/var/lib/meridian-agent"
PYTHON = Path("/usr/bin/python3")
GAME = ServerSpec(
    "srv_game", 1, "game", "on", Launch(("python3", "-c", "import time; time.sleep(3600)")),
    limits=Limits(memory_mib=256, processes=64),
)  # fmt: skip


class Machine:
    """A machine with systemd and the agent on it."""

    def __init__(self, systemd: Systemd) -> None:
        self._systemd = systemd

    def run(self, *command: str) -> str:
        done = self._systemd.call(*command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.journal()}"
        return done.stdout

    def agent(self, *arguments: str) -> str:
        return self.run(str(PYTHON), f"{FOLDER}/releases/current", *arguments)

    def status(self) -> dict[str, Any]:
        done = self._systemd.call(str(PYTHON), f"{FOLDER}/releases/current", "status", "--json")
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"running": False}
        return found

    def journal(self) -> str:
        return self._systemd.call("systemctl", "status", "--no-pager", "-n", "40", UNIT_NAME).stdout

    def shown(self, name: str) -> str:
        return self.run("systemctl", "show", "--value", "-p", name, UNIT_NAME).strip()

    def is_up(self) -> bool:
        status = self.status()
        return bool(status["running"] and status["link"] == "up" and status["pid"] == int(self.shown("MainPID")))

    def game(self) -> tuple[int, str]:
        """The running game's shim and when it began."""
        script = f"import sqlite3; print(sqlite3.connect('{FOLDER}/agent.db').execute('SELECT state FROM servers').fetchone()[0])"
        handle = json.loads(self.run(str(PYTHON), "-c", script)).get("handle")
        if not handle:
            return 0, ""
        token = json.loads(handle["token"])
        alive = self._systemd.call("cat", f"/proc/{token['pid']}/stat").stdout
        return token["pid"], alive.rsplit(")", 1)[1].split()[19] if alive else ""

    def limited(self) -> tuple[str, int]:
        """The game's group, and what is counted in it, once its limit is seen to hold; on version 1 nothing is asked."""
        if not is_v2():
            return "", 0
        groups = self.run("cat", f"/proc/{self.game()[0]}/cgroup").strip()
        assert groups == f"0::/system.slice/{GAMES_SERVICE}/{GAME.server_id}"
        folder = f"/sys/fs/cgroup{groups[3:]}"
        assert self.run("cat", f"{folder}/memory.max").strip() == str(GAME.limits.memory_mib << 20)
        return groups, int(self.run("cat", f"{folder}/memory.current"))

    def path(self, inside: str) -> Path:
        return self._systemd.path(inside)


@pytest.fixture(scope="module")
def machine(house: HouseForTests, api: ApiClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Installed and joined by the commands of the guide."""
    if not PYTHON.exists() or _minor(PYTHON) != f"{sys.version_info[0]}.{sys.version_info[1]}":
        pytest.skip("the release holds compiled libraries: the system's Python must be of our version")
    systemd = Systemd(tmp_path_factory.mktemp("systemd"))
    why_not = systemd.start()
    if why_not is not None:
        pytest.skip(f"no systemd here: {why_not}")
    try:
        machine = Machine(systemd)
        machine.path("/opt").mkdir(exist_ok=True)
        build(machine.path("/opt/agent.pyz"), version="1.0.0")
        machine.run(str(PYTHON), "/opt/agent.pyz", "install", "/opt/agent.pyz")
        made = api.post("/v1/enrolment-tokens", {"note": "attic"}).json()
        papers = ("--api-url", house.api, "--token", made["token"], "--root-sha256", made["root_sha256"])
        machine.agent("enroll", *papers, "--name", "attic")
        _keep_the_game(machine, tmp_path_factory.mktemp("game"))
        machine.path(str(UNIT_FILE)).write_text(machine.agent("unit"))
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "enable", "--now", UNIT_NAME)
        yield machine
    finally:
        systemd.stop()


def _minor(python: Path) -> str:
    script = "import sys; print(f'{sys.version_info[0]}.{sys.version_info[1]}')"
    return subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def _keep_the_game(machine: Machine, folder: Path) -> None:
    storage = Storage(folder / "agent.db")
    storage.put_server(GAME.server_id, 1, to_json(GAME).decode())
    storage.put_server_state(GAME.server_id, '{"state": "stopped"}')
    storage.close()
    machine.path(f"{FOLDER}/agent.db").write_bytes((folder / "agent.db").read_bytes())


def test_it_comes_up_and_its_game_with_it(machine: Machine) -> None:
    until(machine.is_up, f"the agent is up\n{machine.journal()}")
    shim, _ = until(lambda: machine.game() if machine.game()[0] else None, "the game runs")
    until(lambda: machine.status()["servers"][0]["state"] == "running", "and is told as running")
    main = machine.shown("MainPID")
    assert "releases/current" in machine.run("cat", f"/proc/{main}/cmdline"), "the agent itself, not a shell before it"
    assert machine.shown("OOMScoreAdjust") == "-500"  # in force only where systemd itself may (CAP_SYS_RESOURCE)
    game = machine.run("cat", f"/proc/{shim}/task/{shim}/children").split()[0]
    status = dict(
        line.split(":\t", 1) for line in machine.run("cat", f"/proc/{game}/status").splitlines() if ":\t" in line
    )
    assert status["Uid"].split() == [str(FIRST)] * 4
    assert (status["CapEff"], status["CapBnd"], status["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    assert machine.run("cat", f"/proc/{game}/oom_score_adj").strip() == "0"
    assert "fail" not in machine.agent("doctor"), machine.agent("doctor")
    if is_v2():
        assert f"ok    limits       control groups v2, below system.slice/{GAMES_SERVICE}" in machine.agent("doctor")
        own = machine.run("cat", f"/proc/{main}/cgroup").strip()
        assert own == f"0::/system.slice/{UNIT_NAME}", "the agent is where games do not hang below"
        assert machine.limited()[1] > 0


def test_an_agent_that_is_killed_comes_again_and_the_game_runs_on(machine: Machine) -> None:
    game, restarts, (group, memory) = machine.game(), int(machine.shown("NRestarts")), machine.limited()
    machine.run("kill", "-KILL", machine.shown("MainPID"))
    until(lambda: int(machine.shown("NRestarts")) == restarts + 1, "systemd restarts it")
    until(machine.is_up, "it is up again")
    until(lambda: machine.status()["servers"][0]["state"] == "running", "the game was found again")
    assert machine.game() == game
    assert machine.limited()[0] == group
    assert machine.limited()[1] >= memory // 2, "what it took before is counted still"


def test_a_restart_and_a_stop_leave_the_game_alone(machine: Machine) -> None:
    game, (group, memory) = machine.game(), machine.limited()
    machine.run("systemctl", "restart", UNIT_NAME)
    until(machine.is_up, "it is up again")
    assert machine.game() == game
    machine.run("systemctl", "stop", UNIT_NAME)
    assert machine.shown("ActiveState") == "inactive"
    assert machine.shown("Result") == "success"
    assert machine.game() == game
    assert not machine.status()["running"]
    assert machine.limited()[0] == group, "no agent is needed for its limits to hold"
    assert machine.limited()[1] >= memory // 2
    machine.run("systemctl", "start", UNIT_NAME)
    until(machine.is_up, "it is up again")
    until(lambda: machine.status()["servers"][0]["state"] == "running", "the game was found again")
    assert machine.game() == game


def test_games_and_their_limits_outlive_the_service_that_holds_their_groups(machine: Machine) -> None:
    if not is_v2():
        pytest.skip("there is none under control groups v1")
    game, limited = machine.game(), machine.limited()
    machine.run("systemctl", "stop", GAMES_SERVICE)
    machine.run("systemctl", "restart", UNIT_NAME)
    until(machine.is_up, "it is up again")
    until(lambda: machine.status()["servers"][0]["state"] == "running", "the game was found again")
    assert (machine.game(), machine.limited()[0]) == (game, limited[0])


def test_nothing_of_it_is_left_after_it_was_uninstalled(machine: Machine) -> None:
    shim, _ = machine.game()
    machine.agent("uninstall", "--yes")
    assert not machine.path(FOLDER).exists() or not list(machine.path(FOLDER).iterdir())
    assert not machine.path(str(UNIT_FILE)).exists()
    assert machine.run("systemctl", "show", "--value", "-p", "LoadState", UNIT_NAME).strip() == "not-found"
    assert "meridian" not in machine.run("ps", "-e", "-o", "args"), "no shim, no game, no agent"
    left = "find /sys/fs/cgroup -name 'srv_game*' -o -name 'meridian' -o -name 'meridian-games*'"
    until(lambda: machine.run("sh", "-c", left) == "", "systemd has removed what is empty")
    assert shim


@pytest.mark.skipif(not SYSTEMD.exists(), reason="systemd is not installed")
def test_systemd_understands_the_unit_and_holds_it_for_safe(tmp_path: Path) -> None:
    file = tmp_path / UNIT_NAME
    file.write_text(unit(["/bin/true"], Path('/srv/a "strange" 100% place'), "/usr/bin/python3"))
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)
    unknown = [line for line in done.stderr.splitlines() if str(file) in line]
    assert (done.returncode, unknown) == (0, []), done.stderr
    review = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=35", "--no-pager", str(file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert review.returncode == 0, review.stdout[-400:]


def test_what_the_unit_cannot_see_is_told() -> None:
    assert out_of_reach(Path("/var/lib/x"), Path("/usr/bin/python3")) == []
    assert out_of_reach(Path("/root/x"), Path("/home/ann/x")) == ["/root/x", "/home/ann/x"]
