"""The folder of releases: the one in use, the one on trial, and the launcher that goes back by itself.

releases/agent-<version>.pyz    the releases: the one in use, and the one before it
releases/current                link to the one in use
releases/trial                  "<release before> <deadline> <starts so far>" while the one in use is on trial
releases/failed                 the one that the launcher went back from last
releases/unpacked/              what releases unpack themselves into
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import sys
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from agent import __version__

_NAME: Final = re.compile(r"agent-(.+)\.pyz")


@dataclass(frozen=True, slots=True)
class Trial:
    """A release that must reach the control plane before the deadline (seconds since the epoch)."""

    before: str
    deadline: float


class Releases:
    """See the module. Its methods raise OSError where the disk does."""

    def __init__(self, agent_folder: Path) -> None:
        self._agent_folder = agent_folder
        self.folder = agent_folder / "releases"

    @property
    def current(self) -> str:
        """The file name of the release in use; empty when none was ever put in place."""
        try:
            return os.readlink(self.folder / "current")  # noqa: PTH115  # as text
        except OSError:
            return ""

    @property
    def version(self) -> str:
        """The version of the release in use; this program's own when none was put in place."""
        found = _NAME.fullmatch(self.current)
        return found.group(1) if found else __version__

    @property
    def launched(self) -> bool:
        """Whether this very program was started by the launcher: only then can it be changed for another."""
        program = Path(sys.argv[0])
        return program.name == "current" and program.parent.resolve() == self.folder.resolve()

    @property
    def trial(self) -> Trial | None:
        """The trial that the release in use must pass."""
        try:
            before, deadline, _ = (self.folder / "trial").read_text().split()
            found = Trial(before, float(deadline))
        except (OSError, ValueError):
            return None
        return found if found.before != self.current else None  # left by a switch that was broken off

    def went_back_from(self, version: str) -> bool:
        """Whether the launcher has taken this release back, since it was switched to last."""
        try:
            return (self.folder / "failed").read_text().strip() == _file_name(version)
        except OSError:
            return False

    def incoming(self) -> Path:
        """A name for a file on its way in; what earlier ones left is cleared away."""
        self.install_launcher()
        for left in self.folder.glob(".incoming-*"):
            left.unlink(missing_ok=True)
        return self.folder / f".incoming-{secrets.token_hex(8)}"

    def switch(self, file: Path, version: str, trial_seconds: float | None) -> None:
        """Put a checked file in its place and make it the one in use: on trial, if there is one to go back to.

        Timeline of a crash: the trial is written first. Before the link moves it names the release in use and counts
        for nothing; after that the launcher holds the new one to it.
        """
        before, name = self.current, _file_name(version)
        with file.open("rb") as content:
            os.fsync(content.fileno())
        file.replace(self.folder / name)
        (self.folder / "failed").unlink(missing_ok=True)
        if before and trial_seconds is not None:
            new = self.folder / "trial.new"
            new.write_text(f"{before} {int(time.time() + trial_seconds)} 0\n")
            new.replace(self.folder / "trial")
        link = self.folder / "current.new"
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        link.replace(self.folder / "current")

    def pass_trial(self) -> bool:
        """The control plane has answered: the release stays. False when it was not on trial."""
        trial = self.trial
        (self.folder / "trial").unlink(missing_ok=True)
        if trial is None:
            return False
        self._prune({self.current, trial.before})
        return True

    def _prune(self, kept: set[str]) -> None:
        """Let go of releases older than the one before this; what cannot be deleted is left for the next time."""
        for file in self.folder.glob("agent-*.pyz"):
            if file.name not in kept:
                with contextlib.suppress(OSError):
                    file.unlink()
        unpacked = self.folder / "unpacked"
        mine = Path(sys.path[0]).parent
        for place in unpacked.glob("*") if mine.parent == unpacked else ():
            if place != mine:
                shutil.rmtree(place, ignore_errors=True)

    def install_launcher(self) -> None:
        """Put the launcher beside the releases, if it is not there."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        launcher = self._agent_folder / "launcher.sh"
        if not launcher.exists():
            launcher.write_bytes((resources.files("agent") / "launcher.sh").read_bytes())
            launcher.chmod(0o755)


def _file_name(version: str) -> str:
    return f"agent-{version}.pyz"
