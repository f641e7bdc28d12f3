"""Control groups, version 2: https://docs.kernel.org/admin-guide/cgroup-v2.html. One tree, whose parts are handed out.

Only a group that was handed to us may be divided further, and one that is divided holds no process itself. So the games'
groups hang below a service of their own, which the agent's unit starts and which never restarts (`agent.systemd`):

    system.slice
      meridian-agent.service             the agent; ended and started as it likes
      meridian-games.service             handed over (Delegate=yes); memory, cpu and pids are handed on
        keeper                           the service's one process, which sleeps
        srv_...                          a game with its shim

Below the agent's own service they would be in its way: systemd before 254 cannot start a service whose group is divided,
and to undivide it drops the limits and forgets what memory was taken under them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from agent.drivers import proc
from agent.drivers.base import Usage
from agent.drivers.group import PERIOD_US, Group, kill_each, out_of_memory, quota_us, write_files
from shared.messaging.server_spec import Limits

#: The service that holds the games' groups. The agent's unit starts it.
GAMES_SERVICE: Final = "meridian-games.service"
_GAMES: Final = Path("system.slice") / GAMES_SERVICE
CONTROLLERS: Final = ("memory", "cpu", "pids")
_KEEPER: Final = "keeper"
_AGENT: Final = "agent"  # the leaf that an agent lives in whose own group was handed to it
_SYSTEMD: Final = Path("/run/systemd/system")
_READ: Final = 16_384


class GroupV2(Group):
    """See `Group`."""

    def __init__(self, folder: Path, applied: tuple[str, ...]) -> None:
        self._folder = folder
        self.join, self.applied = (folder / "cgroup.procs",), applied
        self._open: dict[str, int] = {}

    def kill(self) -> None:
        """See `Group.kill`."""
        try:
            (self._folder / "cgroup.kill").write_text("1")  # since Linux 5.14; what forks meanwhile dies as well
        except OSError:
            kill_each(self._folder)

    def remove(self) -> bool:
        """See `Group.remove`."""
        with contextlib.suppress(OSError):
            self._folder.rmdir()
        return not self._folder.exists()

    def why_killed(self) -> str:
        """See `Group.why_killed`."""
        try:
            events = _numbers((self._folder / "memory.events").read_bytes())
            limit = (self._folder / "memory.max").read_text().strip()
        except (OSError, ValueError):
            return ""
        if not events.get("oom_kill"):
            return ""
        # `oom` counts how often the group's own limit stood in the way; else it was the machine's memory, or a parent's.
        own = events.get("oom", 0) > 0 and limit != "max"
        return out_of_memory(int(limit) if own else None)

    def usage(self) -> Usage | None:
        """See `Group.usage`. Cached files that the kernel would drop first do not count as used."""
        try:
            current = int(self._read("memory.current"))
            cached = _numbers(self._read("memory.stat"))["inactive_file"]
            cpu = _numbers(self._read("cpu.stat"))["usage_usec"]
            inside = self._read("cgroup.procs").count(b"\n")
        except (OSError, ValueError, KeyError):
            return None
        return Usage(cpu / 1e6, max(0, current - cached) / 2**20, max(1, inside - 1))  # one of them is the shim

    def _read(self, name: str) -> bytes:
        if name not in self._open:
            self._open[name] = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._open[name], _READ, 0)

    def close(self) -> None:
        """See `Group.close`."""
        while self._open:
            os.close(self._open.popitem()[1])


class GroupsV2:
    """See `Groups`."""

    def __init__(self, root: Path, own: Path) -> None:
        """`root` is where the tree is mounted, `own` tells our place in it."""
        self._root = root
        self.parent = _prepared(root, own)

    def make(self, server_id: str, limits: Limits) -> Group:
        """See `Groups.make`. Without any limit it is a group as well: it counts, and it is ended as one."""
        if self.parent is None:
            return Group()
        folder = self.parent / server_id
        old = self.left(server_id)  # whoever ended it has waited for that
        old.kill()
        old.remove()
        try:
            folder.mkdir(exist_ok=True)
        except OSError:
            return Group()
        return GroupV2(folder, _write(folder, limits))

    def of(self, server_id: str, pid: int, limits: Limits | None = None) -> Group:
        """See `Groups.of`."""
        try:
            folder = _place(self._root, Path(f"/proc/{pid}/cgroup"))
        except (OSError, ValueError):
            return Group()
        if folder.name != server_id:
            return Group()
        return GroupV2(folder, _write(folder, limits) if limits is not None else ())

    def left(self, server_id: str) -> Group:
        """See `Groups.left`."""
        folder = self.parent / server_id if self.parent is not None else None
        return GroupV2(folder, ()) if folder is not None and folder.is_dir() else Group()

    def clear(self, server_ids: Iterable[str]) -> bool:
        """See `Groups.clear`. What hangs below a service that was stopped while games ran is nobody's else to remove."""
        gone = [self.left(server_id).remove() for server_id in server_ids]
        for folder in (self.parent / _KEEPER, self.parent) if self.parent is not None else ():
            with contextlib.suppress(OSError):
                folder.rmdir()
        return all(gone)


