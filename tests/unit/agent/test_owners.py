"""Games under users of their own: what one may, and what it may not."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.drivers.base import DriverError, Plan
from agent.drivers.process import ProcessDriver
from agent.drivers.programs import find_runtime
from agent.owners import COUNT, FIRST, GameUser, Owners, claim
from agent.servers.installer import Installer
from agent.servers.store import ContentStore
from shared.messaging.codec import from_wire
from shared.messaging.server_install import Install
from shared.messaging.server_spec import Launch, Stop
from tests.support.processes import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give users away")
STOP = Stop("signal", "SIGTERM", 10)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A place that other users may enter; pytest's own is closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="meridian-owners-"))
    folder.chmod(0o711)
    yield folder / "agent"
    shutil.rmtree(folder)


@pytest.fixture
def owners(folder: Path) -> Owners:
    owners = Owners(folder)
    if owners.problem:
        pytest.skip(owners.problem)
    return owners


@pytest.fixture
async def driver(folder: Path) -> AsyncIterator[ProcessDriver]:
    driver = ProcessDriver(folder / "run", runtimes=("python3",))
    yield driver
    for running in tuple(driver._running.values()):
        await running.kill()
    await driver.close()


def plan(folder: Path, owners: Owners, server_id: str, script: str) -> Plan:
    user = owners.of(server_id)
    files = folder / "servers" / server_id / "files"
    (files / "game.py").write_text(script)
    return Plan(server_id, files, Launch(("python3", str(files / "game.py"))), user=user)


def test_each_server_has_its_own_and_keeps_it(folder: Path, owners: Owners) -> None:
    one, two = owners.of("srv_1"), owners.of("srv_2")
    assert one is not None
    assert two is not None
    assert one.uid != two.uid
    assert all(FIRST <= user.uid < FIRST + COUNT and user.alone for user in (one, two))
    assert Owners(folder).of("srv_1") == one, "it is kept where nothing but the disk knows of it"
    shutil.rmtree(folder / "servers" / "srv_1")
    assert owners.of("srv_2") == two


def test_where_others_may_not_enter_games_run_as_the_agent_and_that_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    owners = Owners(tmp_path / "agent")
    assert owners.of("srv_1") is None
    assert f"no other user may enter {tmp_path}" in owners.problem or "no other user may enter" in owners.problem


def test_the_setting_decides(folder: Path) -> None:
    assert Owners(folder, "root").of("srv_1") is None
    named = Owners(folder, "nobody").of("srv_1")
    assert named is not None
    assert not named.alone
    with pytest.raises(KeyError):
        Owners(folder, "no-such-user").of("srv_1")


async def test_a_game_can_do_nothing_to_the_others_or_to_the_agent(
    folder: Path, owners: Owners, driver: ProcessDriver
) -> None:
    (folder / "node.key").write_text("secret")
    (folder / "node.key").chmod(0o600)
    sleeper = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
    other = await driver.start(plan(folder, owners, "srv_other", sleeper))
    await eventually(lambda: "ready" in other.console.tail(5), "the other is up")
    secret = folder / "servers" / "srv_other" / "files" / "world.dat"
    secret.write_text("secret")
    script = f"""
import os
def attempt(what, work):
    try:
        work()
        print(what, "WORKED", flush=True)
    except OSError as error:
        print(what, "refused", flush=True)
print(os.getuid(), os.getgid(), os.getgroups(), os.environ["USER"], flush=True)
attempt("read key", lambda: open({str(folder / "node.key")!r}).read())
attempt("list agent", lambda: os.listdir({str(folder)!r}))
attempt("list other", lambda: os.listdir({str(secret.parent)!r}))
attempt("read other", lambda: open({str(secret)!r}).read())
attempt("kill other", lambda: os.kill({other.pid}, 9))
attempt("become root", lambda: os.setuid(0))
open("mine", "w").write("x")
open({str(folder / "servers" / "srv_1" / "files" / "mine2")!r}, "w").write("x")
print("ready", flush=True)
"""
    made = plan(folder, owners, "srv_1", script)
    running = await driver.start(made)
    assert (await running.wait()).code == 0, running.console.tail(20)
    lines = running.console.tail(20)
    assert made.user is not None
    assert lines[0] == f"{made.user.uid} {made.user.gid} [] game"
    assert [line for line in lines if "WORKED" in line] == []
    assert len([line for line in lines if "refused" in line]) == 6
    assert other.usage() is not None


async def test_what_a_game_left_behind_ends_with_it(folder: Path, owners: Owners, driver: ProcessDriver) -> None:
    script = """
