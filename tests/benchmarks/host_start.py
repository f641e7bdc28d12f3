"""How long the functions host takes to answer first, and how much memory it takes for itself, over the SDKs it carries."""

from __future__ import annotations

import http.client
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.harness import Aim, Bench, Work, bench
from tests.benchmarks.host_http import TRIVIAL, host_command
from tests.benchmarks.machine import private_bytes
from tests.support.processes import ROOT, free_port, wait_for_port

DURABLE = ROOT / "tests" / "apps" / "durable_sample"
_PATIENCE = 60.0


class _Start:
    """Processes started one after another until they are ready; CPU is that of each whole process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0

    def start(self) -> None:
        self._once()

    def run(self, seconds: float) -> Work:
        """At least two starts: one takes longer than a slice is meant to be, on some machines."""
        deadline, units, cpu = time.monotonic() + seconds, 0, 0.0
        while units < 2 or time.monotonic() < deadline:
            cpu += self._once()
            units += 1
        self.count += units
        return Work(units, cpu)

    def pids(self) -> Sequence[int]:
        return []

    def check(self) -> None:
        assert self.count > 0, "nothing was started"

    def stop(self) -> None:
        """Every process has ended already."""

    def _once(self) -> float:
        raise NotImplementedError


class _Host(_Start):
    """The host up to its first answer, its data folder new each time."""

    def __init__(self, name: str, app: Path, path: str, folder: Path) -> None:
        super().__init__(name)
        self._app, self._path, self._folder = app, path, folder

    def _once(self) -> float:
        port = free_port()
        process = subprocess.Popen(
            host_command(self._app, port, str(self._folder)), cwd=ROOT, stderr=subprocess.DEVNULL
        )
        try:
            status = _first_answer(port, self._path)
        finally:
            process.kill()
            _, _, usage = os.wait4(process.pid, 0)
            process.returncode = 0
            shutil.rmtree(self._folder, ignore_errors=True)
        assert status == 200, f"the first answer was {status}"
        return usage.ru_utime + usage.ru_stime


class _Imports(_Start):
    """A bare interpreter that imports modules and ends."""

    def __init__(self, name: str, modules: str) -> None:
        super().__init__(name)
        self._modules = modules

    def _once(self) -> float:
        process = subprocess.Popen([sys.executable, "-c", f"import {self._modules}"], cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = 0
        assert status == 0, "the imports failed"
        return usage.ru_utime + usage.ru_stime


def _first_answer(port: int, path: str) -> int:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            time.sleep(0.002)
        finally:
            connection.close()
    raise AssertionError("the host never answered")


@bench("host-start")
def host_start(run: Bench) -> None:
    """Process start to first answer, against a bare interpreter that imports the same SDKs."""
    with tempfile.TemporaryDirectory() as folder:
        run.compare(
            [
                _Host("host, HTTP app", TRIVIAL, "/pong", Path(folder) / "a"),
                _Imports("import azure.functions", "azure.functions"),
                _Host("host, durable app", DURABLE, "/admin/host/ping", Path(folder) / "b"),
                _Imports("import both SDKs", "azure.functions, azure.durable_functions"),
            ],
            [
                Aim("host, durable app", "import both SDKs", "cpu", at_most=1.3),
                Aim("host, durable app", "import both SDKs", "wall", at_most=1.3),
                Aim("host, HTTP app", "import azure.functions", "cpu", at_most=1.3),
            ],
        )


@bench("host-memory")
def host_memory(run: Bench) -> None:
    """Private memory of an idle host, against a bare interpreter that imported the same SDKs and waits."""
    with tempfile.TemporaryDirectory() as folder:
        for name, app, modules in (
            ("HTTP app", TRIVIAL, "asyncio, azure.functions"),
            ("durable app", DURABLE, "asyncio, azure.functions, azure.durable_functions"),
        ):
            ratios, sizes = [], []
            for attempt in range(3):
                ours = _settled(host_command(app, port := free_port(), f"{folder}/{name}{attempt}"), port)
                bare = _settled(
                    [sys.executable, "-c", f"import {modules}, time; print(flush=True); time.sleep(600)"], None
                )
                ratios.append(ours / bare)
                sizes.append(ours)
            run.figure(f"{name}: private memory", round(statistics.median(sizes) / 2**20, 1), "MiB")
            run.figure(f"{name}: private memory / the SDKs alone", round(max(ratios), 3))


def _settled(command: list[str], port: int | None) -> int:
    """Private bytes of a process a while after it is ready."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        if port is not None:
            wait_for_port(port, process)
            assert _first_answer(port, "/admin/host/ping") == 200
        else:
            assert process.stdout is not None
            process.stdout.readline()
        time.sleep(2)  # idle, as it is measured
        return private_bytes(process.pid)
    finally:
        process.kill()
        process.communicate()
