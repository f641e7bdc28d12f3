"""Installing on a node: the content store, the steps, what is laid out and what stays."""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import io
import json
import os
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agent.servers.errors import StepFailed
from agent.servers.installer import Installer, image_key, installed_generation
from agent.servers.store import ContentStore
from shared.messaging.codec import from_wire
from shared.messaging.server_install import Install


def install(*steps: dict[str, Any], **more: Any) -> Install:
    return from_wire(Install, {"steps": list(steps), **more})


def quiet(_percent: int, _detail: str) -> None:
    """Nobody watches."""


WRITE = {"kind": "write", "path": "bin/game", "content": "v1", "executable": True}
CONFIG = {"kind": "write", "path": "cfg/game.ini", "content": "a=1"}
NOBODY = (65_534, 65_534)


@pytest.fixture
def installer(tmp_path: Path) -> Installer:
    return Installer(tmp_path / "agent")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "agent" / "servers" / "one"
    place.mkdir(parents=True)
    return place


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
    assert installer.store.find(image_key(wanted)) is None
    again = await installer.install(wanted, home.with_name("two"), NOBODY, quiet)
    assert not again.reused
    assert (home.with_name("two") / "files/bin/game").read_text() == "v1"


async def test_what_no_server_uses_is_collected(installer: Installer, home: Path) -> None:
    await installer.install(install(WRITE), home, None, quiet)
    kept = install(CONFIG)
    await installer.install(kept, home.with_name("two"), None, quiet)
    installer.store.collect([image_key(kept)])
    assert installer.store.find(image_key(install(WRITE))) is None
    assert installer.store.find(image_key(kept)) is not None


class Files(http.server.BaseHTTPRequestHandler):
    """Serves bytes by path; `/away` leads elsewhere."""

    content: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://example.com/evil")
            self.end_headers()
            return
        found = self.content.get(self.path)
        if found is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def files() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def download(files: str, path: str, content: bytes, **more: Any) -> dict[str, Any]:
    Files.content[path] = content
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"kind": "download", "url": files + path, "path": path[1:], "digest": digest, **more}


def tar(**members: bytes | str) -> bytes:
    """Members by name; a text value is a symbolic link's target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, value in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            if isinstance(value, str):
                info.type, info.linkname = tarfile.SYMTYPE, value
                archive.addfile(info)
            else:
                info.size = len(value)
                archive.addfile(info, io.BytesIO(value))
    return buffer.getvalue()


def archive_zip(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, value in members.items():
            archive.writestr(name.replace("__", "/"), value)
    return buffer.getvalue()


@pytest.mark.parametrize("make", [tar, archive_zip])
async def test_downloads_are_checked_and_unpacked(installer: Installer, home: Path, files: str, make: Any) -> None:
    content = make(top__bin__game=b"hello", top__readme=b"read")
    steps = [download(files, "/game.archive", content), {"kind": "extract", "archive": "game.archive", "strip": 1}]
    await installer.install(install(*steps), home, None, quiet)
    assert (home / "files/bin/game").read_text() == "hello"
    assert not (home / "files/game.archive").exists()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(tar(__escape=b"x"), "archive_escapes", id="absolute"),
        pytest.param(tar(**{"..__escape": b"x"}), "archive_escapes", id="upwards"),
        pytest.param(tar(link="/etc", link__passwd=b"x"), "archive_escapes", id="through_a_link"),
        pytest.param(archive_zip(**{"..__escape": b"x"}), "archive_escapes", id="zip_upwards"),
        pytest.param(b"not an archive", "bad_archive", id="no_archive"),
    ],
)
async def test_archives_that_escape_are_refused(
    installer: Installer, home: Path, files: str, content: bytes, code: str
) -> None:
    steps = [download(files, "/evil", content), {"kind": "extract", "archive": "evil"}]
    with pytest.raises(StepFailed) as failed:
        await installer.install(install(*steps), home, None, quiet)
    assert failed.value.code in (code, "bad_archive")
    assert not list(home.parents[3].glob("escape"))
    assert not (home / "files").exists(), "nothing was laid out"


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ({"path": "/a", "digest": "sha256:" + "0" * 64}, "digest_mismatch"),
        ({"path": "/none"}, "download_refused"),
        ({"path": "/away"}, "insecure_redirect"),
    ],
)
async def test_downloads_that_are_not_what_they_should_be(
    installer: Installer, home: Path, files: str, step: dict[str, str], code: str
) -> None:
    Files.content = {"/a": b"content"}
    digest = step.get("digest", f"sha256:{hashlib.sha256(b'').hexdigest()}")
    wanted = {"kind": "download", "url": files + step["path"], "path": "a", "digest": digest}
    with pytest.raises(StepFailed) as failed:
        await installer.install(install(wanted), home, None, quiet)
    assert failed.value.code == code


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
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert marker not in _commands()
    assert not list((home.parents[1] / "work").iterdir())


def _commands() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


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


@pytest.mark.parametrize(
    ("version", "build", "expected"),
    [
        pytest.param("latest", "latest", b"1.21-11", id="newest_version_with_a_stable_build"),
        pytest.param("1.22", "latest", b"1.22-12", id="a_version_without_one"),
        pytest.param("1.21", "10", b"1.21-10", id="a_build"),
        pytest.param("1.21", "99", None, id="no_such_build"),
    ],
)
async def test_papers_builds_by_a_publisher_that_answers_as_papermc_does(
    installer: Installer,
    home: Path,
    files: str,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    build: str,
    expected: bytes | None,
) -> None:
    def published(of: str, number: int, channel: str) -> dict[str, Any]:
        content = f"{of}-{number}".encode()
        Files.content[f"/{of}-{number}.jar"] = content
        digest = {"sha256": hashlib.sha256(content).hexdigest()}
        file = {"name": "paper.jar", "url": f"{files}/{of}-{number}.jar", "checksums": digest}
        return {"id": number, "channel": channel, "downloads": {"server:default": file}}

    Files.content = {}
    answers = {
        "/paper": {"versions": {"1.22": ["1.22"], "1.21": ["1.21"]}},
        "/paper/versions/1.22/builds": [published("1.22", 12, "ALPHA")],
        "/paper/versions/1.21/builds": [published("1.21", 11, "STABLE"), published("1.21", 10, "STABLE")],
    }
    Files.content |= {path: json.dumps(answer).encode() for path, answer in answers.items()}
    monkeypatch.setattr("agent.servers.releases.PAPERMC", files)
    step = {
        "kind": "release",
        "source": "papermc",
        "project": "paper",
        "version": version,
        "path": "s.jar",
        "build": build,
    }
    if expected is None:
        with pytest.raises(StepFailed, match="no build 99"):
            await installer.install(install(step), home, None, quiet)
        return
    await installer.install(install(step), home, None, quiet)
    assert (home / "files/s.jar").read_bytes() == expected
