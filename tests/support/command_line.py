"""The program `meridian`, run as a person runs it: a process of its own, with a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.house import HouseForTests
from tests.support.processes import PATIENCE_SECONDS, ROOT


@dataclass
class CommandLine:
    """One person's `meridian` against one house."""

    house: HouseForTests
    home: Path
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """Its environment: nothing of the developer's own sign-in is seen."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MERIDIAN_")}
        own = {"MERIDIAN_CONFIG_DIR": str(self.home), "MERIDIAN_API": self.house.api, "COLUMNS": "200"}
        return {**kept, **own, **self.more}

    def command(self, *words: str) -> list[str]:
        """The command of these words."""
        return [sys.executable, "-m", "cli", *words]

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run to the end; the exit code is for the caller to judge."""
        return subprocess.run(
            self.command(*words),
            input=stdin,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=self.env,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def ask(self, *words: str) -> Any:
        """What a command answers as JSON; it must succeed."""
        done = self.run("--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
