"""Limits under control groups of version 2, on a kernel that has it: here, or in one of our own (`test_kernel.py`)."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from agent.drivers.base import Plan
from agent.drivers.cgroup_v2 import GAMES_SERVICE, GroupsV2, place_for_games
from agent.drivers.cgroups import ROOT, is_v2
from agent.drivers.process import ProcessDriver
from agent.drivers.process_server import ProcessServer
from agent.drivers.programs import find_runtime
from shared.messaging.server_spec import Launch, Limits, Stop
from tests.contract.agent.games import until_line
from tests.support.waiting import eventually

pytestmark = pytest.mark.skipif(
    not is_v2() or os.geteuid() != 0, reason="needs root and control groups v2; test_kernel.py runs these where it can"
)
CONTROLLERS = ("memory", "cpu", "pids")
SLEEP = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
HOG = "hog = b'x' * (1 << 27)"
LIMITS = Limits(memory_mib=48, processes=20)
SLOW = Limits(memory_mib=48, cpu_millicores=500, processes=20)


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Path]:
    """A group that is handed to an agent, with one process in it."""
    # What a game reads of the disk first is counted as its own: a small limit is soon all Python, given back and read anew.
    subprocess.run([find_runtime("python3", None), "-c", "import subprocess"], check=True)
    for controller in CONTROLLERS:
        (ROOT / "cgroup.subtree_control").write_text(f"+{controller}")
    unit = ROOT / f"meridian-test-{os.getpid()}"
    unit.mkdir()
    # Nobody's child: not a process of ours, as those in a shell's group are.
    agent = subprocess.run(
        ["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!"], capture_output=True, text=True, check=True
    )
    (unit / "cgroup.procs").write_text(agent.stdout)
    (tmp_path / "own").write_text(f"0::/{unit.name}/agent\n")
    yield unit
    (unit / "cgroup.kill").write_text("1")
    for folder in (*(each for each in unit.iterdir() if each.is_dir()), unit):
        _remove(folder)


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            return folder.rmdir()
        except OSError:
            assert time.monotonic() < deadline, f"{folder} holds {(folder / 'cgroup.procs').read_text()}"
            time.sleep(0.02)


@pytest.fixture
async def make_driver(unit: Path, tmp_path: Path) -> AsyncIterator[Callable[[], ProcessDriver]]:
    """Makes a driver, and makes another one over the same servers, as a restarted agent does."""
    made: list[ProcessDriver] = []

    def make() -> ProcessDriver:
        made.append(ProcessDriver(tmp_path / "run", GroupsV2(ROOT, tmp_path / "own"), ("python3",)))
        return made[-1]

    yield make
    for driver in made:
        for running in tuple(driver._running.values()):
            await running.kill()
        await driver.close()


def plan(tmp_path: Path, script: str, limits: Limits = LIMITS) -> Plan:
    folder = tmp_path / "servers" / "srv_1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "game.py").write_text(script)
    return Plan("srv_1", folder, Launch(("python3", "game.py")), limits)


def numbers(file: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in file.read_text().splitlines())}


def members(folder: Path) -> set[int]:
    return set(map(int, (folder / "cgroup.procs").read_text().split()))


async def started(driver: ProcessDriver, plan: Plan) -> ProcessServer:
    running = await driver.start(plan)
    await until_line(running.console, "ready")
    return running


async def test_a_game_has_a_group_below_the_one_that_was_handed_over(
    make_driver: Callable[[], ProcessDriver], unit: Path, tmp_path: Path
) -> None:
    there = members(unit)
    running = await started(make_driver(), plan(tmp_path, SLEEP, SLOW))
    assert (members(unit), members(unit / "agent")) == (set(), there)  # a group that is divided holds no process
    assert set((unit / "cgroup.subtree_control").read_text().split()) == set(CONTROLLERS)
    assert members(unit / "srv_1") == {running._shim, running.pid}
    assert running.limits_applied == ("memory", "cpu", "processes")
    wanted = {
        "memory.max": str(48 << 20),
        "memory.high": "max",
        "memory.swap.max": "0",
        "cpu.max": "50000 100000",
        "pids.max": "20",
    }
    assert {name: (unit / "srv_1" / name).read_text().strip() for name in wanted} == wanted
    await running.stop(Stop())
    assert not (unit / "srv_1").exists()


async def test_a_game_that_takes_more_memory_is_killed_and_the_reason_named(
    make_driver: Callable[[], ProcessDriver], unit: Path, tmp_path: Path
) -> None:
    ended = await (await make_driver().start(plan(tmp_path, HOG))).wait()
    assert ended.code == -signal.SIGKILL
    assert ended.how.startswith("with code -9 (out of memory: it wanted more than its limit of 48 MiB")
    assert not (unit / "srv_1").exists()


async def test_swap_is_no_way_round_the_limit(make_driver: Callable[[], ProcessDriver], tmp_path: Path) -> None:
    if len(Path("/proc/swaps").read_text().splitlines()) < 2:
        pytest.skip("this machine has no swap")
    modest = "hog = b'x' * (80 << 20)\nprint('ready', flush=True)"
    ended = await (await make_driver().start(plan(tmp_path, modest))).wait()
    assert (ended.code, "its limit of 48 MiB" in ended.killed) == (-signal.SIGKILL, True)


async def test_a_helper_that_is_killed_is_counted_and_named_only_if_the_game_fails(
    make_driver: Callable[[], ProcessDriver], unit: Path, tmp_path: Path
) -> None:
    driver = make_driver()
    for code in (0, 3):
        helper = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {HOG!r}])\nprint('helped', {code}, flush=True)"
        running = await driver.start(plan(tmp_path, f"{helper}\ninput()\nsys.exit({code})"))
        await until_line(running.console, f"helped {code}")
        events = numbers(unit / "srv_1" / "memory.events")
        # Those of this run: the group began anew.
        assert (events["oom_kill"], events["oom"] >= 1) == (1, True), (events, running.console.tail(9))
        running.write("")
        ended = await running.wait()
        assert (ended.code, "out of memory" in ended.how) == (code, code != 0)


async def test_processor_time_is_held_back(
    make_driver: Callable[[], ProcessDriver], unit: Path, tmp_path: Path
) -> None:
    running = await started(make_driver(), plan(tmp_path, "print('ready', flush=True)\nwhile True: pass", SLOW))
    group = unit / "srv_1"
    before, began = numbers(group / "cpu.stat"), time.monotonic()
    await asyncio.sleep(2)
    after, lasted = numbers(group / "cpu.stat"), time.monotonic() - began
    assert after["nr_throttled"] > before["nr_throttled"]
    assert after["throttled_usec"] > before["throttled_usec"]
    assert (after["usage_usec"] - before["usage_usec"]) / 1e6 / lasted < 0.7  # allowed is a half, and it wants all
    assert running.limits_applied == ("memory", "cpu", "processes")


async def test_no_more_processes_than_allowed(
    make_driver: Callable[[], ProcessDriver], unit: Path, tmp_path: Path
) -> None:
    script = (
        "import os, time\nmade = 0\ntry:\n    while True:\n        if os.fork() == 0: time.sleep(600)\n        made += 1\n"
        "except BlockingIOError: print('made', made, flush=True)\nprint('ready', flush=True)\ntime.sleep(600)"
    )
    running = await started(make_driver(), plan(tmp_path, script))
    assert "made 18" in running.console.tail(5)  # and the shim, and itself
    assert numbers(unit / "srv_1" / "pids.events")["max"] >= 1


@pytest.mark.parametrize("how", ["killed", "ended"])
async def test_all_of_it_ends_even_what_has_left_its_session(
    make_driver: Callable[[], ProcessDriver], unit: Path, tmp_path: Path, how: str
) -> None:
    script = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(600)\n    os._exit(0)\n"
        "os.wait()\nprint('ready', flush=True)\ninput()"
    )
    running = await started(make_driver(), plan(tmp_path, script))
    inside = members(unit / "srv_1")
    assert len(inside) == 3  # shim, game, and the one that got away
    if how == "killed":
        await running.kill()
    else:
        running.write("")
        assert (await running.wait()).code == 0
    assert not (unit / "srv_1").exists()
    assert not [pid for pid in inside if Path(f"/proc/{pid}").exists() and _state(pid) not in "ZX"]


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


async def test_a_restarted_agent_finds_game_and_group_and_writes_the_limits_again(
    make_driver: Callable[[], ProcessDriver], unit: Path, tmp_path: Path
) -> None:
    first = make_driver()
    before = await started(first, plan(tmp_path, SLEEP))
    inside, used = members(unit / "srv_1"), before.usage()
    await first.close()
    (unit / "srv_1" / "memory.max").write_text("max")
    running = await make_driver().adopt(plan(tmp_path, SLEEP), before.handle)
    assert running is not None
    assert running.limits_applied == ("memory", "processes")
    assert (unit / "srv_1" / "memory.max").read_text().strip() == str(48 << 20)
    assert members(unit / "srv_1") == inside
    now = running.usage()
    assert used is not None
    assert now is not None
    assert now.cpu_seconds >= used.cpu_seconds > 0
    await running.kill()
    assert not (unit / "srv_1").exists()


async def test_a_game_that_was_killed_while_no_agent_looked_is_told_with_the_reason(
    make_driver: Callable[[], ProcessDriver], unit: Path, tmp_path: Path
) -> None:
    first = make_driver()
    running = await started(first, plan(tmp_path, f"print('ready', flush=True)\ninput()\n{HOG}"))
    stdin = os.open(tmp_path / "run" / "srv_1" / "stdin", os.O_WRONLY)
    await first.close()
    os.write(stdin, b"\n")
    os.close(stdin)
    await eventually(lambda: not members(unit / "srv_1"), "it was killed")
    second = make_driver()
    assert await second.adopt(plan(tmp_path, SLEEP), running.handle) is None
    ended = await second.last_exit(running.handle)
    assert (ended.code, "its limit of 48 MiB" in ended.killed) == (-signal.SIGKILL, True)
    assert not (unit / "srv_1").exists()


async def test_a_game_of_which_nothing_is_known_is_ended_as_a_whole(
    make_driver: Callable[[], ProcessDriver], unit: Path, tmp_path: Path
) -> None:
    first = make_driver()
    await started(first, plan(tmp_path, SLEEP))
    await first.close()
    await make_driver().end("srv_1")
    assert not (unit / "srv_1").exists()


async def test_what_it_uses_is_the_groups_and_cached_files_are_none_of_it(
    make_driver: Callable[[], ProcessDriver], unit: Path, tmp_path: Path
) -> None:
    node = shutil.which("node") or sys.executable
    descriptor = os.open(node, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # so that the game is who reads it from the disk
    os.close(descriptor)
    script = (
        f"hog, file = b'x' * (30 << 20), open({node!r}, 'rb')\nfor n in range(20): file.read(1 << 20)\n"
        "print('ready', flush=True)\ninput()"
    )
    limits = Limits(memory_mib=256)
    running = await started(make_driver(), plan(tmp_path, script, limits))
    used, group = running.usage(), unit / "srv_1"
    assert used is not None
    cached = numbers(group / "memory.stat")["inactive_file"] / 2**20
    current = int((group / "memory.current").read_text()) / 2**20
    assert cached > 10
    assert 30 < used.memory_mib < 60
    assert abs(used.memory_mib - (current - cached)) < 2
    assert abs(used.cpu_seconds - numbers(group / "cpu.stat")["usage_usec"] / 1e6) < 0.5
    assert used.processes == 1


async def test_a_group_that_nobody_handed_over_is_left_alone(unit: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    for told in ("0::/\n", f"0::/{unit.name}\n", "0::/../elsewhere\n", "1:name=systemd:/\n"):
        own.write_text(told)
        assert place_for_games(ROOT, own) in (None, ROOT / "system.slice" / GAMES_SERVICE), told
    own.write_text("0::/\n")
    driver = ProcessDriver(tmp_path / "run", GroupsV2(ROOT, own), ("python3",))
    running = await started(driver, plan(tmp_path, SLEEP))
    assert (running.limits_applied, running.usage() is not None) == ((), True)
    assert members(unit), "its process was left where it was"
    await running.kill()
    await driver.close()


def test_an_agent_alone_in_its_group_may_divide_it(unit: Path) -> None:
    """As an agent does that another supervisor than systemd keeps."""
    if Path("/run/systemd/system").exists():
        pytest.skip("here all groups are systemd's")
    ours = ROOT / f"{unit.name}-alone"
    ours.mkdir()
    script = (
        f"import os\nopen('{ours}/cgroup.procs', 'w').write(str(os.getpid()))\n"
        "from agent.drivers.cgroups import find_groups\nprint(find_groups().parent)\nprint(open('/proc/self/cgroup').read())\n"
        "print(find_groups().parent)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(ours), f"0::/{ours.name}/agent", str(ours)]
    _remove(ours / "agent")
    _remove(ours)
