"""Uninstalling: what is an agent's goes, whatever state it is in; nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.drivers.base import Plan
from agent.drivers.process import ProcessDriver
from agent.identity import KEY, make_key
from agent.storage import DATABASE, Storage
from shared.messaging.server_spec import Launch
from tests.support.processes import ROOT


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", *arguments, "--folder", str(folder), "--game-user", "root"],
        cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_folder_that_is_no_agents_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "servers").mkdir()
    (tmp_path / "servers" / "mine.txt").write_text("the work of years")
    done = command(tmp_path, "uninstall", "--yes")
    assert (done.returncode, done.stderr) == (1, f"meridian-agent: no agent is at home in {tmp_path}\n")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["servers", "servers/mine.txt"]


@pytest.mark.parametrize("keep", [False, True])
def test_what_is_somebody_elses_stays_and_is_named(tmp_path: Path, keep: bool) -> None:
    folder = tmp_path / "agent"
    make_key(folder / KEY)
    Storage(folder / DATABASE).close()
    for name in ("status.json", "node.json", "node.key.0123456789abcdef", "launcher.sh", "release.pub"):
        (folder / name).write_text("x")
    for name in ("servers/srv_1/files/world", "run/srv_1", "store/objects", "releases/unpacked", "work"):
        (folder / name).mkdir(parents=True)
    done = command(folder, "uninstall", "--yes", *(["--keep-servers"] if keep else []))
    assert done.returncode == 0, done.stderr
    assert "it is not the agent's: release.pub" in done.stdout
    assert {path.name for path in folder.iterdir()} == {"release.pub", *(["servers"] if keep else [])}
    assert (folder / "servers/srv_1/files/world").exists() == keep


@pytest.mark.parametrize("damage", ["journal", "papers"])
async def test_a_game_is_ended_and_everything_goes_though_it_is_damaged(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "agent"
    make_key(folder / KEY)
    files = folder / "servers" / "srv_1" / "files"
    files.mkdir(parents=True)
    (files / "game.py").write_text("import time\ntime.sleep(600)\n")
    driver = ProcessDriver(folder / "run", runtimes=("python3",))
    running = await driver.start(Plan("srv_1", files, Launch(("python3", "game.py"))))
    await driver.close()
    Storage(folder / DATABASE).close()
    (folder / {"journal": DATABASE, "papers": "node.json"}[damage]).write_bytes(b"noise" * 2000)
    done = command(folder, "uninstall", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert running.pid is None
    assert not folder.exists()


def test_a_damaged_journal_is_told_by_the_doctor_and_in_one_line_by_all_others(tmp_path: Path) -> None:
    make_key(tmp_path / KEY)
    storage = Storage(tmp_path / DATABASE)
    assert "ok    journal" in command(tmp_path, "doctor").stdout
    for number in range(200):
        storage.put_server(f"srv_{number}", 1, "x" * 500)
    storage.close()
    with (tmp_path / DATABASE).open("r+b") as file:
        file.seek(10 * 4096)
        file.write(os.urandom(4096))
    assert "fail  journal" in command(tmp_path, "doctor").stdout
    done = command(tmp_path, "stop-games")
    assert (done.returncode, len(done.stderr.splitlines()), "move it away" in done.stderr) == (1, 1, True), done.stderr
