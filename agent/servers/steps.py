"""The install steps, one function each. Each works in a folder that no game uses yet."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent.jail import PathEscapes, inside
from agent.servers.archives import extract
from agent.servers.errors import StepFailed
from agent.servers.steam import copy_archive, lay_client
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
    from agent.servers.workshop import Workshop

MAX_RELEASE_MIB: Final = 2048
JAVA_MIB: Final = 512  # what a Java machine needs beside its heap


@dataclass(frozen=True, slots=True)
class Work:
    """Where a step works, for how long it may, and whom it tells."""

    shop: Workshop  # its files are where the step works; programs run there
    seconds: float
    say: Callable[[str], None]
    percent: Callable[[int], None]
    scripts: ScriptRunner | None = None  # where the driver is containers
    contact: str = ""  # whom those can turn to from whom files are fetched

    @property
    def folder(self) -> Path:
        """What becomes the content."""
        return self.shop.files


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
    limit = step.max_mib << 20
    await download(step.url, target, step.digest, limit=limit, contact=work.contact, on_percent=work.percent)
    if step.executable:
        target.chmod(0o755)


async def _release(step: Release, work: Work) -> None:
    from agent.servers.fetch import download
    from agent.servers.releases import published

    url, digest = await published(step, work.contact)
    work.say(f"{step.project} {step.version}: {url}")
    target = inside(work.folder, step.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    limit = MAX_RELEASE_MIB << 20
    await download(url, target, digest, limit=limit, contact=work.contact, on_percent=work.percent)


async def _npm(step: Npm, work: Work) -> None:
    npm = work.shop.program("npm", "npm")
    package = inside(work.folder, "package.json")
    if not package.exists():
        package.write_text(json.dumps({"name": "server", "private": True}))
    flags = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=http", "--save-exact"]
    flags.append("--foreground-scripts" if step.scripts else "--ignore-scripts")
    await work.shop.run(
        [npm, "install", *flags, *step.packages], seconds=work.seconds, on_line=work.say, code="npm_failed"
    )


async def _pip(step: Pip, work: Work) -> None:
    python = work.shop.program("python3", "python3-pip")
    flags = ["--no-input", "--disable-pip-version-check", "--no-compile"]
    flags += [] if step.build else ["--only-binary=:all:"]
    target = inside(work.folder, step.path)
    await work.shop.run(
        [python, "-m", "pip", "install", *flags, "--target", str(target), *step.packages],
        seconds=work.seconds,
        on_line=work.say,
        code="pip_failed",
    )


async def _steamcmd(step: Steamcmd, work: Work) -> None:
    shop = work.shop
    program = await asyncio.to_thread(copy_archive, Path(shop.program("steamcmd", "steamcmd")), shop.home)
    update = ["+app_update", str(step.app_id)]
    update += ["-beta", step.beta] if step.beta else []
    update += ["validate"] if step.validate else []

    def heard(line: str) -> None:
        found = re.search(r"progress: (\d+)[.,]\d+", line)
        if found:
            work.percent(min(int(found.group(1)), 100))
        work.say(line)

    await shop.run(
        [str(program), "+force_install_dir", str(work.folder), "+login", "anonymous", *update, "+quit"],
        seconds=work.seconds,
        on_line=heard,
        code="steamcmd_failed",
    )
    if not await asyncio.to_thread(lay_client, program, shop.home, work.folder):
        work.say("steamcmd left no steamclient.so: a game that speaks to Steam will miss it")


async def _packages(step: Packages, work: Work) -> None:
    shop, seconds = work.shop, work.seconds
    apt, dpkg = shop.program("apt-get", "apt"), shop.program("dpkg-deb", "dpkg")
    parcels = shop.home / "packages"
    parcels.mkdir(exist_ok=True)
    # A simulated install names what the machine lacks. `download` only fetches, checked against the distribution's
    # signed lists: neither needs the rights of root.
    simulate = [apt, "install", "--simulate", "--no-install-recommends", "-o", "Debug::NoLocking=true", *step.packages]
    lacking = await shop.run(simulate, seconds=seconds, code="package_not_available", keep=2000)
    needed = {line.split()[1].partition(":")[0] for line in lacking if line.startswith("Inst ")}
    download = [apt, "download", "-o", "APT::Sandbox::User=root", *sorted(needed | set(step.packages))]
    await shop.run(download, folder=parcels, seconds=seconds, on_line=work.say, code="package_not_available")
    unpack = 'tool=$1; shift; for parcel; do "$tool" -x "$parcel" . || exit; done'
    every = map(str, sorted(parcels.glob("*.deb")))
    await shop.run(["/bin/sh", "-c", unpack, "unpack", dpkg, *every], seconds=seconds)


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
    name, package, words = {
        "java": ("java", "default-jre-headless", [f"-Xmx{step.memory_mib}m", "-jar"]),
        "node": ("node", "nodejs", []),
        "python": ("python3", "python3", ["-I"]),
    }[step.runtime]
    java = step.runtime == "java"  # reserves far more address space than it uses
    await work.shop.run(
        [work.shop.program(name, package), *words, str(file), *step.arguments],
        seconds=work.seconds,
        on_line=work.say,
        code="installer_failed",
        memory_mib=step.memory_mib + (JAVA_MIB if java else 0),
        by_data=not java,
    )


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