import os, time
if os.fork() == 0:
    os.setsid()  # out of the group, as daemons do
    if os.fork() == 0:
        print("hidden", os.getpid(), flush=True)
        time.sleep(600)
    os._exit(0)
os.wait()
time.sleep(600)
"""
    running = await driver.start(plan(folder, owners, "srv_1", script))
    await eventually(lambda: any("hidden" in line for line in running.console.tail(5)), "it hides")
    hidden = int(running.console.tail(1)[0].split()[1])
    assert Path(f"/proc/{hidden}").exists()
    await running.stop(STOP)
    await eventually(lambda: not Path(f"/proc/{hidden}").exists(), "what it left behind is gone")


async def test_its_ports_are_told(folder: Path, owners: Owners, driver: ProcessDriver) -> None:
    port = free_port()
    script = f"import socket, time\ns = socket.socket(); s.bind(('127.0.0.1', {port})); s.listen()\nprint('ready', flush=True)\ntime.sleep(600)"
    running = await driver.start(plan(folder, owners, "srv_1", script))
    await eventually(lambda: "ready" in running.console.tail(5), "it is up")
    assert running.bound_ports() == (f"tcp/{port}",)


def test_a_claim_follows_no_link_and_leaves_what_is_shared(folder: Path) -> None:
    files, outside = folder / "files", folder / "outside"
    (files / "deep").mkdir(parents=True)
    outside.mkdir()
    (outside / "precious").write_text("x")
    (files / "deep" / "own").write_text("x")
    (files / "link").symlink_to(outside / "precious")
    (files / "door").symlink_to(outside)
    os.link(outside / "precious", files / "shared")
    claim(files, (FIRST, FIRST))
    assert {path.name: path.lstat().st_uid for path in (files, files / "deep", files / "deep" / "own", files / "link")} == {
        "files": FIRST, "deep": FIRST, "own": FIRST, "link": FIRST,
    }  # fmt: skip
    assert (outside / "precious").stat().st_uid == 0
    assert outside.stat().st_uid == 0


async def test_installed_files_are_shared_read_and_cannot_be_written(
    folder: Path, owners: Owners, driver: ProcessDriver
) -> None:
    store = ContentStore(folder / "store")
    staging = folder / "staging"
    staging.mkdir(parents=True)
    (staging / "game.jar").write_text("content")
    (staging / "server.cfg").write_text("mine")
    image = store.ingest(staging, "key")
    user = owners.of("srv_1")
    assert user is not None
    assert store.linking(user.owner) in ("hardlink", "reflink")
    script = """
print(open("game.jar").read(), open("server.cfg").read(), flush=True)
open("server.cfg", "a").write("!")
try:
    open("game.jar", "a").write("!")
    print("WRITTEN", flush=True)
except PermissionError:
    print("refused", flush=True)