def place_for_games(root: Path, own: Path) -> Path | None:
    """The group below which those of games go; None if none was handed to us. Changes nothing."""
    places = [root / _GAMES]
    with contextlib.suppress(OSError, ValueError):
        ours = _place(root, own)
        if ours.name == _AGENT:  # systemd 254 put us there (DelegateSubgroup=agent), or we did in an earlier life
            places.append(ours.parent)
        elif not _SYSTEMD.exists() and ours != root and _alone(ours):  # else it is systemd's, or a shell's as well
            places.append(ours)
    return next((place for place in places if os.access(place / "cgroup.subtree_control", os.W_OK)), None)


def _alone(group: Path) -> bool:
    """Whether nobody is in a group but we and those whom we started."""
    return set(map(int, (group / "cgroup.procs").read_text().split())) <= set(proc.family(os.getpid()))


def _prepared(root: Path, own: Path) -> Path | None:
    """The group below which those of games go, with its processes in a leaf and its controllers handed on."""
    parent = place_for_games(root, own)
    if parent is None:
        return None
    try:
        inside = (parent / "cgroup.procs").read_text().split()
        leaf = parent / (_KEEPER if parent.name == GAMES_SERVICE else _AGENT)
        if inside:
            leaf.mkdir(exist_ok=True)
        for pid in inside:
            (leaf / "cgroup.procs").write_text(pid)
    except OSError:
        return None
    for controller in CONTROLLERS:  # each for itself: one that cannot be had does not take the others with it
        write_files(parent, {"cgroup.subtree_control": f"+{controller}"})
    return parent


def _place(root: Path, told: Path) -> Path:
    """The group that a `cgroup` file of /proc tells.

    Raises:
        OSError, ValueError: it tells none.
    """
    line = next((line for line in told.read_text().splitlines() if line.startswith("0::/")), None)
    if line is None or line.startswith("0::/.."):  # that would be above the part of the tree which we are shown
        raise ValueError(f"{told} names no group of ours")
    return root / line[4:]


def _write(folder: Path, limits: Limits) -> tuple[str, ...]:
    """Write limits into a group; which of them the kernel took."""
    memory, quota = limits.memory_mib * 1024 * 1024, quota_us(limits)
    # No memory.high: a game that goes on growing is not killed then but slowed down near its limit until nobody can play,
    # for many minutes and without a word.
    wanted = {
        "memory": {"memory.max": str(memory)} if memory else {},
        "cpu": {"cpu.max": f"{quota} {PERIOD_US}"} if quota else {},
        "processes": {"pids.max": str(limits.processes)} if limits.processes else {},
    }
    if (
        memory
    ):  # as with containers: the limit is not to be got round by swapping. A kernel without swap has no such file
        write_files(folder, {"memory.swap.max": "0"})
    return tuple(name for name, files in wanted.items() if files and write_files(folder, files))


def _numbers(text: bytes) -> dict[str, int]:
    """A file of lines `name number`."""
    return {name.decode(): int(number) for name, number in (line.split() for line in text.splitlines())}
