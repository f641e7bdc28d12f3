"""The one command, as a person runs it: the house comes up, mends itself, does the main job, ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE_SECONDS, ROOT, Part, free_port
from tests.support.waiting import until

PORTS = ("host", "auth", "cosmos", "bus", "bus-tls", "bus-websocket", "bus-admin", "blob")


def options() -> tuple[str, ...]:
    return tuple(word for name in PORTS for word in (f"--{name}-port", str(free_port())))


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, ...]:
    return ("run", "--bare", "--data", str(tmp_path / "data"), *options())


@pytest.fixture
def house(words: tuple[str, ...], tmp_path: Path) -> Iterator[Part]:
    with Part.module("local", *words, log=tmp_path / "house.log") as house:
        until(lambda: "is up after" in house.output())
        yield house


def children(house: Part) -> dict[str, int]:
    """Process ids of the parts by the module that they run."""
    assert house.process is not None
    found = {}
    for pid in Path(f"/proc/{house.process.pid}/task/{house.process.pid}/children").read_text().split():
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        found[command[2].decode() if b"-m" in command else "node"] = int(pid)
    return found


def test_it_comes_up_mends_a_dead_part_and_stops_clean(house: Part, words: tuple[str, ...]) -> None:
    api = f"http://localhost:{words[words.index('--host-port') + 1]}"
    with urllib.request.urlopen(f"{api}/readyz", timeout=PATIENCE_SECONDS) as answer:
        assert json.load(answer)["status"] == "ok"
    before = children(house)
    os.kill(before["local.cosmos"], signal.SIGKILL)
    until(lambda: "cosmos is back after" in house.output())
    assert "cosmos ended (signal SIGKILL); starting it again in" in house.output()
    assert children(house)["local.cosmos"] != before["local.cosmos"]
    with urllib.request.urlopen(f"{api}/readyz", timeout=PATIENCE_SECONDS) as answer:
        assert json.load(answer)["status"] == "ok"
    assert house.process is not None
    house.process.send_signal(signal.SIGINT)
    assert house.process.wait(PATIENCE_SECONDS) == 0
    assert not [pid for pid in before.values() if Path(f"/proc/{pid}").exists()]


def test_a_second_house_on_the_same_data_is_refused_in_one_line(house: Part, words: tuple[str, ...]) -> None:
    done = local(*words)
    assert done.returncode == 2
    assert re.fullmatch(r"meridian: .* is in use by another meridian \(process \d+\); stop that one, .*\n", done.stderr)
    refused = local("clean-data", "--data", words[words.index("--data") + 1])
    assert refused.returncode == 2


def test_a_port_in_use_stops_the_house_and_says_which(words: tuple[str, ...], tmp_path: Path) -> None:
    taken = free_port()
    with Part([*_python("http.server"), str(taken), "--bind", "127.0.0.1"], tmp_path / "taken.log", taken):
        done = local(*words, "--cosmos-port", str(taken))
    assert done.returncode == 2
    assert re.search(rf"in use already: port {taken} for cosmos \(\S+, process \d+\)\. Stop what uses", done.stderr)
    assert "is up after" not in done.stdout


def test_data_is_forgotten_on_request_and_nobody_elses(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "precious").write_text("mine")
    refused = local("clean-data", "--data", str(other))
    assert refused.returncode == 2
    assert "was not made by Meridian: nothing is removed" in refused.stderr
    assert (other / "precious").read_text() == "mine"


def test_the_main_job_is_done_once_and_told(tmp_path: Path) -> None:
    done = local("demo", "--template", "echo", *options(), seconds=4 * PATIENCE_SECONDS)
    assert done.returncode == 0, done.stdout[-6000:]
    for step in ("prepare", "install", "configure", "start", "ready"):
        assert re.search(rf"✓ {step} +\d+\.\d+ s", done.stdout), done.stdout[-6000:]
    assert re.search(r"from the click to ready: \d+\.\d s", done.stdout)
    assert "listening on" in done.stdout
    assert re.search(r"join at [\w.:]+:\d+", done.stdout)
    assert "1 game stopped" in done.stdout
    assert "Azure would have billed" in done.stdout


def _python(module: str) -> list[str]:
    return Part.module(module, log=Path(os.devnull)).command


def local(*words: str, seconds: float = PATIENCE_SECONDS) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*_python("local"), *words], cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
    )
