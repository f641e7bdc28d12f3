"""Limits by control groups, version 2 or 1, where this machine lets the agent make them.

Version 2: https://docs.kernel.org/admin-guide/cgroup-v2.html; version 1: https://docs.kernel.org/admin-guide/cgroup-v1/.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shared.messaging.server_spec import Limits

_PERIOD_US = 100_000
_V1_PARENT = "meridian"
_V1 = ("memory", "cpu", "pids")


@dataclass(frozen=True, slots=True)
class Group:
    """A server's groups: the files a process writes its id into to join, and which limits they hold."""

    join: tuple[Path, ...]
    applied: tuple[str, ...]
    folders: tuple[Path, ...]

    def remove(self) -> None:
        """Remove the groups; one that still holds a process stays."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                folder.rmdir()


NO_GROUP = Group((), (), ())


class Groups:
    """Makes and finds the groups of servers below one parent."""

    def __init__(self, root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> None:
        self._root = root
        self._v2 = (root / "cgroup.controllers").exists()
        self._parent = self._prepare_v2(own) if self._v2 else None

    def _prepare_v2(self, own: Path) -> Path | None:
        """Our own group, as a parent: processes may only live in leaves, so the agent itself moves into one.

        Only a group that was handed to us will do (systemd: `Delegate=yes`); the root group is the machine's.
        """
        try:
            line = next(line for line in own.read_text().splitlines() if line.startswith("0::"))
            parent = self._root / line[3:].strip().lstrip("/")
            if parent.name == "agent" and (parent.parent / "cgroup.subtree_control").exists():
                parent = parent.parent  # we moved there in an earlier life
            if parent == self._root or not os.access(parent / "cgroup.subtree_control", os.W_OK):
                return None
            leaf = parent / "agent"
            leaf.mkdir(exist_ok=True)
            for pid in (parent / "cgroup.procs").read_text().split():
                (leaf / "cgroup.procs").write_text(pid)
            have = (parent / "cgroup.controllers").read_text().split()
            (parent / "cgroup.subtree_control").write_text(" ".join(f"+{c}" for c in _V1 if c in have))
            return parent
        except (OSError, StopIteration):
            return None

    def make(self, server_id: str, limits: Limits) -> Group:
        """The groups of a server with its limits written; whatever cannot be had is left out."""
        if self._v2:
            return self._make_v2(server_id, limits) if self._parent else NO_GROUP
        join: list[Path] = []
        applied: list[str] = []
        folders: list[Path] = []
        for controller, files in _v1_files(limits).items():
            folder = self._root / controller / _V1_PARENT / server_id
            if files and (self._root / controller).is_dir() and _write(folder, files):
                join.append(folder / "cgroup.procs")
                folders.append(folder)
                applied.append({"pids": "processes"}.get(controller, controller))
        return Group(tuple(join), tuple(applied), tuple(folders))

    def clear(self, server_ids: Iterable[str]) -> bool:
        """Remove the groups of these servers; whether none is left (those of version 2 are systemd's to remove)."""
        parents = [] if self._v2 else [self._root / controller / _V1_PARENT for controller in _V1]
        folders = [parent / server_id for parent in parents for server_id in server_ids]
        for folder in (*folders, *parents):
            with contextlib.suppress(OSError):  # a parent stays while another agent's groups are in it
                folder.rmdir()
        return not any(folder.exists() for folder in folders)

    def _make_v2(self, server_id: str, limits: Limits) -> Group:
        assert self._parent is not None
        folder = self._parent / server_id
        applied = [what for what, files in _v2_files(limits).items() if files and _write(folder, files)]
        return Group((folder / "cgroup.procs",), tuple(applied), (folder,)) if applied else NO_GROUP


def _v1_files(limits: Limits) -> dict[str, dict[str, str]]:
    quota = limits.cpu_millicores * _PERIOD_US // 1000
    return {
        "memory": {"memory.limit_in_bytes": str(limits.memory_mib * 1024 * 1024)} if limits.memory_mib else {},
        "cpu": {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota)} if quota else {},
        "pids": {"pids.max": str(limits.processes)} if limits.processes else {},
    }


def _v2_files(limits: Limits) -> dict[str, dict[str, str]]:
    memory = limits.memory_mib * 1024 * 1024
    quota = limits.cpu_millicores * _PERIOD_US // 1000
    return {
        "memory": {"memory.high": str(memory * 9 // 10), "memory.max": str(memory)} if memory else {},
        "cpu": {"cpu.max": f"{quota} {_PERIOD_US}"} if quota else {},
        "processes": {"pids.max": str(limits.processes)} if limits.processes else {},
    }


def _write(folder: Path, files: dict[str, str]) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (folder / name).write_text(value)
    except OSError:
        return False
    return True
