"""Leaving a machine as it was found."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from agent.config import Config
from agent.drivers.base import DriverError
from agent.drivers.cgroup_v2 import GAMES_SERVICE
from agent.drivers.cgroups import find_groups
from agent.drivers.shim import end_user
from agent.identity import KEY, NODE
from agent.owners import Owners
from agent.storage import DATABASE
from agent.systemd import UNIT_FILE, UNIT_NAME

#: What an agent puts into its folder.
OURS: Final = (
    NODE, f"{KEY}*", ".node.*.tmp", f"{DATABASE}*", "agent.lock", "status.json", ".status.json.new", "driver.told",
    "launcher.sh", "releases", "run", "servers", "work", "cache", "store",
)  # fmt: skip
GROUPS_SECONDS: Final = 5.0  # a killed process leaves its group a moment later


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


def remove_games_service() -> None:
    """End the service that holds the games' groups, after they have gone; systemd removes its group with it."""
    subprocess.run(["systemctl", "stop", GAMES_SERVICE], check=False, capture_output=True)


def is_agents(folder: Path) -> bool:
    """Whether an agent was ever at home in this folder: a mistyped one must not be emptied."""
    return any((folder / name).exists() for name in (DATABASE, NODE, KEY, "releases"))


async def uninstall(config: Config, *, keep_servers: bool) -> tuple[list[str], list[str]]:
    """End every game that runs, and delete keys and journal, releases and what they unpacked: what is an agent's.

    What could not be deleted, and what is somebody else's and was left.

    Raises:
        DriverError: games run in an engine that does not do what it is told; nothing was deleted.
    """
    await _end_games(config)
    kept = {"servers"} if keep_servers else set()
    doomed = [each for each in config.path.iterdir() if _is_ours(each.name) and each.name not in kept]
    unpacked = Path(sys.path[0]).parent.parent
    if unpacked.name == "meridian-agent" and unpacked not in doomed:
        doomed.append(unpacked)  # in the user's cache: a release that was run without its launcher
    for each in doomed:
        (shutil.rmtree(each, ignore_errors=True) if each.is_dir() and not each.is_symlink() else each.unlink())
    stuck = [str(each) for each in doomed if each.exists()]
    left = [each.name for each in config.path.iterdir() if not _is_ours(each.name)]
    with contextlib.suppress(OSError):  # not empty
        config.path.rmdir()
    return stuck, left


def _is_ours(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in OURS)


async def _end_games(config: Config) -> None:
    """Kill what runs, by what lies on the disk: the journal may be damaged, and is of no use any more."""
    from agent.app import make_driver

    driver, owners = make_driver(config), Owners(config.path, config.game_user)
    places = [config.path / "run", config.path / "servers"]
    ids = sorted(
        {
            each.name
            for place in places
            if place.is_dir()
            for each in place.iterdir()
            if each.is_dir() and each.name[0] != "."
        }
    )
    for server_id in ids:
        try:
            await driver.end(server_id)
        except DriverError as error:
            if error.code != "engine_missing":  # without an engine nothing runs in it
                raise
        if (config.path / "servers" / server_id / "files").exists():
            with contextlib.suppress(KeyError):  # a user of the settings that is gone
                user = owners.of(server_id)
                if user is not None and user.alone:
                    end_user(user)
    await driver.close()
    _remove_groups(ids)


def _remove_groups(server_ids: list[str]) -> None:
    deadline, groups = time.monotonic() + GROUPS_SECONDS, find_groups()
    while not groups.clear(server_ids) and time.monotonic() < deadline:
        time.sleep(0.05)
