"""The install steps, one function each. Each works in a folder that no game uses yet."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.drivers.base import DriverError
from agent.drivers.programs import find_runtime
from agent.drivers.shim import as_user, end_user
from agent.jail import PathEscapes, inside
from agent.owners import GameUser, claim
from agent.servers import tools
from agent.servers.archives import extract
from agent.servers.errors import StepFailed
from agent.servers.steam import lay_client
from shared.messaging.server_install import (
    Download,
    Extract,
    Installer,
    Npm,
    Packages,
    Pip,
    Release,
    Script,
    Steamcmd,
    Step,
    Write,
)

if TYPE_CHECKING:
    from agent.servers.scripts import ScriptRunner

MAX_RELEASE_MIB: Final = 2048


@dataclass(frozen=True, slots=True)
class Work:
    """Where a step works, for how long it may, and whom it tells."""

    folder: Path
    cache: Path
    seconds: float
    say: Callable[[str], None]
    percent: Callable[[int], None]
    user: GameUser | None = None  # whom a program that a step brought runs as; None: as ourselves
    scripts: ScriptRunner | None = None  # where the driver is containers


async def perform(step: Step, work: Work) -> None:
    """Do one step.

    Raises:
        StepFailed: it cannot be done.
    """
    try:
        async with asyncio.timeout(work.seconds):
            await _STEPS[step.kind](step, work)
    except TimeoutError:
        raise StepFailed(
            "step_timed_out", f"{describe(step)} took longer than {work.seconds:.0f} s", retryable=True
        ) from None
    except PathEscapes as error:
        raise StepFailed("path_escapes", str(error)) from None
    except OSError as error:
        raise StepFailed("disk_error", f"{describe(step)}: {error.strerror or error}", retryable=True) from None


def describe(step: Step) -> str:
    """A step in a few words, for people."""
    match step:
        case Download():
            return f"download {step.path}"
        case Release():
            return f"download {step.project} {step.version}"
        case Npm() | Pip() | Packages():
            return f"{step.kind} {' '.join(step.packages)[:120]}"
        case Steamcmd():
            return f"steamcmd {step.app_id}"
        case Extract():
            return f"extract {step.archive}"
        case Write():
            return f"write {step.path}"
        case Installer():
            return f"run the installer {step.file}"
        case Script():
            return f"run the install script in {step.image}"


async def _download(step: Download, work: Work) -> None:
    from agent.servers.fetch import download

    target = inside(work.folder, step.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    await download(step.url, target, step.digest, limit=step.max_mib << 20, on_percent=work.percent)
    if step.executable:
        target.chmod(0o755)


async def _release(step: Release, work: Work) -> None:
    from agent.servers.fetch import download
    from agent.servers.releases import published

    url, digest = await published(step)
    work.say(f"{step.project} {step.version}: {url}")
    target = inside(work.folder, step.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    await download(url, target, digest, limit=MAX_RELEASE_MIB << 20, on_percent=work.percent)


async def _npm(step: Npm, work: Work) -> None:
    npm = tools.tool("npm", "npm")
    package = work.folder / "package.json"
    if not package.exists():
        package.write_text(json.dumps({"name": "server", "private": True}))
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=http", "--save-exact"]
    await tools.run(
        [npm, "install", *flags, *step.packages],
        work.folder,
        seconds=work.seconds,
        env={"npm_config_cache": str(work.cache / "npm")},
        on_line=work.say,
        code="npm_failed",
    )


async def _pip(step: Pip, work: Work) -> None:
    target = inside(work.folder, step.path)
    flags = [
        "--no-input",
        "--disable-pip-version-check",
        "--only-binary=:all:",
        "--no-compile",
        "--target",
        str(target),
    ]
    await tools.run(
        [shutil.which("python3") or sys.executable, "-m", "pip", "install", *flags, *step.packages],
        work.folder,
        seconds=work.seconds,
        env={"PIP_CACHE_DIR": str(work.cache / "pip")},
        on_line=work.say,
        code="pip_failed",
    )


async def _steamcmd(step: Steamcmd, work: Work) -> None:
    program = tools.tool("steamcmd", "steamcmd")
    home = work.cache / "steam"
    home.mkdir(parents=True, exist_ok=True)
    update = ["+app_update", str(step.app_id)]
    update += ["-beta", step.beta] if step.beta else []
    update += ["validate"] if step.validate else []

    def heard(line: str) -> None:
        found = re.search(r"progress: (\d+)[.,]\d+", line)
        if found:
            work.percent(min(int(found.group(1)), 100))
        work.say(line)

    await tools.run(
        [program, "+force_install_dir", str(work.folder), "+login", "anonymous", *update, "+quit"],
        work.folder,
        seconds=work.seconds,
        env={"HOME": str(home)},
        on_line=heard,
        code="steamcmd_failed",
    )
    if not await asyncio.to_thread(lay_client, Path(program), home, work.folder):
        work.say("steamcmd left no steamclient.so: a game that speaks to Steam will miss it")


async def _packages(step: Packages, work: Work) -> None:
    apt, dpkg = tools.tool("apt-get", "apt"), tools.tool("dpkg-deb", "dpkg")
    parcels = work.folder / ".packages"
    parcels.mkdir(exist_ok=True)
    # A simulated install names what the machine lacks. `download` only fetches, checked against the distribution's
    # signed lists: neither needs the rights of root.
    lacking = await tools.run(
        [apt, "install", "--simulate", "--no-install-recommends", "-o", "Debug::NoLocking=true", *step.packages],
        parcels,
        seconds=work.seconds,
        code="package_not_available",
        keep=2000,
    )
    needed = {line.split()[1].partition(":")[0] for line in lacking if line.startswith("Inst ")}
    await tools.run(
        [apt, "download", "-o", "APT::Sandbox::User=root", *sorted(needed | set(step.packages))],
        parcels,
        seconds=work.seconds,
        on_line=work.say,
        code="package_not_available",
    )
    for parcel in sorted(parcels.glob("*.deb")):
        await tools.run([dpkg, "-x", str(parcel), str(work.folder)], work.folder, seconds=work.seconds)
    shutil.rmtree(parcels)


async def _extract(step: Extract, work: Work) -> None:
    archive = inside(work.folder, step.archive)
    if not archive.is_file():
        raise StepFailed("no_such_file", f"no earlier step brought {step.archive}")
    target = work.folder if step.to == "." else inside(work.folder, step.to)
    await asyncio.to_thread(extract, archive, target, step.strip)
    archive.unlink()


async def _write(step: Write, work: Work) -> None:
    target = inside(work.folder, step.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(step.content)
    target.chmod(0o755 if step.executable else 0o644)


async def _installer(step: Installer, work: Work) -> None:
    file = inside(work.folder, step.file)
    if not file.is_file():
        raise StepFailed("no_such_file", f"no earlier step brought {step.file}")
    limit = ["prlimit", f"--data={step.memory_mib << 20}", "--nproc=512", "--"] if shutil.which("prlimit") else []
    command = {
        "java": ["java", f"-Xmx{step.memory_mib}m", "-jar"],
        "node": ["node"],
        "python": ["python3", "-I"],
    }[step.runtime]
    tools.tool(command[0], {"java": "default-jre-headless", "node": "nodejs", "python": "python3"}[step.runtime])
    if step.runtime == "java":
        limit = []  # a Java machine reserves far more address space than it uses; -Xmx bounds it
    try:
        command[0] = find_runtime(command[0], work.user)
    except DriverError as error:
        raise StepFailed("tool_missing", error.reason) from None
    if work.user is not None:
        claim(work.folder, work.user.owner)
    try:
        await tools.run(
            [*limit, *as_user(work.user), *command, os.fspath(file), *step.arguments],
            work.folder,
            seconds=work.seconds,
            env={"HOME": str(work.folder)},
            on_line=work.say,
            code="installer_failed",
        )
    finally:
        if work.user is not None and work.user.alone:
            await asyncio.to_thread(end_user, work.user)


async def _script(step: Script, work: Work) -> None:
    if work.scripts is None:
        raise StepFailed(
            "script_not_allowed", "install scripts run in containers alone, and this node's driver is not those"
        )
    await work.scripts.run(step, work.folder, work.say)


_STEPS: Final[dict[str, Callable[[Any, Work], Awaitable[None]]]] = {
    "download": _download,
    "release": _release,
    "npm": _npm,
    "pip": _pip,
    "steamcmd": _steamcmd,
    "packages": _packages,
    "extract": _extract,
    "write": _write,
    "installer": _installer,
    "script": _script,
}
