"""Releases: which are taken, and how the launcher goes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent import __version__
from agent.config import Config
from agent.releases import Releases
from agent.update import UpdateError, check_manifest, first_release, update
from shared.messaging import jws
from shared.messaging.releases import RELEASE_KIND, open_manifest, sign_release
from tests.support.processes import ROOT

KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def release(folder: Path, version: str, script: str = "print('hello')", key: ec.EllipticCurvePrivateKey = KEY) -> Path:
    file = folder / f"{version}.pyz"
    file.write_text(script)
    file.with_name(f"{version}.pyz.manifest").write_text(sign_release(file, version, key))
    return file


@pytest.fixture
def config(tmp_path: Path) -> Config:
    public = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "release.pub").write_bytes(public)
    return Config(folder=str(tmp_path / "agent"), release_key_file=str(tmp_path / "release.pub"))


@pytest.mark.parametrize(
    ("version", "current", "taken"),
    [("1.10.0", "1.9.9", True), ("1.9.9", "1.10.0", False), ("1.0.0", "1.0.0", False), ("2.0", "1.99.99", True)],
)
def test_only_newer_ones_are_taken(tmp_path: Path, version: str, current: str, taken: bool) -> None:
    file = release(tmp_path, version)
    manifest = file.with_name(f"{version}.pyz.manifest").read_text()
    if taken:
        assert check_manifest(manifest, KEY.public_key(), current).version == version
    else:
        with pytest.raises(UpdateError, match="not newer"):
            check_manifest(manifest, KEY.public_key(), current)


@pytest.mark.parametrize("change", ["another key", "another file", "longer", "no manifest", "a path as version"])
def test_what_does_not_hold_changes_nothing(tmp_path: Path, config: Config, change: str) -> None:
    file = release(tmp_path, "9.9.9", key=OTHER if change == "another key" else KEY)
    if change == "another file":
        file.write_text("print('HELLO')")
    if change == "longer":
        file.write_text("print('hello') # more")
    if change == "no manifest":
        file.with_name("9.9.9.pyz.manifest").unlink()
    if change == "a path as version":
        forged = json.dumps({"version": "../9", "sha256": "0" * 64, "size": 1}).encode()
        file.with_name("9.9.9.pyz.manifest").write_text(jws.sign(forged, KEY, RELEASE_KIND, "release"))
    with pytest.raises(UpdateError):
        update(config, file)
    assert not (config.path / "releases" / "current").exists()


def test_a_release_on_trial_passes_once(tmp_path: Path, config: Config) -> None:
    releases = Releases(config.path)
    first_release(config, release(tmp_path, __version__))
    assert releases.trial is None
    before = time.time()
    update(config, release(tmp_path, "9.0.0"))
    assert releases.trial is not None
    assert before + 119 <= releases.trial.deadline <= time.time() + 120
    with pytest.raises(UpdateError, match="on trial"):
        update(config, release(tmp_path, "9.1.0"))
    assert releases.pass_trial()
    assert not releases.pass_trial()
    assert releases.current == "agent-9.0.0.pyz"


def test_a_switch_that_was_broken_off_counts_for_nothing(tmp_path: Path, config: Config) -> None:
    first_release(config, release(tmp_path, __version__, "print('old')"))
    releases = Releases(config.path)
    trial = config.path / "releases" / "trial"
    trial.write_text(f"{releases.current} {int(time.time()) - 5} 0\n")  # killed before the link moved
    assert releases.trial is None
    assert launch(config).stdout == "old\n"
    assert not trial.exists()
    assert update(config, release(tmp_path, "9.0.0", "print('new')")) == "switched to 9.0.0; start the agent"
    assert launch(config).stdout == "new\n"


def test_a_release_that_hangs_is_killed_after_its_time(tmp_path: Path, config: Config) -> None:
    first_release(config, release(tmp_path, __version__, "print('old')"))
    update(config, release(tmp_path, "9.0.0", "import time\ntime.sleep(600)"))
    trial = config.path / "releases" / "trial"
    before, _, starts = trial.read_text().split()
    trial.write_text(f"{before} {int(time.time()) + 5} {starts}\n")
    hung = launch(config)
    assert hung.returncode == -signal.SIGKILL
    assert launch(config).stdout == "old\n"
    assert Releases(config.path).went_back_from("9.0.0")


def launch(config: Config) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MERIDIAN_AGENT_PYTHON": sys.executable}
    return subprocess.run(
        [str(config.path / "launcher.sh"), "x"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_launcher_goes_back_after_three_starts(tmp_path: Path, config: Config) -> None:
    first_release(config, release(tmp_path, __version__, "import sys; print('old', sys.argv[1])"))
    assert launch(config).stdout == "old x\n"
    update(config, release(tmp_path, "9.0.0", "import nothing_of_that_name"))
    assert [launch(config).returncode for _ in range(3)] == [1, 1, 1]
    back = launch(config)
    assert (back.returncode, back.stdout) == (0, "old x\n")
    assert "did not hold" in back.stderr
    assert Releases(config.path).trial is None


def test_the_launcher_goes_back_when_the_time_is_over(tmp_path: Path, config: Config) -> None:
    first_release(config, release(tmp_path, __version__, "print('old')"))
    update(config, release(tmp_path, "9.0.0", "print('new')"))
    assert launch(config).stdout == "new\n"
    trial = config.path / "releases" / "trial"
    before, _, starts = trial.read_text().split()
    trial.write_text(f"{before} {int(time.time()) - 1} {starts}\n")
    assert launch(config).stdout == "old\n"


def test_the_launcher_hands_a_signal_on_and_gives_the_exit_code_back(tmp_path: Path, config: Config) -> None:
    script = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\nprint('up', flush=True)\ntime.sleep(60)"
    first_release(config, release(tmp_path, __version__, script))
    environment = {**os.environ, "MERIDIAN_AGENT_PYTHON": sys.executable}
    process = subprocess.Popen(
        [str(config.path / "launcher.sh"), "--loop", "x"], env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.terminate()
    assert process.wait(30) == 7
    process.stdout.close()


def test_one_file_runs_alone(tmp_path: Path) -> None:
    from agent.build import build

    file = tmp_path / "agent.pyz"
    assert build(file, version="7.7.7") == build(tmp_path / "again.pyz", version="7.7.7")
    environment = {"PATH": os.environ["PATH"], "MERIDIAN_AGENT_CACHE": str(tmp_path / "cache")}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-I", str(file), "--version"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout == "meridian-agent 7.7.7\n"


def test_a_signed_release_brings_the_key_that_its_updates_need(tmp_path: Path) -> None:
    key, pem = ec.generate_private_key(ec.SECP256R1()), tmp_path / "release.pem"
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem.write_bytes(key.private_bytes(*encoding))
    file = tmp_path / "agent.pyz"
    command = [sys.executable, "-m", "agent.build", "--out", str(file), "--sign", str(pem)]
    subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=True)
    environment = {"PATH": os.environ["PATH"], "MERIDIAN_AGENT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-I", str(file), "update", str(file), "--folder", str(tmp_path / "agent")],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "is not newer than" in done.stderr, "its own manifest holds, by the key that came with it"
    assert open_manifest(file.with_name("agent.pyz.manifest").read_text(), key.public_key()).size == file.stat().st_size


def test_the_pyproject_names_every_package_of_the_agent() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "agent/pyproject.toml").read_text())
    named = set(project["tool"]["setuptools"]["packages"])
    found = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for path in (*(ROOT / "agent").rglob("__init__.py"), *(ROOT / "shared/messaging").rglob("__init__.py"))
    }
    assert named == found | {"shared"}
