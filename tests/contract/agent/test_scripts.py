"""Install scripts in containers of their own: what they may, what comes of them, and that nothing of them stays."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.drivers.engine import Engine
from agent.servers.errors import StepFailed
from agent.servers.scripts import ScriptRunner
from agent.servers.steps import Work, perform
from agent.servers.workshop import Workshop
from shared.messaging.server_install import Script
from tests.support.podman import IMAGE, Podman

WRITES = """
import os, sys
print("installing", os.environ["VERSION"], os.getuid(), flush=True)
open("/mnt/server/game.txt", "w").write(os.environ["VERSION"])
os.chown("/mnt/server/game.txt", 1234, 1234)
try:
    open("/mnt/install/install.sh", "a")
except OSError:
    print("its own text is not its to write", flush=True)
"""


def step(script: str, **more: object) -> Script:
    return Script(IMAGE, script, entrypoint="/usr/bin/python3", **more)  # type: ignore[arg-type]


def work(folder: Path, runner: ScriptRunner | None, said: list[str], seconds: float = 60) -> Work:
    shop = Workshop(folder)
    shop.open()
    return Work(shop, seconds, said.append, lambda _: None, scripts=runner)


@pytest.fixture
def engine(podman: Podman) -> Engine:
    return Engine(podman.socket)


async def containers(engine: Engine) -> list[str]:
    return [
        each["Id"]
        for each in await engine.call("GET", "/containers/json?all=1")
        if "meridian.install" in each["Labels"]
    ]


async def test_a_script_installs_what_it_wants_and_leaves_nothing_else(engine: Engine, tmp_path: Path) -> None:
    said: list[str] = []
    runner = ScriptRunner(engine, "other/*, meridian-test:*", "none")
    await perform(step(WRITES, env={"VERSION": "1.2"}), work(tmp_path / "staging", runner, said))
    assert said == ["installing 1.2 0", "its own text is not its to write"]
    made = tmp_path / "staging" / "files" / "game.txt"
    assert made.read_text() == "1.2"
    assert made.stat().st_uid == 0
    assert await containers(engine) == []
    assert sorted(each.name for each in (tmp_path / "staging").iterdir()) == ["files", "home"]


async def test_no_image_is_allowed_unless_the_nodes_owner_says_so(engine: Engine, tmp_path: Path) -> None:
    for runner in (ScriptRunner(engine, "", "none"), ScriptRunner(engine, "ghcr.io/*", "none"), None):
        with pytest.raises(StepFailed) as failed:
            await perform(step("print(1)"), work(tmp_path / "staging", runner, []))
        assert failed.value.code == "script_not_allowed"


async def test_a_script_that_fails_is_a_failed_install(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="ended with code 3") as failed:
        await perform(
            step("import sys; sys.exit(3)"), work(tmp_path / "staging", ScriptRunner(engine, "*", "none"), [])
        )
    assert failed.value.code == "script_failed"


@pytest.mark.parametrize("how", ["time", "cancel"])
async def test_a_script_that_does_not_end_is_ended(engine: Engine, tmp_path: Path, how: str) -> None:
    said: list[str] = []
    runner = ScriptRunner(engine, "*", "none")
    doing = asyncio.create_task(
        perform(
            step("import time; print('sleeps', flush=True); time.sleep(600)"),
            work(tmp_path / "staging", runner, said, 5 if how == "time" else 60),
        )
    )
    if how == "cancel":
        async with asyncio.timeout(30):
            while not said:
                await asyncio.sleep(0.05)
        doing.cancel()
    with pytest.raises(asyncio.CancelledError if how == "cancel" else StepFailed):
        await doing
    assert await containers(engine) == []
