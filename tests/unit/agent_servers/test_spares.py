"""What is laid out already for the next server: it is the same as what would be laid out for it, and one server's alone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from agent.servers.installer import Installer, image_key
from tests.unit.agent_servers.installs import install, quiet

NOBODY = (65_534, 65_534)
STEPS: list[dict[str, Any]] = [
    {"kind": "write", "path": "bin/deep/game", "content": "v1", "executable": True},
    {"kind": "write", "path": "cfg/game.ini", "content": "a=1"},
]
WANTED = install(*STEPS, writable=["cfg/*"])


@pytest.fixture
def installer(installer: Installer) -> Installer:
    if installer.store.linking(NOBODY) != "hardlink":
        pytest.skip("contents are not linked here")
    return installer


def spares(home: Path) -> list[Path]:
    return list((home.parents[1] / "store" / "spares").iterdir())


async def prepared(installer: Installer, home: Path) -> Path:
    """One server is there, and the next one's files are laid out."""
    await installer.install(WANTED, home, NOBODY, quiet)
    image = installer.store.find(image_key(WANTED))
    assert image is not None
    installer.store.prepare(image, NOBODY)  # waits for the one that is at it
    (spare,) = spares(home)
    return spare


def look(files: Path) -> dict[str, tuple[Any, ...]]:
    found = {}
    for path in (files, *files.rglob("*")):
        seen = path.lstat()
        inode = seen.st_ino if path.is_file() and seen.st_nlink > 1 else None
        found[str(path.relative_to(files))] = (seen.st_mode, seen.st_uid, seen.st_gid, inode)
    return found


async def test_it_is_what_would_have_been_laid_out(installer: Installer, home: Path) -> None:
    spare = await prepared(installer, home)
    inode = spare.stat().st_ino
    two = home.with_name("two")
    assert (await installer.install(WANTED, two, NOBODY, quiet)).reused
    assert (two / "files").stat().st_ino == inode, "it was moved there"
    assert look(two / "files") == look(home / "files")
    (two / "files/cfg/game.ini").write_text("a=2")
    assert (home / "files/cfg/game.ini").read_text() == "a=1", "what the game may write is its own"
    assert not (two / "files.spare").exists()
    for place in (home, two):
        assert (place / "files/bin/deep/game").stat().st_mode & 0o777 == 0o555


async def test_many_at_once_take_one_each_and_share_nothing_but_contents(installer: Installer, home: Path) -> None:
    await prepared(installer, home)
    places = [home.with_name(f"at-once-{number}") for number in range(8)]
    await asyncio.gather(*(installer.install(WANTED, place, NOBODY, quiet) for place in places))
    assert len({(place / "files").stat().st_ino for place in places}) == len(places)
    for place in places:
        assert look(place / "files") == look(home / "files")


async def test_files_that_are_there_stay(installer: Installer, home: Path) -> None:
    await prepared(installer, home)
    two = home.with_name("two")
    (two / "files").mkdir(parents=True)
    (two / "files" / "world").write_text("years of work")
    await installer.install(WANTED, two, NOBODY, quiet)
    assert (two / "files" / "world").read_text() == "years of work"
    assert (two / "files" / "bin/deep/game").read_text() == "v1"


async def test_one_of_an_image_that_was_made_anew_is_not_used(installer: Installer, home: Path) -> None:
    old = await prepared(installer, home)
    fresh = install(*STEPS, writable=["cfg/*"], generation=2, fresh=True)
    await installer.install(fresh, home, NOBODY, quiet)
    new = await prepared(installer, home)
    assert new.name != old.name
    assert not old.exists()


async def test_what_was_broken_off_is_thrown_away_and_what_is_whole_is_used(installer: Installer, home: Path) -> None:
    spare = await prepared(installer, home)
    half = spare.with_name(".half")
    (half / "bin").mkdir(parents=True)
    two = home.with_name("two")
    (two / "files.spare" / "left").mkdir(parents=True)  # killed between the two moves
    again = Installer(home.parents[1])
    assert spares(home) == [spare]
    await again.install(WANTED, two, NOBODY, quiet)
    assert look(two / "files") == look(home / "files")
    await prepared(again, home)
    again.store.collect([])
    assert spares(home) == []
    assert (two / "files/bin/deep/game").read_text() == "v1"


async def test_a_damaged_content_is_not_laid_out_by_one(installer: Installer, home: Path) -> None:
    spare = await prepared(installer, home)
    game = spare / "bin/deep/game"
    game.chmod(0o755)
    game.write_text("damaged")  # the content, too: it is one file
    again = Installer(home.parents[1])
    two = home.with_name("two")
    assert not (await again.install(WANTED, two, NOBODY, quiet)).reused
    assert (two / "files/bin/deep/game").read_text() == "v1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
async def test_its_folder_is_never_seen_there_as_ours(
    installer: Installer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's user is told by who has its folder: for not one moment is that somebody else."""
    await prepared(installer, home)
    two = home.with_name("two")
    (two / "files").mkdir(parents=True, mode=0o700)
    os.chown(two / "files", *NOBODY)
    seen: list[int] = []
    rename = Path.rename

    def noting(self: Path, target: Path) -> Path:
        done = rename(self, target)
        if target == two / "files":
            seen.append(target.stat().st_uid)
            assert target.stat().st_mode & 0o777 == 0o700
        return done

    monkeypatch.setattr(Path, "rename", noting)
    await installer.install(WANTED, two, NOBODY, quiet)
    assert seen == [NOBODY[0]]
