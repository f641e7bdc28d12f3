"""What programs of install steps may do: those that a package brings, run by the machine's own npm and pip."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.drivers.cgroups import find_groups
from agent.drivers.proc import environment, every
from agent.jail import PathEscapes
from agent.owners import COUNT, FIRST, Owners, take_back
from agent.servers.errors import StepFailed
from agent.servers.installer import Installer, Progress, image_key
from agent.servers.workshop import Workshop
from shared.messaging.codec import from_wire
from shared.messaging.server_install import Install
from tests.support.processes import ROOT
from tests.support.registries import NAME, VERSION, registries

#: Looks around, writes down what it may, and leaves somebody behind who would change what was installed.
PROGRAM = """
import json, os, pathlib, subprocess, sys
def may(work):
    try:
        work()
    except OSError as error:
        return type(error).__name__
    return "yes"
agent = pathlib.Path({agent!r})
groups = dict(line.split(":")[1:] for line in open("/proc/self/cgroup").read().splitlines())
facts = {{
    "who": [os.getuid(), os.getgid(), os.getgroups()],
    "home": os.environ["HOME"], "temporary": os.environ["TMPDIR"], "environment": sorted(os.environ),
    "descriptors": [os.readlink(f"/proc/self/fd/{{fd}}") for fd in (3, 4, 5, 6, 7, 8, 9) if os.path.exists(f"/proc/self/fd/{{fd}}")],
    "key": may((agent / "node.key").read_text), "list": may(lambda: os.listdir(agent)),
    "write": may(lambda: (agent / "mine").write_text("x")), "root": may(lambda: os.setuid(0)),
    "memory": groups.get("memory", ""),
    "rights": [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapBnd"))],
}}
pathlib.Path("facts.json").write_text(json.dumps(facts))
subprocess.Popen(
    [sys.executable, "-c", "import time\\nwhile True:\\n open('facts.json', 'a').write('!')\\n time.sleep(0.2)"],
    start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
"""
FACTS = {"npm": f"node_modules/{NAME}/facts.json", "pip": "python/meridian_facts/facts.json"}
STEPS: dict[str, dict[str, Any]] = {
    "npm": {"kind": "npm", "packages": [f"{NAME}@{VERSION}"], "scripts": True},
    "pip": {"kind": "pip", "packages": [f"{NAME}=={VERSION}"], "build": True},
}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give users away")
#: The same as another user: everything is loaded while this Python can still be read, then all rights are dropped.
PLAIN = """
import asyncio, json, os, shutil, sys
from pathlib import Path
from agent.drivers.cgroups import find_groups
from agent.owners import Owners
from agent.servers.installer import Installer
from shared.messaging.codec import from_wire
from shared.messaging.server_install import Install
def install(folder, *steps):
    made = Installer(folder, Owners(folder).builder, find_groups())
    wanted = from_wire(Install, {"steps": list(steps)})
    asyncio.run(made.install(wanted, folder / "servers" / "one", None, lambda *_: None))
folder = Path(sys.argv[1])
script = {"kind": "write", "path": "i.py", "content": "print(1)"}
install(folder.with_name("warm"), script, {"kind": "installer", "runtime": "python", "file": "i.py"})  # all is loaded
os.setgroups([]); os.setgid(65534); os.setuid(65534)
install(folder, json.loads(sys.argv[2]))
"""


def install(*steps: dict[str, Any]) -> Install:
    return from_wire(Install, {"steps": list(steps)})


def facts_in(files: Path, tool: str) -> dict[str, Any]:
    """What the program found; who it left behind may have added to it before it was ended."""
    found: dict[str, Any] = json.loads((files / FACTS[tool]).read_text().rstrip("!"))
    return found


def nobody_watches() -> Progress:
    return lambda _percent, _detail: None


@pytest.fixture
def folder() -> Iterator[Path]:
    """The agent's, in a place that other users may enter; pytest's own is closed to them."""
    place = Path(tempfile.mkdtemp(prefix="meridian-install-"))
    place.chmod(0o711)
    (place / "agent").mkdir(mode=0o711)
    (place / "agent" / "node.key").write_text("secret")
    (place / "agent" / "node.key").chmod(0o600)
    yield place / "agent"
    shutil.rmtree(place)


@pytest.fixture
def packages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with registries(PROGRAM.format(agent=str(folder))) as found:
        for name, value in {**found, "MERIDIAN_AGENT_SECRET": "x"}.items():
            monkeypatch.setenv(name, value)
        yield


@as_root
@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("tool", ["npm", "pip"])
async def test_what_a_package_runs_while_it_is_installed_has_no_rights(folder: Path, tool: str) -> None:
    owners = Owners(folder)
    if owners.problem:
        pytest.skip(owners.problem)
    installer = Installer(folder, owners.builder, find_groups())
    held = os.open(folder / "node.key", os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        for name in ("one", "two"):
            user = owners.of(name)
            assert user is not None
            done = await installer.install(
                install(STEPS[tool]), folder / "servers" / name, user.owner, nobody_watches()
            )
            assert done.reused == (name == "two")
    finally:
        os.close(held)
    files = folder / "servers" / "one" / "files"
    facts = facts_in(files, tool)
    uid, gid, groups = facts["who"]
    assert FIRST + COUNT - 1000 <= uid == gid < FIRST + COUNT
    assert groups == []
    assert set(facts["rights"]) == {"0" * 16}
    refused = {name: facts[name] for name in ("key", "list", "write", "root")}
    assert refused == dict.fromkeys(refused, "PermissionError")
    assert facts["temporary"] == f"{facts['home']}/tmp"
    assert Path(facts["home"]).is_relative_to(folder / "work")
    assert "MERIDIAN_AGENT_SECRET" not in facts["environment"]
    assert not any("node.key" in one for one in facts["descriptors"])
    if os.access("/sys/fs/cgroup/memory", os.W_OK):
        assert facts["memory"].startswith("/meridian/install-")
    # What it made is ours, read-only, and one copy for both; whoever it left behind is gone.
    made = (files / FACTS[tool]).stat()
    assert (made.st_uid, made.st_mode & 0o222) == (0, 0)
    two = folder / "servers" / "two" / "files" / FACTS[tool]
    assert two.read_text() == (files / FACTS[tool]).read_text()
    if installer.store.linking((uid, gid)) == "hardlink":
        assert two.stat().st_ino == made.st_ino
    alive = subprocess.run(["ps", "-o", "stat=", "-u", str(uid)], capture_output=True, text=True, check=False)
    assert [state for state in alive.stdout.split() if not state.startswith("Z")] == []
    assert list((folder / "work").iterdir()) == []
    assert list(Path("/sys/fs/cgroup").glob(f"*/meridian/install-{image_key(install(STEPS[tool]))}")) == []


@pytest.mark.usefixtures("packages")
async def test_unless_the_template_says_so_a_package_runs_nothing(folder: Path) -> None:
    installer = Installer(folder)
    home = folder / "servers" / "one"
    await installer.install(install({**STEPS["npm"], "scripts": False}), home, None, nobody_watches())
    assert (home / "files" / FACTS["npm"]).with_name("facts.py").exists()
    assert not (home / "files" / FACTS["npm"]).exists()
    with pytest.raises(StepFailed) as failed:
        await installer.install(install({**STEPS["pip"], "build": False}), home, None, nobody_watches())
    assert failed.value.code == "pip_failed"


@as_root
@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("tool", ["npm", "pip"])
def test_an_agent_without_rights_installs_as_itself(folder: Path, tool: str) -> None:
    shutil.chown(folder, 65_534, 65_534)
    for path in (folder.parent, folder / "node.key"):
        shutil.chown(path, 65_534, 65_534)
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(folder), json.dumps(STEPS[tool])],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts = facts_in(folder / "servers" / "one" / "files", tool)
    assert facts["who"] == [65_534, 65_534, []]
    assert facts["root"] == "PermissionError"
    assert Path(facts["home"]).is_relative_to(folder / "work")
    assert "MERIDIAN_AGENT_SECRET" not in facts["environment"]
    assert (folder / "servers" / "one" / "files" / FACTS[tool]).stat().st_mode & 0o222 == 0
    assert not any(environment(pid).get("HOME") == facts["home"] for pid in every()), "nobody stays behind"


@as_root
async def test_a_program_that_wants_too_much_is_ended_in_its_group(folder: Path) -> None:
    if not os.access("/sys/fs/cgroup/memory", os.W_OK):
        pytest.skip("no control groups of version 1 to write")
    installer = Installer(folder, Owners(folder).builder, find_groups())
    greedy = "x = bytearray(1 << 28)\nfor i in range(0, len(x), 4096): x[i] = 1\nprint('HAD IT')"
    steps: list[dict[str, Any]] = [
        {"kind": "write", "path": "i.py", "content": greedy},
        {"kind": "installer", "runtime": "python", "file": "i.py", "memory_mib": 100},
    ]
    with pytest.raises(StepFailed) as failed:
        await installer.install(install(*steps), folder / "servers" / "one", None, nobody_watches())
    assert failed.value.code == "installer_failed"
    assert "(out of memory: it wanted more than its limit of 100 MiB" in failed.value.reason
    assert "HAD IT" not in failed.value.output


@as_root
async def test_what_a_killed_agent_left_at_work_is_ended_by_the_next(folder: Path) -> None:
    owners = Owners(folder)
    user = owners.builder()
    if user is None:
        pytest.skip(owners.problem)
    Installer(folder, owners.builder, find_groups())
    left = Workshop(folder / "work" / "key", user, find_groups())
    left.open()
    left._give()
    sleeper = subprocess.Popen(
        ["/usr/bin/setpriv", f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups", "sleep", "600"],
        cwd=left.files, start_new_session=True,
    )  # fmt: skip
    Installer(folder, owners.builder, find_groups())
    assert sleeper.wait(20) == -9
    assert list((folder / "work").iterdir()) == []


@as_root
def test_taking_back_follows_no_link_and_refuses_names_of_what_lies_elsewhere(folder: Path) -> None:
    files, outside = folder / "files", folder / "node.key"
    (files / "deep").mkdir(parents=True)
    (files / "deep" / "own").write_text("x")
    os.link(files / "deep" / "own", files / "again")
    (files / "link").symlink_to(outside)
    (files / "door").symlink_to(folder)
    for path in (files, *files.rglob("*"), outside):
        os.chown(path, FIRST, FIRST, follow_symlinks=False)
    take_back(files)
    assert {path.name: path.lstat().st_uid for path in (files, *files.rglob("*"))} == dict.fromkeys(
        ("files", "deep", "own", "again", "link", "door"), 0
    )
    assert outside.stat().st_uid == FIRST
    os.link(outside, files / "deep" / "stolen")
    with pytest.raises(PathEscapes, match="deep/stolen"):
        take_back(files)
    assert outside.stat().st_uid == FIRST, "what is somebody else's stays theirs"


async def test_somebody_left_behind_who_holds_the_output_open_holds_nothing_up(folder: Path) -> None:
    leaves = (
        "import os, time\nprint('done', end='', flush=True)\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(600)"
    )
    steps: list[dict[str, Any]] = [
        {"kind": "write", "path": "i.py", "content": leaves},
        {"kind": "installer", "runtime": "python", "file": "i.py"},
    ]
    output: deque[str] = deque()
    installer = Installer(folder, Owners(folder).builder, find_groups())
    async with asyncio.timeout(120):
        await installer.install(install(*steps), folder / "servers" / "one", None, nobody_watches(), output)
    assert list(output) == ["done"]
