"""What each driver must hold: the same tests for processes and for containers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.drivers import proc
from agent.drivers.base import Driver, DriverError, Plan
from agent.drivers.container import ContainerDriver
from agent.drivers.process import ProcessDriver
from shared.messaging.server_spec import Launch, Limits, Stop
from tests.contract.agent.games import ECHO, STUBBORN, plan, started, until_line
from tests.support.podman import IMAGE, Podman
from tests.support.waiting import eventually


async def test_it_runs_talks_and_stops_by_its_own_command(driver: Driver, tmp_path: Path) -> None:
    running = await started(driver, plan(tmp_path, ECHO))
    running.write("hello; rm -rf $HOME `id`")
    await until_line(running.console, "you said hello; rm -rf $HOME `id`")
    ended = await running.stop(Stop("command", "stop", 10))
    assert ended.code == 0
    assert ended.clean
    assert running.console.tail(1) == ("bye",)
    assert running.usage() is None
    with pytest.raises(DriverError, match="does not run"):
        running.write("anyone?")


@pytest.mark.parametrize("code", [0, 3, 200])
async def test_the_exit_code_is_the_games(driver: Driver, tmp_path: Path, code: int) -> None:
    running = await started(driver, plan(tmp_path, ECHO))
    running.write(f"exit {code}")
    assert (await running.wait()).code == code


async def test_a_signal_ends_it_and_is_told_as_a_signal(driver: Driver, tmp_path: Path) -> None:
    running = await started(driver, plan(tmp_path, "print('ready', flush=True)\nimport time\ntime.sleep(600)"))
    assert (await running.stop(Stop("signal", "SIGTERM", 10))).code == -signal.SIGTERM


async def test_one_that_will_not_stop_is_killed_after_its_own_time(driver: Driver, tmp_path: Path) -> None:
    running = await started(driver, plan(tmp_path, STUBBORN))
    ended = await running.stop(Stop("signal", "SIGTERM", 1))
    assert ended.code in (None, -signal.SIGKILL)


async def test_children_die_with_it(driver: Driver, tmp_path: Path) -> None:
    script = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("ready", child.pid, flush=True)
time.sleep(600)
"""
    running = await started(driver, plan(tmp_path, script))
    usage = running.usage()
    assert usage is not None
    assert usage.processes >= 2
    assert running.pid is not None
    family = list(proc.family(running.pid))  # the console tells the id of its own namespace
    assert len(family) >= 2
    await running.kill()
    await eventually(lambda: not any(_alive(one) for one in family), "all of them are gone")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


async def test_it_survives_the_agent_and_is_found_again(
    driver: Driver, make_driver: Callable[[], Driver], tmp_path: Path
) -> None:
    made = plan(tmp_path, ECHO)
    running = await started(driver, made)
    running.write("one")
    await until_line(running.console, "you said one")
    pid, before = running.pid, running.console.next_number
    await driver.close()

    second = make_driver()
    found = await second.adopt(made, running.handle)
    assert found is not None
    assert found.pid == pid
    await eventually(lambda: found.console.next_number == before, "the ring is filled anew")
    assert found.console.tail(1) == ("you said one",)
    assert "ready" in found.console.tail(3)
    found.write("exit 7")
    assert (await found.wait()).code == 7
    assert await second.adopt(made, running.handle) is None
    assert (await second.last_exit(running.handle)).code == 7
    await second.close()


async def test_a_game_whose_handle_was_lost_is_found_and_can_be_ended(
    make_driver: Callable[[], Driver], tmp_path: Path
) -> None:
    first = make_driver()
    assert await first.find("srv_1") is None
    await first.end("srv_1")
    made = plan(tmp_path, ECHO)
    await started(first, made)
    await first.close()
    second = make_driver()
    handle = await second.find("srv_1")
    assert handle is not None
    running = await second.adopt(made, handle)
    assert running is not None
    running.write("hello")
    await until_line(running.console, "you said hello")
    await second.end("srv_1")
    await running.wait()
    assert await second.find("srv_1") is None
    await second.close()


async def test_another_process_with_the_same_id_is_not_adopted(tmp_path: Path) -> None:
    driver = ProcessDriver(tmp_path / "run", runtimes=("python3",))
    made = plan(tmp_path, ECHO)
    running = await started(driver, made)
    forged = running.handle.token.replace('"start": ', '"start": 1')
    assert await driver.adopt(made, type(running.handle)("srv_1", forged, 0.0)) is None
    assert await driver.adopt(made, type(running.handle)("srv_1", "{}", 0.0)) is None
    await running.kill()
    await driver.close()


