"""What a server's processes live in together, where the kernel has such a thing: limited, counted and ended as one."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

from agent.drivers.base import Usage
from shared.messaging.server_spec import Limits

PERIOD_US: Final = 100_000
_LEAST_QUOTA_US: Final = 1_000  # the kernel takes no less
_VANISH_SECONDS: Final = 5.0
_VANISH_POLL: Final = 0.02


class Group:
    """A server's group; this one is none: nothing is limited, and nothing is known."""

    #: Files that a process writes its id into to join.
    join: tuple[Path, ...] = ()
    #: Which limits it holds: see `agent.drivers.base.Running.limits_applied`.
    applied: tuple[str, ...] = ()

    def kill(self) -> None:
        """End all that is in it now."""

    def remove(self) -> bool:
        """Remove it; False while a process is still in it."""
        return True

    def why_killed(self) -> str:
        """A sentence, if the kernel killed some of it because memory ran out."""
        return ""

    def usage(self) -> Usage | None:
        """What is used in it; None where the kernel does not count it."""
        return None

    def close(self) -> None:
        """Let go of what is held open."""


class Groups(Protocol):
    """Makes groups of servers, and finds them again."""

    def make(self, server_id: str, limits: Limits) -> Group:
        """A new group with its limits written; whatever cannot be had is left out."""

    def of(self, server_id: str, pid: int, limits: Limits | None = None) -> Group:
        """The group that a server's process lives in, whoever made it; with its limits written again, if some are given."""

    def left(self, server_id: str) -> Group:
        """What is left of the group of a server that has ended."""

    def clear(self, server_ids: Iterable[str]) -> bool:
        """Remove the groups of these servers; whether none is left."""


def quota_us(limits: Limits) -> int:
    """CPU time a period; 0 is no limit."""
    return max(limits.cpu_millicores * PERIOD_US // 1000, _LEAST_QUOTA_US) if limits.cpu_millicores else 0


def write_files(folder: Path, files: dict[str, str]) -> bool:
    """Write what is to be set in a group; whether the kernel took all of it."""
    try:
        for name, value in files.items():
            (folder / name).write_text(value)
    except OSError:
        return False
    return True


def out_of_memory(limit_bytes: int | None) -> str:
    """The sentence of `Group.why_killed`; without a limit it was the machine's memory that ran out."""
    whose = f"it wanted more than its limit of {limit_bytes >> 20} MiB" if limit_bytes else "the machine had none left"
    return f"out of memory: {whose}, and the kernel killed the largest of its processes"


def kill_each(folder: Path) -> None:
    """Kill one by one, where the kernel cannot kill a whole group. What forks meanwhile is met by the next call."""
    with contextlib.suppress(OSError):
        for pid in map(int, (folder / "cgroup.procs").read_text().split()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if pid > 0:  # 0 is one of another namespace; to kill, it would mean ourselves
                    os.kill(pid, signal.SIGKILL)


def vanish(group: Group) -> None:
    """Kill all that is in a group and remove it; blocks while killed processes go. One that hangs in the kernel is left."""
    deadline = time.monotonic() + _VANISH_SECONDS
    group.kill()
    while not group.remove() and time.monotonic() < deadline:
        time.sleep(_VANISH_POLL)
        group.kill()
