"""What an install fetches: checked by its digest, unpacked within the server's folder, or refused."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agent import __version__
from agent.servers.errors import StepFailed
from agent.servers.installer import Installer
from tests.support.serving import Quiet, serving
from tests.unit.agent_servers.installs import install, quiet


class Files(Quiet):
    """Serves bytes by path; `/away` leads elsewhere."""

    content: ClassVar[dict[str, bytes]] = {}
    callers: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        self.callers.add(self.headers["User-Agent"])
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://example.com/evil")
            self.end_headers()
            return
        found = self.content.get(self.path)
        if found is None:
            self.send_error(404)
            return
        self.answer(found)


@pytest.fixture
def files() -> Iterator[str]:
    with serving(Files) as address:
        yield address


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


@pytest.mark.parametrize(
    ("contact", "wanted"),
    [
        pytest.param(
            "https://games.example.com", f"meridian-agent/{__version__} (https://games.example.com)", id="told"
        ),
        pytest.param("", f"meridian-agent/{__version__}", id="none"),
    ],
)
async def test_publishers_are_told_who_fetches_and_whom_they_can_turn_to(
    tmp_path: Path, files: str, contact: str, wanted: str
) -> None:
    Files.callers.clear()
    home = tmp_path / "agent" / "servers" / "one"
    home.mkdir(parents=True)
    await Installer(tmp_path / "agent", contact=contact).install(
        install(download(files, "/a", b"content")), home, None, quiet
    )
    assert Files.callers == {wanted}


@pytest.mark.parametrize(
    ("version", "build", "expected"),
    [
        pytest.param("latest", "latest", b"1.21-11", id="newest_version_with_a_stable_build"),
        pytest.param("1.22", "latest", b"1.22-12", id="a_version_without_one"),
        pytest.param("1.21", "10", b"1.21-10", id="a_build"),
        pytest.param("1.20", "latest", b"1.20-8", id="recommended_is_stable_too"),
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
        "/paper": {"versions": {"1.22": ["1.22"], "1.21": ["1.21"], "1.20": ["1.20"]}},
        "/paper/versions/1.20/builds": [published("1.20", 9, "BETA"), published("1.20", 8, "RECOMMENDED")],
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
