"""What the functions host costs over the server below it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.harness import Aim, Bench, Work, bench
from tests.benchmarks.load import http_load, request_bytes
from tests.benchmarks.machine import pinned
from tests.support.processes import ROOT, free_port, wait_for_port

TRIVIAL = ROOT / "tests" / "apps" / "trivial"

_BARE = """
import uvicorn

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [
        (b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"pong"})

uvicorn.run(app, port=%d, loop="uvloop", http="httptools", lifespan="off", access_log=False, log_level="error", server_header=False)
"""


class _Server:
    """A server in a process of its own on the first core, asked for one path."""

    def __init__(self, name: str, command: list[str], port: int, path: str, connections: int = 32) -> None:
        self.name = name
        self._command, self._port, self._connections = command, port, connections
        self._request = request_bytes("GET", path)
        self._process: subprocess.Popen[bytes] | None = None
        self.answered = 0

    def start(self) -> None:
        self._process = subprocess.Popen(
            pinned(0, self._command), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_port(self._port, self._process)
        http_load(self._port, self._request, 1.0, self._connections)

    def run(self, seconds: float) -> Work:
        work = http_load(self._port, self._request, seconds, self._connections)
        self.answered += work.units
        return Work(work.units)

    def pids(self) -> Sequence[int]:
        assert self._process is not None
        return [self._process.pid]

    def check(self) -> None:
        assert self.answered > 0, "no request was answered"

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)


def host_command(app: Path, port: int, data: str, *more: str) -> list[str]:
    """The command that serves an app with the functions host."""
    return [sys.executable, "-m", "local.functions_host", str(app), "--port", str(port), "--data", data, *more]


@bench("host-http")
def host_http(run: Bench) -> None:
    """A trivial HTTP function against bare uvicorn: requests per CPU-second."""
    with tempfile.TemporaryDirectory() as folder:
        ports = [free_port() for _ in range(3)]
        run.compare(
            [
                _Server("async function", host_command(TRIVIAL, ports[0], f"{folder}/a"), ports[0], "/pong"),
                _Server(
                    "plain function", host_command(TRIVIAL, ports[1], f"{folder}/b"), ports[1], "/pong-in-a-thread"
                ),
                _Server("bare uvicorn", [sys.executable, "-c", _BARE % ports[2]], ports[2], "/"),
            ],
            [Aim("async function", "bare uvicorn", "rate", at_least=0.5)],
        )
