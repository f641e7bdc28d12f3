"""What steamcmd leaves behind, and what a game finds of it in its home."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path

import pytest

from agent.servers.installer import Installer
from tests.unit.agent_servers.test_installing import NOBODY, install, quiet

STEAMCMD = """#!/bin/sh
# What steamcmd leaves behind: the application where it was told to, its own libraries where its package has them.
root={root}
mkdir -p "$root/linux32" "$root/linux64" "$2"
printf 32 > "$root/linux32/steamclient.so"
{more}
printf game > "$2/game"
"""
PLACES = {
    "Valve's archive": '"$(dirname "$(readlink -f "$0")")"',
    "Debian": '"$HOME/.local/share/Steam/steamcmd"',
    "Debian, older": '"$HOME/.steam/steamcmd"',
    "Ubuntu": '"$HOME/.steam/steam/steamcmd"',
}


def steamcmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str, more: str) -> None:
    """A program of that name, found as the package's link is."""
    program, link = tmp_path / "opt" / "steamcmd.sh", tmp_path / "bin" / "steamcmd"
    for place in (program, link):
        place.parent.mkdir()
    program.write_text(STEAMCMD.format(root=root, more=more))
    program.chmod(0o755)
    link.symlink_to(program)
    monkeypatch.setenv("PATH", f"{link.parent}:{os.environ['PATH']}")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "agent" / "servers" / "one"
    place.mkdir(parents=True)
    return place


@pytest.fixture
def installer(home: Path) -> Installer:
    return Installer(home.parents[1])


@pytest.mark.parametrize("root", PLACES.values(), ids=PLACES)
async def test_a_game_from_steam_finds_steams_library_in_its_home(
    installer: Installer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: str
) -> None:
    steamcmd(tmp_path, monkeypatch, root, 'printf 64 > "$root/linux64/steamclient.so"')
    await installer.install(install({"kind": "steamcmd", "app_id": 896660}), home, NOBODY, quiet)
    files = home / "files"
    assert (files / "game").read_text() == "game"
    assert [(files / f".steam/sdk{width}/steamclient.so").read_text() for width in (32, 64)] == ["32", "64"]


@pytest.mark.parametrize(
    ("more", "widths", "told"),
    [(":", ["sdk32"], False), ('rm "$root/linux32/steamclient.so"', [], True)],
    ids=["no library of 64 bits", "no library at all"],
)
async def test_what_steamcmd_did_not_bring_is_not_made_up(
    installer: Installer,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: str,
    widths: list[str],
    told: bool,
) -> None:
    steamcmd(tmp_path, monkeypatch, PLACES["Debian"], more)
    output: deque[str] = deque()
    await installer.install(install({"kind": "steamcmd", "app_id": 896660}), home, NOBODY, quiet, output)
    assert sorted(path.name for path in (home / "files").glob(".steam/*")) == widths
    assert any("left no steamclient.so" in line for line in output) == told


async def test_valves_archive_renews_itself_in_a_copy(
    installer: Installer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steamcmd(tmp_path, monkeypatch, PLACES["Valve's archive"], ":")
    (tmp_path / "opt" / "linux32").mkdir()
    before = sorted(tmp_path.glob("opt/**/*"))
    await installer.install(install({"kind": "steamcmd", "app_id": 896660}), home, NOBODY, quiet)
    assert (home / "files/.steam/sdk32/steamclient.so").read_text() == "32"
    assert sorted(tmp_path.glob("opt/**/*")) == before, "the machine's own is as it was: other users cannot write it"


async def test_a_library_that_is_a_link_to_something_else_is_not_copied(
    installer: Installer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("secret")
    steamcmd(tmp_path, monkeypatch, PLACES["Debian"], f'ln -s {tmp_path}/secret "$root/linux64/steamclient.so"')
    await installer.install(install({"kind": "steamcmd", "app_id": 896660}), home, NOBODY, quiet)
    assert sorted(path.name for path in (home / "files").glob(".steam/*")) == ["sdk32"]
