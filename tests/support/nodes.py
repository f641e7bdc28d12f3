"""Real agents for tests: enrolled by the real command, run as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from tests.support.house import HouseForTests
from tests.support.people import ApiClient
from tests.support.processes import PATIENCE_SECONDS, ROOT


class AgentProcess:
    """An agent in a folder of its own; killed with its games at the end of the block."""

    def __init__(self, house: HouseForTests, folder: Path, **settings: str) -> None:
        self.house, self.folder = house, folder
        self.log = folder.with_name(f"{folder.name}.log")
        self.process: subprocess.Popen[bytes] | None = None
        self.token = ""
        self.prefix: tuple[str, ...] = ()  # what stands before its command: a namespace to live in, say
        self.env = {
            **os.environ,
            "MERIDIAN_AGENT_FOLDER": str(folder),
            "MERIDIAN_AGENT_API_URL": house.api,
            **{f"MERIDIAN_AGENT_{name.upper()}": value for name, value in settings.items()},
        }

    @classmethod
    def enrolled(
        cls,
        house: HouseForTests,
        api: ApiClient,
        folder: Path,
        name: str,
        prefix: tuple[str, ...] = (),
        **settings: str,
    ) -> Self:
        """Make a token as a member does, and enrol."""
        agent = cls(house, folder / name, **settings)
        agent.prefix = prefix
        made = api.post("/v1/enrolment-tokens", {"note": name})
        assert made.status_code == 201, made.text
        agent.token = made.json()["token"]
        done = agent.run("enroll", "--token", agent.token, "--name", name, "--root-sha256", made.json()["root_sha256"])
        assert done.returncode == 0, done.stderr
        return agent

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the agent to its end."""
        return subprocess.run(
            [*self.prefix, sys.executable, "-m", "agent", *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def start(self) -> Self:
        """Start it, and wait until its line to the broker is up."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "agent", "run"],
                cwd=ROOT,
                env=self.env,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while "connected to" not in self.output():
            assert self.process.poll() is None, self.output()[-4000:]
            assert time.monotonic() < deadline, self.output()[-4000:]
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        """SIGKILL, as a crash would; its games run on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> int:
        """SIGTERM; its games run on."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)

    def output(self) -> str:
        """What it has logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def papers(self) -> dict[str, Any]:
        """What enrolment gave."""
        found: dict[str, Any] = json.loads((self.folder / "node.json").read_text())
        return found

    @property
    def node_id(self) -> str:
        """The node's id."""
        return str(self.papers["node_id"])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self.run("uninstall", "--yes")
