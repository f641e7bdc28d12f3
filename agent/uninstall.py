"""Leaving a machine as it was found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from agent.config import Config
from agent.drivers.cgroups import Groups
from agent.games import end_games
from agent.storage import Storage
from agent.systemd import UNIT_FILE, UNIT_NAME

GROUPS_SECONDS = 5.0  # a killed process leaves its group a moment later


def remove_unit(config: Config) -> bool:
    """Stop the service and take it out of systemd, if it is this folder's; whether it was there."""
    try:
        ours = f"MERIDIAN_AGENT_FOLDER={config.path}" in UNIT_FILE.read_text()
    except OSError:
        return False
    if not ours or os.geteuid() != 0:
        return False
    subprocess.run(["systemctl", "disable", "--now", UNIT_NAME], check=False, capture_output=True)
    UNIT_FILE.unlink(missing_ok=True)
    subprocess.run(["systemctl", "daemon-reload"], check=False, capture_output=True)
    return True


async def uninstall(config: Config, *, keep_servers: bool) -> list[str]:
    """End every game that runs, and delete keys and journal, releases and what they unpacked. What could not be deleted."""
    from agent.app import make_driver

    database = config.path / "agent.db"
    if database.exists():
        storage, driver = Storage(database), make_driver(config)
        await end_games(config, storage, driver, graceful=False)
        await driver.close()
        _remove_groups([server.id for server in storage.servers()])
        storage.close()
    kept = {"servers"} if keep_servers else set()
    doomed = [each for each in config.path.iterdir() if each.name not in kept]  # the last thing this does
    unpacked = Path(sys.path[0]).parent.parent
    if unpacked.name == "meridian-agent" and unpacked not in doomed:
        doomed.append(unpacked)  # in the user's cache: a release that was run without its launcher
    for each in doomed:
        (shutil.rmtree(each, ignore_errors=True) if each.is_dir() and not each.is_symlink() else each.unlink())
    if not kept:
        shutil.rmtree(config.path, ignore_errors=True)
    return [str(each) for each in doomed if each.exists()]


def _remove_groups(server_ids: list[str]) -> None:
    deadline = time.monotonic() + GROUPS_SECONDS
    while not Groups().clear(server_ids) and time.monotonic() < deadline:
        time.sleep(0.05)
