"""Which control groups this machine has."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent.drivers.cgroup_v1 import GroupsV1
from agent.drivers.cgroup_v2 import GroupsV2
from agent.drivers.group import Groups

ROOT: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")


def is_v2(root: Path = ROOT) -> bool:
    """Whether version 2 has the controllers. Where both are mounted (`unified`) version 1 has them."""
    return (root / "cgroup.controllers").exists()


def find_groups(root: Path = ROOT, own: Path = OWN) -> Groups:
    """The groups of this machine, ours to use at once.

    Args:
        root: where they are mounted.
        own: tells which we are in.
    """
    return GroupsV2(root, own) if is_v2(root) else GroupsV1(root)
