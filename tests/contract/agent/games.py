"""Small games for drivers to run, and plans that run them."""

from __future__ import annotations

import sys
from pathlib import Path

from agent.console import Console
from agent.drivers.base import Driver, Plan, Running
from shared.messaging.server_spec import Launch
from tests.support.waiting import eventually

PYTHON = Path(sys.executable).resolve()
ECHO = """
import sys
print("ready", flush=True)
for line in sys.stdin:
    line = line.strip()
    if line == "stop":
        print("bye", flush=True)
        sys.exit(0)
    if line.startswith("exit "):
        sys.exit(int(line[5:]))
    print("you said", line, flush=True)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


async def until_line(console: Console, text: str) -> None:
    """Wait until a line of the game holds the text."""
    await eventually(lambda: any(text in line for line in console.tail(1000)), text)


def plan(tmp_path: Path, script: str, server_id: str = "srv_1", **changes: object) -> Plan:
    """A server whose game is this script."""
    folder = tmp_path / "servers" / server_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "game.py").write_text(script)
    return Plan(server_id, folder, Launch(("python3", "game.py")), **changes)  # type: ignore[arg-type]


async def started(driver: Driver, made: Plan) -> Running:
    """The server once its game has said that it is ready."""
    running = await driver.start(made)
    await until_line(running.console, "ready")
    return running
