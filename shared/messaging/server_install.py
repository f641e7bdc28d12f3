"""How a server's files come to be on its node: the closed list of install steps. Both sides import this file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from shared.messaging.codec import WireError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
DIGEST = re.compile(r"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|sha1:[0-9a-f]{40})")
NPM_PACKAGE = re.compile(r"(@[a-z0-9._-]+/)?[a-z0-9][a-z0-9._-]*@[0-9][A-Za-z0-9.+-]*")
PIP_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,_-]+\])?==[A-Za-z0-9.+!-]+")
IMAGE = re.compile(r"[a-z0-9][a-z0-9._-]*(:\d+)?(/[a-z0-9._-]+)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?")
DEBIAN_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,99}")


def require(ok: bool, message: str) -> None:
    """Refuse a value with `message` unless `ok`."""
    if not ok:
        raise WireError(message)


def check_path(path: str, what: str = "path") -> None:
    """A file's place inside the server's folder: relative, without `..`, empty parts or control characters.

    Raises:
        WireError: it is none.
    """
    parts = path.split("/")
    clean = bool(path) and len(path) <= 1024 and path.isprintable() and "\\" not in path and "\0" not in path
    require(clean and not PurePosixPath(path).is_absolute(), f"{what}: {path[:80]!r} is not a relative path")
    require(not any(part in ("", "..") for part in parts), f"{what}: {path[:80]!r} leaves the server's folder")


@dataclass(frozen=True, slots=True)
class Download:
    """Fetch one file over HTTPS; what comes must have the digest ("sha256:<hex>", sha512 or sha1)."""

    url: str
    path: str
    digest: str
    executable: bool = False
    max_mib: int = 10_240
    kind: Literal["download"] = "download"

    def __post_init__(self) -> None:
        check_path(self.path)
        require(self.url.startswith(("https://", "http://127.0.0.1:")), f"url: {self.url[:80]!r} is not https")
        require(DIGEST.fullmatch(self.digest) is not None, "digest: expected sha256:, sha512: or sha1: and hex")


@dataclass(frozen=True, slots=True)
class Release:
    """Fetch a game's own published build; its publisher's manifest names the file and its digest."""

    source: Literal["mojang", "papermc"]
    project: str
    version: str
    path: str
    build: str = "latest"
    kind: Literal["release"] = "release"

    def __post_init__(self) -> None:
        check_path(self.path)
        for value in (self.project, self.version, self.build):
            require(NAME.fullmatch(value) is not None, f"release: {value[:40]!r} is not a name or version")


@dataclass(frozen=True, slots=True)
class Npm:
    """`npm install` of pinned packages; their install scripts are run when `scripts` says so."""

    packages: tuple[str, ...]
    scripts: bool = False
    kind: Literal["npm"] = "npm"

    def __post_init__(self) -> None:
        for package in self.packages:
            require(NPM_PACKAGE.fullmatch(package) is not None, f"packages: {package[:60]!r} is not name@version")


@dataclass(frozen=True, slots=True)
class Pip:
    """`pip install --target python` of pinned packages: wheels alone, unless `build` lets it build others."""

    packages: tuple[str, ...]
    path: str = "python"
    build: bool = False
    kind: Literal["pip"] = "pip"

    def __post_init__(self) -> None:
        check_path(self.path)
        for package in self.packages:
            require(PIP_PACKAGE.fullmatch(package) is not None, f"packages: {package[:60]!r} is not name==version")


@dataclass(frozen=True, slots=True)
class Steamcmd:
    """Install a Steam application anonymously with the machine's steamcmd."""

    app_id: int
    beta: str = ""
    validate: bool = True
    kind: Literal["steamcmd"] = "steamcmd"

    def __post_init__(self) -> None:
        require(0 < self.app_id < 2**32, f"app_id: {self.app_id}")
        require(not self.beta or NAME.fullmatch(self.beta) is not None, f"beta: {self.beta[:40]!r}")


@dataclass(frozen=True, slots=True)
class Packages:
    """Unpack packages of the machine's own distribution into the server's folder; needs no rights of root."""

    packages: tuple[str, ...]
    kind: Literal["packages"] = "packages"

    def __post_init__(self) -> None:
        for package in self.packages:
            require(DEBIAN_PACKAGE.fullmatch(package) is not None, f"packages: {package[:60]!r} is not a package name")


@dataclass(frozen=True, slots=True)
class Extract:
    """Unpack an archive (zip, tar, tar.gz, tar.bz2, tar.xz) that an earlier step brought, and remove it."""

    archive: str
    to: str = "."
    strip: int = 0
    kind: Literal["extract"] = "extract"

    def __post_init__(self) -> None:
        check_path(self.archive, "archive")
        check_path(self.to, "to")
        require(0 <= self.strip <= 20, f"strip: {self.strip} is not between 0 and 20")


@dataclass(frozen=True, slots=True)
class Write:
    """Write a file as it stands."""

    path: str
    content: str
    executable: bool = False
    kind: Literal["write"] = "write"

    def __post_init__(self) -> None:
        check_path(self.path)


@dataclass(frozen=True, slots=True)
class Installer:
    """Run an installer that an earlier step brought, under one of the listed runtimes and under limits."""

    runtime: Literal["java", "node", "python"]
    file: str
    arguments: tuple[str, ...] = ()
    memory_mib: int = 2048
    kind: Literal["installer"] = "installer"

    def __post_init__(self) -> None:
        check_path(self.file, "file")


@dataclass(frozen=True, slots=True)
class Script:
    """Run a script as root in a container of its own, with the server's files in `/mnt/server`.

    Nodes refuse it unless their owner allows the image. Values reach the script by its environment alone.
    """

    image: str
    script: str
    entrypoint: str = "bash"
    env: dict[str, str] = field(default_factory=dict)
    memory_mib: int = 2048
    kind: Literal["script"] = "script"

    def __post_init__(self) -> None:
        require(IMAGE.fullmatch(self.image) is not None, f"image: {self.image[:80]!r} is no image's name")
        require(re.fullmatch(r"[\w./-]{1,100}", self.entrypoint) is not None, f"entrypoint: {self.entrypoint[:40]!r}")
        require(0 < len(self.script) <= 131_072, f"script: {len(self.script)} characters, at most 131072")
        require(64 <= self.memory_mib <= 1_048_576, f"memory_mib: {self.memory_mib}")


Step = Download | Release | Npm | Pip | Steamcmd | Packages | Extract | Write | Installer | Script


@dataclass(frozen=True, slots=True)
class Install:
    """How the files come to be. Equal steps give equal files, so a node keeps the result once for all servers.

    `writable` are patterns (fnmatch, against the relative path) of installed files which the game writes in place:
    those are copied for each server, the rest is shared. `generation` grows when a reinstall is asked for; `fresh`
    says that the node's kept copy must not be used then.
    """

    generation: int = 1
    steps: tuple[Step, ...] = ()
    writable: tuple[str, ...] = ()
    fresh: bool = False
    step_seconds: int = 1800  # the deadline of each step

    def __post_init__(self) -> None:
        require(len(self.steps) <= 50, f"steps: {len(self.steps)}, at most 50")
        require(1 <= self.step_seconds <= 86_400, f"step_seconds: {self.step_seconds}")
