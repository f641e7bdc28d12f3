"""A container engine for tests: Debian's podman with storage of its own, serving the Docker Engine API on a socket."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import PATIENCE_SECONDS

IMAGE = "meridian-test:1"
_PYTHON = Path("/usr/bin/python3")


class Podman:
    """See the module. `why_not` tells why this machine cannot run it."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "podman.sock"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        (folder / "containers.conf").write_text(
            f'[containers]\ndefault_ulimits = ["nofile={hard}:{hard}", "nproc=4096:4096"]\ncgroups = "enabled"\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            '[network]\nnetwork_backend = "netavark"\n'
        )
        self.env = {**os.environ, "CONTAINERS_CONF": str(folder / "containers.conf"), "TMPDIR": str(folder)}

    def command(self, *arguments: str) -> list[str]:
        """A podman command on this storage."""
        places = ("--root", str(self._folder / "root"), "--runroot", str(self._folder / "runroot"))
        return ["podman", *places, "--storage-driver", "vfs", *arguments]

    def start(self) -> str | None:
        """Make the image and serve; why that does not work here, or None."""
        if shutil.which("podman") is None or os.geteuid() != 0 or not _PYTHON.exists():
            return "podman, root and Debian's python3 are needed"
        archive = self._folder / "image.tar"
        _small_python(archive)
        made = subprocess.run(
            self.command("import", str(archive), IMAGE),
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if made.returncode != 0:
            return f"podman import: {made.stderr[-300:]}"
        tried = subprocess.run(
            self.command("run", "--rm", "--network=host", IMAGE, "/usr/bin/python3", "-c", "print('works')"),
            cwd=self._folder, env=self.env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if "works" not in tried.stdout:
            return f"podman run: {tried.stderr[-300:]}"
        with (self._folder / "podman.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command("system", "service", "--time=0", f"unix://{self.socket}"),
                cwd=self._folder,  # conmon writes its marks of containers that ran out of memory where it stands
                env=self.env,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.socket.exists():
            if time.monotonic() > deadline or self._process.poll() is not None:
                return f"podman service: {(self._folder / 'podman.log').read_text()[-300:]}"
            time.sleep(0.05)
        return None

    def stop(self) -> None:
        """Remove all containers, and end."""
        if self._process is not None:
            subprocess.run(
                self.command("rm", "--all", "--force", "--time=0"),
                env=self.env,
                capture_output=True,
                timeout=120,
                check=False,
            )
            self._process.terminate()
            self._process.wait(PATIENCE_SECONDS)


@pytest.fixture(name="podman", scope="session")
def podman_() -> Iterator[Podman]:
    """A running engine; the test is skipped, with the reason, where there can be none."""
    # Podman wants its run folder's path within 50 characters; pytest's own folders are longer.
    with tempfile.TemporaryDirectory(prefix="podman", ignore_cleanup_errors=True) as folder:
        engine = Podman(Path(folder))
        why_not = engine.start()
        if why_not is not None:
            pytest.skip(f"no container engine here: {why_not}")
        yield engine
        engine.stop()


def _small_python(archive: Path) -> None:
    """An image of this machine's Python and nothing else: 30 MB, without asking any registry."""
    binary = _PYTHON.resolve()
    version = binary.name
    listed = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=True).stdout
    files = {Path(found) for found in re.findall(r"(/\S+)", listed)} | {binary}
    library = Path("/usr/lib") / version
    with tarfile.open(archive, "w") as tar:
        for file in sorted(files):
            tar.add(file.resolve(), str(file).lstrip("/"))
        link = tarfile.TarInfo("usr/bin/python3")
        link.type, link.linkname = tarfile.SYMTYPE, version
        tar.addfile(link)
        tar.add(library, str(library).lstrip("/"), filter=_without_ballast)
        for folder in ("tmp", "server", "proc", "sys", "dev", "etc"):
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(made)


def _without_ballast(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    ballast = ("/test", "/idlelib", "/tkinter", "/config-", "/ensurepip", "/lib2to3", "__pycache__", "/pydoc_data")
    return None if any(part in info.name for part in ballast) else info
