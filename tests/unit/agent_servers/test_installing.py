"""Installing on a node: the content store, the steps, what is laid out and what stays."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.servers.errors import StepFailed
from agent.servers.installer import Installer, image_key, installed_generation
from agent.servers.laying import WORTH_A_THREAD
from agent.servers.store import ContentStore
from tests.unit.agent_servers.installs import install, quiet

WRITE = {"kind": "write", "path": "bin/game", "content": "v1", "executable": True}
CONFIG = {"kind": "write", "path": "cfg/game.ini", "content": "a=1"}
NOBODY = (65_534, 65_534)


async def nothing_prepared(installer: Installer, home: Path) -> None:
    assert installer.preparing is not None
    await installer.preparing
    shutil.rmtree(home.parents[1] / "store" / "spares")


async def test_equal_steps_are_run_once_and_shared(installer: Installer, home: Path) -> None:
    first = await installer.install(install(WRITE, CONFIG), home, NOBODY, quiet)
    second = await installer.install(install(WRITE, CONFIG), home.with_name("two"), NOBODY, quiet)
    assert (first.reused, second.reused) == (False, True)
    one, two = home / "files/bin/game", home.with_name("two") / "files/bin/game"
    assert one.read_text() == two.read_text() == "v1"
    if installer.store.linking(NOBODY) == "hardlink":
        assert one.stat().st_ino == two.stat().st_ino, "one content, however many servers"
    assert installed_generation(home) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
async def test_a_write_in_one_server_is_never_seen_in_another(installer: Installer, home: Path) -> None:
    # Folders above must be passable for the other user, as an agent's are.
    for folder in (home, *home.parents[: len(home.parents) - 2]):
        folder.chmod(0o755)
    wanted = install(WRITE, CONFIG, writable=["cfg/*"])
    for place in (home, home.with_name("two")):
        await installer.install(wanted, place, NOBODY, quiet)
    game = (
        "(printf '!' >>bin/game) 2>/dev/null || echo refused; printf '!' >>cfg/game.ini;"
        " printf mine >bin/new; mv -f bin/new bin/game"
    )
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/bin/sh", "-c", game]
    ran = subprocess.run(as_nobody, cwd=home / "files", capture_output=True, text=True, check=True)
    two = home.with_name("two") / "files"
    assert (two / "bin/game").read_text() == "v1"
    assert (two / "cfg/game.ini").read_text() == "a=1"
    assert (home / "files/bin/game").read_text() == "mine", "a new file renamed over it is its own"
    assert (home / "files/cfg/game.ini").read_text() == "a=1!", "what it may write is a copy"
    if installer.store.linking(NOBODY) == "hardlink":
        assert ran.stdout.strip() == "refused"


async def test_for_games_that_run_as_root_everything_is_copied(installer: Installer, home: Path) -> None:
    if os.geteuid() != 0 or installer.store.linking(None) == "reflink":
        pytest.skip("only root without reflinks needs it")
    for place in (home, home.with_name("two")):
        await installer.install(install(WRITE), place, None, quiet)
    (home / "files/bin/game").write_text("broken")
    assert (home.with_name("two") / "files/bin/game").read_text() == "v1"


async def test_a_reinstall_brings_new_files_takes_old_ones_and_keeps_what_was_written(
    installer: Installer, home: Path
) -> None:
    old = {"kind": "write", "path": "old.txt", "content": "old"}
    await installer.install(install(WRITE, CONFIG, old, writable=["cfg/*"]), home, None, quiet)
    (home / "files/cfg/game.ini").write_text("a=2")
    (home / "files/world").write_text("played")
    new = {**WRITE, "content": "v2"}
    await installer.install(install(new, CONFIG, generation=2, writable=["cfg/*"]), home, None, quiet)
    files = {
        str(path.relative_to(home / "files")): path.read_text() for path in home.rglob("files/**/*") if path.is_file()
    }
    assert files == {"bin/game": "v2", "cfg/game.ini": "a=2", "world": "played"}
    assert installed_generation(home) == 2


async def test_a_damaged_content_is_found_and_made_anew(installer: Installer, home: Path) -> None:
    wanted = install(WRITE)
    await installer.install(wanted, home, NOBODY, quiet)
    damaged = next(path for path in (home.parents[1] / "store/objects").glob("*/*"))
    damaged.chmod(0o644)
    damaged.write_text("v!")
    installer = Installer(home.parents[1])  # a look is taken once in an agent's life, and not by who wrote it himself
    assert installer.store.find(image_key(wanted)) is None
    again = await installer.install(wanted, home.with_name("two"), NOBODY, quiet)
    assert not again.reused
    assert (home.with_name("two") / "files/bin/game").read_text() == "v1"


async def test_a_content_that_was_taken_away_is_made_anew(installer: Installer, home: Path) -> None:
    wanted = install(WRITE, CONFIG)
    await installer.install(wanted, home, NOBODY, quiet)
    await nothing_prepared(installer, home)
    next(path for path in (home.parents[1] / "store/objects").glob("*/*")).unlink()
    again = await installer.install(wanted, home.with_name("two"), NOBODY, quiet)
    assert not again.reused
    assert (home.with_name("two") / "files/bin/game").read_text() == "v1"


async def test_a_content_that_was_only_touched_is_as_good_as_before(installer: Installer, home: Path) -> None:
    wanted = install(WRITE)
    await installer.install(wanted, home, NOBODY, quiet)
    os.utime(next(path for path in (home.parents[1] / "store/objects").glob("*/*")))
    installer = Installer(home.parents[1])
    assert (await installer.install(wanted, home.with_name("two"), NOBODY, quiet)).reused
    for place in (home, home.with_name("two")):
        new = install({**WRITE, "content": "v2"}, generation=2)
        await installer.install(new, place, NOBODY, quiet)
        assert (place / "files/bin/game").read_text() == "v2", "nobody has written to it"


async def test_a_content_with_as_many_names_as_the_file_system_allows_is_copied(
    installer: Installer, home: Path
) -> None:
    if installer.store.linking(NOBODY) != "hardlink":
        pytest.skip("contents are not linked here")
    wanted = install(WRITE)
    await installer.install(wanted, home, NOBODY, quiet)
    content = next(path for path in (home.parents[1] / "store/objects").glob("*/*"))
    await nothing_prepared(installer, home)
    names = home.parents[1] / "names"
    names.mkdir()
    try:
        for number in range(70_000):
            os.link(content, names / str(number))
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
    else:
        pytest.skip("this file system has no such bound")
    await installer.install(wanted, home.with_name("two"), NOBODY, quiet)
    made = home.with_name("two") / "files/bin/game"
    assert (made.read_text(), made.stat().st_nlink) == ("v1", 1)


async def test_many_files_of_many_folders_are_laid_out_by_several_threads(installer: Installer, home: Path) -> None:
    names = [f"part-{number % 40}/deep/file-{number}" for number in range(3 * WORTH_A_THREAD)]
    staging = home.parents[1] / "staging"
    for name in names:
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_text(name)
    key = image_key(install(WRITE))
    image = installer.store.ingest(staging, key)
    for generation in (1, 2):  # the second time everything is there already
        done = await installer.install(install(WRITE, generation=generation), home, NOBODY, quiet)
        assert done.reused
        assert {name: (home / "files" / name).read_text() for name in names} == {name: name for name in names}
    assert len(image.files) == len(names)
    record = json.loads((home / "installed.json").read_text())
    assert record["files"] == {} or installer.store.linking(NOBODY) != "hardlink", "the image's list is not repeated"


async def test_a_record_of_an_earlier_release_still_tells_what_was_written(installer: Installer, home: Path) -> None:
    await installer.install(install(WRITE, CONFIG), home, NOBODY, quiet)
    marks = {}
    for name in ("bin/game", "cfg/game.ini"):
        found = (home / "files" / name).stat()
        marks[name] = [found.st_size, found.st_mtime_ns]
    for listing in home.glob("image-*.json"):
        listing.unlink()
    (home / "installed.json").write_text(json.dumps({"key": "old", "generation": 1, "files": marks}))
    (home / "files/cfg/game.ini").unlink()
    (home / "files/cfg/game.ini").write_text("a=2, by a player")
    await installer.install(install({**WRITE, "content": "v2"}, CONFIG, generation=2), home, NOBODY, quiet)
    assert (home / "files/bin/game").read_text() == "v2"
    assert (home / "files/cfg/game.ini").read_text() == "a=2, by a player"


async def test_what_no_server_uses_is_collected(installer: Installer, home: Path) -> None:
    await installer.install(install(WRITE), home, None, quiet)
    kept = install(CONFIG)
    await installer.install(kept, home.with_name("two"), None, quiet)
    installer.store.collect([image_key(kept)])
    assert installer.store.find(image_key(install(WRITE))) is None
    assert installer.store.find(image_key(kept)) is not None


async def test_a_cancelled_install_leaves_no_process_and_nothing_half_done(installer: Installer, home: Path) -> None:
    steps = [
        {"kind": "write", "path": "wait.py", "content": "import time; time.sleep(600)"},
        {"kind": "installer", "runtime": "python", "file": "wait.py"},
    ]
    begun = asyncio.Event()
    task = asyncio.create_task(
        installer.install(install(*steps), home, None, lambda _, what: begun.set() if "installer" in what else None)
    )
    await begun.wait()
    marker = str(home.parents[1] / "work")
    for _ in range(100):
        if marker in _commands():
            break
        await asyncio.sleep(0.05)
    assert marker in _commands()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert marker not in _commands()
    assert not list((home.parents[1] / "work").iterdir())


def _commands() -> str:
    return subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True, check=True).stdout


async def test_an_installer_that_fails_shows_its_last_lines(installer: Installer, home: Path) -> None:
    program = "import sys; print('one'); print('two: no room'); sys.exit(4)"
    steps = [
        {"kind": "write", "path": "i.py", "content": program},
        {"kind": "installer", "runtime": "python", "file": "i.py"},
    ]
    with pytest.raises(StepFailed) as failed:
        await installer.install(install(*steps), home, None, quiet)
    assert failed.value.code == "installer_failed"
    assert failed.value.output == ("one", "two: no room")


def test_a_store_that_was_left_in_the_middle_is_as_good_as_new(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    (tmp_path / "images" / "half.json").write_text("{")
    assert store.find("half") is None
