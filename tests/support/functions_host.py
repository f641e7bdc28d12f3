"""The functions host in a process of its own, for tests of any app."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

from tests.support.processes import ROOT, Part, free_port

APPS = ROOT / "tests" / "apps"


class HostProcess:
    """One host over one app and one data folder; may be started again on both after a stop or a kill."""

    def __init__(
        self, app: Path, data: Path, *arguments: str, env: dict[str, str] | None = None, ca: Path | None = None
    ) -> None:
        self.port = free_port()
        self.ca = str(ca) if ca is not None else None
        self.scheme = "https" if "--tls-cert" in arguments else "http"
        self.data = data
        self.part = Part.module(
            "local.functions_host",
            str(app),
            "--port",
            str(self.port),
            "--data",
            str(data),
            *arguments,
            log=data.parent / f"{data.name}.log",
            port=self.port,
            env=env,
        )

    def __enter__(self) -> HostProcess:
        return self.start()

    def start(self) -> HostProcess:
        """Start it (again) and wait until it answers: its port is taken before the app is loaded."""
        self.part.start()
        try:
            assert self.call("GET", "/admin/host/ping").status_code == 200
        except BaseException:
            self.part.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.part.kill()

    @property
    def url(self) -> str:
        """Scheme, name and port."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def keys(self) -> dict[str, Any]:
        """The access keys as the host keeps them."""
        document: dict[str, Any] = json.loads((self.data / "keys.json").read_text())
        return document

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """One request on a connection of its own."""
        return requests.request(
            method, f"{self.url}{path}", timeout=30, allow_redirects=False, verify=self.ca, **options
        )


def refused(app: Path, data: Path, *arguments: str, env: dict[str, str] | None = None) -> str:
    """Start a host that must refuse to start: exit code 2 and one line on standard error, which is returned."""
    done = subprocess.run(
        [sys.executable, "-m", "local.functions_host", str(app), "--data", str(data), *arguments],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
    )
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, f"exit code {done.returncode}: {done.stderr}"
    assert len(lines) == 1, f"more than one line: {done.stderr}"
    return lines[0]
