"""Control groups, version 1: https://docs.kernel.org/admin-guide/cgroup-v1/. One tree for each controller."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agent.drivers.group import PERIOD_US, Group, kill_each, out_of_memory, quota_us, write_files
from shared.messaging.server_spec import Limits

_PARENT: Final = "meridian"
_CONTROLLERS: Final = ("memory", "cpu", "pids")
_NAMES: Final = {"pids": "processes"}


class GroupV1(Group):
    """See `Group`: a folder in each controller's tree."""

    def __init__(self, folders: dict[str, Path]) -> None:
        """`folders` are by controller."""
        self._folders = folders
        self.join = tuple(folder / "cgroup.procs" for folder in folders.values())
        self.applied = tuple(_NAMES.get(controller, controller) for controller in folders)

    def kill(self) -> None:
        """See `Group.kill`."""
        for folder in self._folders.values():
            kill_each(folder)

    def remove(self) -> bool:
        """See `Group.remove`."""
        for folder in self._folders.values():
            with contextlib.suppress(OSError):
                folder.rmdir()
        return not any(folder.exists() for folder in self._folders.values())

    def why_killed(self) -> str:
        """See `Group.why_killed`. Of version 1 only groups with a limit are asked, so it was theirs."""
        folder = self._folders.get("memory")
        if folder is None:
            return ""
        try:
            lines = (folder / "memory.oom_control").read_text().splitlines()
            limit = int((folder / "memory.limit_in_bytes").read_text())
        except (OSError, ValueError):
            return ""
        killed = any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)  # told since Linux 4.13
        return out_of_memory(limit) if killed else ""


class GroupsV1:
    """See `Groups`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _folder(self, controller: str, server_id: str) -> Path:
        return self._root / controller / _PARENT / server_id

    def make(self, server_id: str, limits: Limits) -> Group:
        """See `Groups.make`."""
        old = self.left(server_id)  # whoever ended it has waited for that
        old.kill()
        old.remove()
        return self._limited(server_id, limits, _CONTROLLERS)

    def _limited(self, server_id: str, limits: Limits, controllers: Iterable[str]) -> Group:
        wanted = _files(limits)
        folders: dict[str, Path] = {}
        for controller in controllers:
            folder, files = self._folder(controller, server_id), wanted[controller]
            if not files or not (self._root / controller).is_dir():
                continue
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                if write_files(folder, files):
                    folders[controller] = folder
        return GroupV1(folders)

    def of(self, server_id: str, pid: int, limits: Limits | None = None) -> Group:
        """See `Groups.of`."""
        there = [one for one in _CONTROLLERS if _is_in(self._folder(one, server_id), pid)]
        if limits is not None:
            self._limited(server_id, limits, there)
        return GroupV1({one: self._folder(one, server_id) for one in there})

    def left(self, server_id: str) -> Group:
        """See `Groups.left`."""
        folders = {one: self._folder(one, server_id) for one in _CONTROLLERS}
        return GroupV1({one: folder for one, folder in folders.items() if folder.is_dir()})

    def clear(self, server_ids: Iterable[str]) -> bool:
        """See `Groups.clear`. The parents go too, unless another agent's groups are in them."""
        gone = [self.left(server_id).remove() for server_id in server_ids]
        for controller in _CONTROLLERS:
            with contextlib.suppress(OSError):
                (self._root / controller / _PARENT).rmdir()
        return all(gone)


def _is_in(folder: Path, pid: int) -> bool:
    try:
        return str(pid) in (folder / "cgroup.procs").read_text().split()
    except OSError:
        return False


def _files(limits: Limits) -> dict[str, dict[str, str]]:
    quota = quota_us(limits)
    return {
        "memory": {"memory.limit_in_bytes": str(limits.memory_mib * 1024 * 1024)} if limits.memory_mib else {},
        "cpu": {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota)} if quota else {},
        "pids": {"pids.max": str(limits.processes)} if limits.processes else {},
    }