@pytest.mark.parametrize(
    ("launch", "code"),
    [
        (Launch(("./link/evil",)), "path_escapes"),
        (Launch(("../evil",)), "path_escapes"),
        (Launch(("./game.py",)), "no_such_program"),
        (Launch(("python3", "game.py"), directory="link"), "path_escapes"),
        (Launch(("python3", "game.py"), directory="absent"), "no_such_folder"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_leads_out_of_the_folder_is_refused(
    driver: Driver, tmp_path: Path, launch: Launch, code: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "evil").write_text("#!/bin/sh\ntouch evil\n")
    (outside / "evil").chmod(0o755)
    made = plan(tmp_path, ECHO)
    (made.folder / "link").symlink_to(outside)
    with pytest.raises(DriverError) as refused:
        await driver.start(Plan(made.server_id, made.folder, launch))
    assert refused.value.code == code
    assert not list(tmp_path.rglob("evil"))[1:]


@pytest.mark.parametrize(
    ("program", "code"), [("/bin/sh", "path_escapes"), ("sh", "no_such_program"), ("env", "no_such_program")]
)
async def test_a_process_is_none_of_the_machines_programs(tmp_path: Path, program: str, code: str) -> None:
    driver = ProcessDriver(tmp_path / "run", runtimes=("python3",))
    made = plan(tmp_path, ECHO)
    with pytest.raises(DriverError) as refused:
        await driver.start(Plan(made.server_id, made.folder, Launch((program, "-c", "touch evil"))))
    assert refused.value.code == code
    assert not list(tmp_path.rglob("evil"))


async def test_in_a_container_any_program_of_the_image_runs_and_sees_nothing_of_the_machine(
    podman: Podman, tmp_path: Path
) -> None:
    driver = ContainerDriver(tmp_path / "run", podman.socket)
    made = plan(
        tmp_path, f"import os\nprint(os.getcwd(), os.path.exists({str(tmp_path)!r}), flush=True)\nprint('ready')"
    )
    launch = Launch(("/usr/bin/python3", "/home/container/game.py"))
    running = await driver.start(Plan(made.server_id, made.folder, launch, image=IMAGE))
    assert (await running.wait()).code == 0
    assert running.console.tail(2)[0] == "/home/container False"
    await driver.close()


async def test_an_image_that_cannot_be_had_is_told(podman: Podman, tmp_path: Path) -> None:
    driver = ContainerDriver(tmp_path / "run", podman.socket)
    with pytest.raises(DriverError) as refused:
        await driver.fetch("127.0.0.1:1/nobody/nothing:1")
    assert refused.value.code == "image_missing"
    await driver.fetch(IMAGE)
    await driver.close()


async def test_a_server_runs_once(driver: Driver, tmp_path: Path) -> None:
    await started(driver, plan(tmp_path, ECHO))
    with pytest.raises(DriverError, match=r"runs as process|runs already"):
        await driver.start(plan(tmp_path, ECHO))


async def test_the_agents_environment_is_not_the_games(driver: Driver, tmp_path: Path) -> None:
    os.environ["MERIDIAN_TEST_SECRET"] = "s3cret"
    try:
        script = (
            "import os\nprint(sorted(os.environ), flush=True)\nprint('ready', flush=True)\nimport time; time.sleep(60)"
        )
        running = await started(driver, plan(tmp_path, script))
    finally:
        del os.environ["MERIDIAN_TEST_SECRET"]
    assert "MERIDIAN_TEST_SECRET" not in running.console.tail(2)[0]


async def test_memory_limit_where_it_can_be_had(driver: Driver, tmp_path: Path) -> None:
    script = "print('ready', flush=True)\nhog = bytearray()\nwhile True: hog += bytes(range(256)) * 4096"
    running = await driver.start(plan(tmp_path, script, limits=Limits(memory_mib=64)))
    if "memory" not in running.limits_applied:
        await running.kill()
        pytest.skip("this machine lets nobody limit memory")
    ended = await running.wait()
    assert ended.code == -signal.SIGKILL
    if isinstance(driver, ContainerDriver):
        found = await driver.engine.call("GET", "/containers/meridian-srv_1/json")
        if not found["State"]["OOMKilled"]:
            pytest.skip("this engine does not tell that memory ran out (podman before 5.0 never does)")
    assert ended.how.startswith("with code -9 (out of memory: it wanted more than its limit of 64 MiB"), ended


async def test_a_flood_costs_lines_but_no_memory_and_numbers_go_on(tmp_path: Path) -> None:
    driver = ProcessDriver(tmp_path / "run", runtimes=("python3",))  # an engine keeps its own log, far slower
    script = "print('ready', flush=True)\nfor n in range(400000): print('line', n)\nprint('end', flush=True)"
    running = await driver.start(plan(tmp_path, script))
    assert (await running.wait()).code == 0
    assert running.console.tail(1) == ("end",)
    assert running.console.next_number == 400_003
    lost, kept = running.console.since(0)
    assert lost + len(kept) == 400_002
    assert len(kept) <= 1000