"""
    made = plan(folder, owners, "srv_1", script)
    store.lay(image, made.folder, ("*.cfg",), user.owner)
    claim(made.folder, user.owner)
    if store.linking(user.owner) == "hardlink":
        assert (made.folder / "game.jar").stat().st_nlink > 1
    running = await driver.start(made)
    assert (await running.wait()).code == 0, running.console.tail(9)
    lines = running.console.tail(2)
    assert lines[0] == "content mine"
    if store.linking(user.owner) == "hardlink":
        assert lines[1] == "refused"
    assert store.find("key") is not None, "the store is as it was"


def test_a_runtime_that_other_users_cannot_reach_is_passed_by(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shut, open_ = folder / "shut", folder / "open"
    for place, mode in ((shut, 0o700), (open_, 0o755)):
        place.mkdir(parents=True)
        (place / "node").write_text("#!/bin/sh\n")
        (place / "node").chmod(0o755)
        place.chmod(mode)
    folder.chmod(0o711)
    monkeypatch.setenv("PATH", f"{shut}:{open_}")
    user = GameUser(FIRST, FIRST, alone=True)
    assert find_runtime("node", None) == str(shut / "node")
    assert find_runtime("node", user) == str(open_ / "node")
    monkeypatch.setenv("PATH", str(shut))
    with pytest.raises(DriverError, match="closed to other users"):
        find_runtime("node", user)


async def test_variables_of_a_game_do_nothing_before_it_is_the_games_user(
    folder: Path, owners: Owners, driver: ProcessDriver
) -> None:
    """A loader's or a shell's variable makes whoever starts with it do anything: what starts a game has the agent's rights."""
    source = """
#include <unistd.h>
#include <fcntl.h>
#include <stdio.h>
__attribute__((constructor)) static void run(void) {
    char path[200]; snprintf(path, sizeof path, "/tmp/%s-%d", getenv("TRACE"), (int)geteuid());
    close(open(path, O_CREAT | O_WRONLY, 0600));
}
"""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    made = plan(folder, owners, "srv_1", "import os\nprint(os.environ['PLAIN'], flush=True)")
    assert made.user is not None
    (folder / "evil.c").write_text("#include <stdlib.h>\n" + source)
    library = made.folder / "evil.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, folder / "evil.c"], check=True)
    library.chmod(0o755)
    trace = f"meridian-trace-{os.getpid()}"
    plain = "a 'quoted' $(touch /tmp/x) `id`\n\"line two\" \\ end"
    env = {"LD_PRELOAD": str(library), "TRACE": trace, "PLAIN": plain}
    running = await driver.start(dataclasses.replace(made, launch=dataclasses.replace(made.launch, env=env)))
    ended = await running.wait()
    found = sorted(Path("/tmp").glob(f"{trace}-*"))
    for path in found:
        path.unlink()
    assert ended.code == 0, running.console.tail(20)
    assert "\n".join(running.console.tail(20)) == plain, "the game gets what it was given, to the letter"
    assert [path.name for path in found] == [f"{trace}-{made.user.uid}"], "nobody but the game's user ran it"


async def test_a_program_of_an_install_step_has_no_rights_and_leaves_nothing_behind(
    folder: Path, owners: Owners
) -> None:
    (folder / "node.key").write_text("secret")
    (folder / "node.key").chmod(0o600)
    program = f"""
import os, time
print(os.getuid(), flush=True)
try:
    open({str(folder / "node.key")!r}).read()
    print("READ", flush=True)
except PermissionError:
    print("refused", flush=True)
os.mkdir("bin")
open("bin/game", "w").write("made")
if os.fork() == 0:
    os.setsid()
    os.close(1)
    os.close(2)
    time.sleep(600)  # waits for its chance to change what was installed
"""
    steps = from_wire(
        Install,
        {
            "steps": [
                {"kind": "write", "path": "i.py", "content": program},
                {"kind": "installer", "runtime": "python", "file": "i.py"},
                {"kind": "write", "path": "after.txt", "content": "x"},
            ]
        },
    )
    builder = Installer(folder, owners.builder)
    output: deque[str] = deque(maxlen=20)
    user = owners.of("srv_1")
    assert user is not None
    await builder.install(steps, folder / "servers" / "srv_1", user.owner, lambda *_: None, output)
    uid = int(output[0])
    assert uid >= FIRST + COUNT - 1000
    assert output[1] == "refused"
    files = folder / "servers" / "srv_1" / "files"
    assert (files / "bin" / "game").read_text() == "made"
    assert (files / "after.txt").exists()
    assert {path.stat().st_uid for path in (folder / "store" / "objects").rglob("*")} == {0}
    alive = subprocess.run(["ps", "-o", "stat=", "-u", str(uid)], capture_output=True, text=True, check=False)
    assert [state for state in alive.stdout.split() if not state.startswith("Z")] == []
