"""Starting real parts as processes of their own, and waiting until they answer."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0  # a guard against hanging, far above what any part needs


# Below the kernel's own choices (ip_local_port_range), above those of the servers' tests, and apart for each worker: a port
# that is handed out here and bound a little later must not be taken in between by somebody's bind to port 0.
FIRST_PORT, PORTS_A_WORKER = 30_000, 450
_next_port = itertools.count(random.randrange(PORTS_A_WORKER))


def free_port() -> int:
    """A TCP port that nobody listens on, and that nobody else is given."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 6
    for _ in range(PORTS_A_WORKER):
        port = FIRST_PORT + worker * PORTS_A_WORKER + next(_next_port) % PORTS_A_WORKER
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError(f"no free port for worker {worker}")


def wait_for_port(port: int, process: subprocess.Popen[bytes] | None = None, host: str = "127.0.0.1") -> None:
    """Return when something accepts on the port; fail if the process ends before that."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"the process ended with code {process.returncode} before it listened on {port}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((host, port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens on port {port}")


class Part:
    """A part of the house in a process of its own, its output kept in a file; killed at the end of the block."""

    def __init__(
        self, command: Sequence[str], log: Path, port: int | None = None, env: dict[str, str] | None = None
    ) -> None:
        self.command, self.log, self.port = list(command), log, port
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def module(
        cls, module: str, *arguments: str, log: Path, port: int | None = None, env: dict[str, str] | None = None
    ) -> Self:
        """A Python module of this repository, run with the tests' interpreter."""
        return cls([sys.executable, "-m", module, *arguments], log, port, env)

    def start(self) -> Self:
        """Start the process and wait for its port, if it has one."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=self.env, stdout=log, stderr=log, start_new_session=True
            )
        if self.port is not None:
            try:
                wait_for_port(self.port, self.process)
            except (RuntimeError, TimeoutError) as error:
                self.kill()
                raise RuntimeError(f"{error}\n{self.output()[-4000:]}") from error
        return self

    def stop(self) -> int:
        """Ask it to end (SIGTERM) and wait; the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        """SIGKILL to the whole group, as a crash would."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_SECONDS)

    def output(self) -> str:
        """Everything it has printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextlib.contextmanager
def dead_address() -> Iterator[str]:
    """An HTTP address at which nothing answers: its port is held, so that nobody else can listen there meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
