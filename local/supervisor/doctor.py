"""What a machine lacks to run the house, one line each."""

from __future__ import annotations

import importlib.metadata
import os
import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from local.supervisor.ports import holder, is_free

SUPPORTED_PYTHON = ((3, 11), (3, 12))
OLDEST_NODE = 20
OLDEST_SQLITE = (3, 38, 0)  # JSON functions built in, and the -> operators
FREE_DISK_MIB = 1024
OPEN_FILES = 1024
SLOW_SYNC_MS = 20.0  # above this every durable step is felt; consumer disks take 1 to 10 ms


@dataclass(frozen=True)
class Finding:
    """One line of the report. `fatal` findings keep the house from running; the others only slow it."""

    good: bool
    text: str
    fatal: bool = True


def examine(root: Path, data: Path, ports: dict[str, int]) -> Iterator[Finding]:
    """Look at the machine: interpreter, packages, Node, ports, disk, limits."""
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _python,
        lambda: _packages(root / "requirements-local.txt"),
        lambda: _node(root),
        lambda: _ports(ports),
        lambda: _disk(data),
        _limits,
    )
    for check in checks:
        yield from check()


def _python() -> Iterator[Finding]:
    version = sys.version_info[:2]
    wanted = " or ".join(f"{major}.{minor}" for major, minor in SUPPORTED_PYTHON)
    yield Finding(version in SUPPORTED_PYTHON, f"Python {version[0]}.{version[1]} (needs {wanted})")
    yield Finding(
        sqlite3.sqlite_version_info >= OLDEST_SQLITE,
        f"SQLite {sqlite3.sqlite_version} (needs {'.'.join(map(str, OLDEST_SQLITE))} or newer)",
    )


def _packages(requirements: Path) -> Iterator[Finding]:
    wanted = dict(_pins(requirements))
    wrong = []
    for name, version in wanted.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing")
            continue
        if found != version:
            wrong.append(f"{name} is {found}, wanted {version}")
    if wrong:
        yield Finding(good=False, text=f"Python packages: {'; '.join(wrong)}: run `make setup`")
    else:
        yield Finding(good=True, text=f"{len(wanted)} Python packages as pinned")


def _pins(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text().splitlines():
        if included := re.match(r"-r\s+(\S+)", line):
            yield from _pins(path.parent / included[1])
        elif pinned := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*])?==([^\s;#]+)", line):
            yield pinned[1], pinned[2]


def _node(root: Path) -> Iterator[Finding]:
    node = shutil.which("node")
    if node is None:
        yield Finding(good=False, text=f"Node.js is not on the PATH (needs {OLDEST_NODE} or newer)")
        return
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = int(match[1]) if (match := re.match(r"v(\d+)", version)) else 0
    yield Finding(major >= OLDEST_NODE, f"Node.js {version} (needs {OLDEST_NODE} or newer)")
    script = "new (require('better-sqlite3'))(':memory:').close(); require.resolve('better-auth'); require.resolve('azurite/package.json')"
    loads = subprocess.run([node, "-e", script], capture_output=True, text=True, cwd=root, check=False)
    reason = (
        ""
        if loads.returncode == 0
        else next((x for x in loads.stderr.splitlines() if "Error" in x), "did not load") + ": run `make setup`"
    )
    yield Finding(loads.returncode == 0, f"Node packages load {reason}".rstrip())


def _ports(ports: dict[str, int]) -> Iterator[Finding]:
    for what, port in ports.items():
        if is_free(port):
            yield Finding(good=True, text=f"port {port} for {what} is free")
        else:
            text = f"port {port} for {what} is in use{holder(port)}; choose another with --{what}-port"
            yield Finding(good=False, text=text)


def _disk(data: Path) -> Iterator[Finding]:
    folder = next(place for place in (data.resolve(), *data.resolve().parents) if place.exists())
    if not os.access(folder, os.W_OK):
        yield Finding(good=False, text=f"{folder} cannot be written; choose a data folder with --data")
        return
    free = shutil.disk_usage(folder).free // 2**20
    yield Finding(free >= FREE_DISK_MIB, f"{free} MiB free for data in {folder} (needs {FREE_DISK_MIB})")
    milliseconds = _sync_milliseconds(folder)
    yield Finding(
        milliseconds < SLOW_SYNC_MS,
        f"a synced write takes {milliseconds:.1f} ms (slow from {SLOW_SYNC_MS:.0f})",
        fatal=False,
    )


def _sync_milliseconds(folder: Path) -> float:
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        begun = time.perf_counter()
        for _ in range(10):
            os.pwrite(file.fileno(), b"\0" * 4096, 0)
            os.fdatasync(file.fileno())
        return (time.perf_counter() - begun) * 100


def _limits() -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield Finding(
        soft >= OPEN_FILES or soft == resource.RLIM_INFINITY,
        f"{soft} open files allowed (needs {OPEN_FILES}; see `ulimit -n`)",
    )
