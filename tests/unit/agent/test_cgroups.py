"""Which control groups are used, and where those of games go, by how a machine's folders look."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agent.drivers.cgroup_v1 import GroupsV1
from agent.drivers.cgroup_v2 import GroupsV2, place_for_games
from agent.drivers.cgroups import find_groups
from agent.drivers.group import kill_each, quota_us
from shared.messaging.server_spec import Limits

GAMES = "system.slice/meridian-games.service"


def machine(root: Path, *groups: str) -> Path:
    """The folders of a machine that has these groups; each holds what the kernel puts there, as far as it is read."""
    for group in groups:
        folder = root / group
        folder.mkdir(parents=True)
        for name in ("cgroup.controllers", "cgroup.subtree_control", "cgroup.procs"):
            (folder / name).touch()
    return root


def test_where_both_versions_are_mounted_the_first_has_the_controllers(tmp_path: Path) -> None:
    hybrid = machine(tmp_path / "hybrid", "unified", "unified/system.slice")
    for controller in ("memory", "cpu", "pids"):
        (hybrid / controller).mkdir()
    assert isinstance(find_groups(hybrid), GroupsV1)
    groups = find_groups(machine(tmp_path / "v2", "."), machine_of(tmp_path, "0::/user.slice/shell.scope"))
    assert isinstance(groups, GroupsV2)
    assert groups.parent is None


def machine_of(folder: Path, told: str) -> Path:
    own = folder / "own"
    own.write_text(told + "\n")
    return own


@pytest.mark.parametrize(
    ("groups", "own", "expected"),
    [
        ((GAMES,), "0::/system.slice/meridian-agent.service", GAMES),
        ((GAMES, "u/agent"), "0::/u/agent", GAMES),
        (("u", "u/agent"), "0::/u/agent", "u"),  # a leaf of a group that was handed over
        ((), "0::/", None),  # the root is the machine's
        ((), "0::/../other", None),
        ((), "4:memory:/x", None),
        ((), "0::/gone", None),
    ],
    ids=["its service", "its service first", "leaf", "root", "above", "version 1 alone", "gone"],
)
def test_where_the_groups_of_games_go(tmp_path: Path, groups: tuple[str, ...], own: str, expected: str | None) -> None:
    root = machine(tmp_path / "root", ".", *groups)
    assert place_for_games(root, machine_of(tmp_path, own)) == (root / expected if expected else None)


def test_the_least_share_of_a_processor_is_what_the_kernel_takes() -> None:
    assert [quota_us(Limits(cpu_millicores=asked)) for asked in (0, 1, 10, 250, 4000)] == [
        0,
        1000,
        1000,
        25_000,
        400_000,
    ]


def test_processes_are_killed_one_by_one_where_a_group_cannot_be(tmp_path: Path) -> None:
    sleeper = subprocess.Popen(["sleep", "600"])
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / "cgroup.procs").write_text(f"0\n{gone.pid}\n{sleeper.pid}\n")  # 0 is one that is not shown to us
    kill_each(tmp_path)
    assert sleeper.wait() == -9
