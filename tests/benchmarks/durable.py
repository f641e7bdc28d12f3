"""What the durable engine costs: against DBOS, durabletask, bare SQLite, the SDK's own replay, and itself when full."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.harness import Aim, Bench, MissingPeer, Work, bench
from tests.support.processes import ROOT, free_port

PEERS = Path(__file__).parent / "durable_peers"
PEER_VENV = ROOT / ".venv-peers"
KILLED_WORKFLOWS = 60
FINISHED = int(os.environ.get("MERIDIAN_BENCH_FINISHED", "1000000"))


def peer_python() -> str:
    """An interpreter that has the peers; made at the first use."""
    python = PEER_VENV / "bin" / "python"
    ready = PEER_VENV / ".ready"
    if not ready.exists():
        venv.create(PEER_VENV, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(PEERS / "requirements.txt")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise MissingPeer(f"pip could not install {PEERS.name}/requirements.txt: {done.stderr.strip()[-200:]}")
        ready.touch()
    return str(python)


class Program:
    """A side in a process of its own, which takes commands."""

    def __init__(self, name: str, *command: str, peer: bool = False, task: dict[str, Any] | None = None) -> None:
        self.name, self._command, self._peer = name, command, peer
        self._task = task or {"do": "run"}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.launch()
        self.run(0.3)

    def launch(self) -> None:
        """Start the process and wait until it is ready."""
        python = peer_python() if self._peer else sys.executable
        self._process = subprocess.Popen(
            [python, *self._command],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._read()["ready"]

    def ask(self, **command: Any) -> dict[str, Any]:
        """One command."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError(f"{self.name} ended with code {self._process.wait()}")
        return dict(json.loads(line))

    def run(self, seconds: float) -> Work:
        answer = self.ask(**(self._task if "width" in self._task else self._task | {"seconds": seconds}))
        return Work(answer["units"], answer["cpu"], latencies=answer.get("latencies", ()))

    def pids(self) -> Sequence[int]:
        assert self._process is not None
        return [self._process.pid]

    def check(self) -> None:
        """Every result was compared where it was made."""

    def kill(self) -> None:
        """As a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


class Surviving(Program):
    """A side that must also survive a kill in the middle of its work."""

    def check(self) -> None:
        ids = self.ask(do="start_many", count=KILLED_WORKFLOWS)["ids"]
        self.kill()
        self.launch()
        right = self.ask(do="finish", ids=ids)["right"]
        assert right == KILLED_WORKFLOWS, f"after a kill {right} of {KILLED_WORKFLOWS} workflows ended right"


@bench("durable-three-steps")
def three_steps(run: Bench) -> None:
    """Three-step workflows with the history on disk (synchronous=FULL), a kill survived: CPU for each."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("ours", "dbos", "floor"):
            (Path(folder) / name).mkdir()
        run.compare(
            [
                Surviving("engine", "-m", "tests.benchmarks.durable_peers.ours", f"{folder}/ours"),
                Surviving("DBOS on SQLite", str(PEERS / "dbos_side.py"), f"{folder}/dbos", peer=True),
                Program("durabletask in memory", str(PEERS / "durabletask_side.py"), str(free_port()), peer=True),
                Program("bare SQLite, grouped", str(PEERS / "sqlite_side.py"), f"{folder}/floor"),
            ],
            [
                Aim("engine", "DBOS on SQLite", "cpu", at_most=1 / 5),
                Aim("engine", "durabletask in memory", "cpu", at_most=1 / 10),
                Aim("engine", "DBOS on SQLite", "wall", at_most=1 / 10),
            ],
        )


@bench("durable-200-steps")
def two_hundred_steps(run: Bench) -> None:
    """200 steps one after another: generators kept alive against the SDK's full replay in every episode."""
    task = {"do": "run", "length": 200, "in_flight": 1}
    run.rounds = min(run.rounds, 6)  # a replay of each episode takes seconds
    with tempfile.TemporaryDirectory() as folder:
        for name in ("live", "replay"):
            (Path(folder) / name).mkdir()
        module = "tests.benchmarks.durable_peers.ours"
        run.compare(
            [
                Program("kept alive", "-m", module, f"{folder}/live", "live", task=task),
                Program("full replay", "-m", module, f"{folder}/replay", "replay", task=task),
            ],
            [Aim("kept alive", "full replay", "cpu", at_most=1 / 10)],
        )


class BareWaiting:
    """The activities of a fan-out and nothing else: so many at once, in this process."""

    def __init__(self, name: str, width: int, seconds: float, concurrency: int) -> None:
        self.name = name
        self._width, self._seconds, self._concurrency = width, seconds, concurrency

    def start(self) -> None:
        self.run(0)

    def run(self, seconds: float) -> Work:
        del seconds
        asyncio.run(self._all())
        return Work(1)

    async def _all(self) -> None:
        left = self._width

        async def worker() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await asyncio.sleep(self._seconds)

        await asyncio.gather(*(worker() for _ in range(self._concurrency)))

    def pids(self) -> Sequence[int]:
        return [os.getpid()]

    def check(self) -> None:
        """There is nothing to be wrong about."""

    def stop(self) -> None:
        """Nothing was started."""


@bench("durable-fan-out")
def fan_out(run: Bench) -> None:
    """Fan-outs of 1,000 and 5,000 activities of 5 ms, 20 at once, against the activities alone: wall time."""
    for width in (1_000, 5_000):
        with tempfile.TemporaryDirectory() as folder:
            task = {"do": "fan_out", "width": width, "seconds": 0.005}
            module = "tests.benchmarks.durable_peers.ours"
            ours, bare = f"fan-out of {width}", f"{width} waits"
            run.compare(
                [
                    Program(ours, "-m", module, folder, "live", "20", task=task),
                    BareWaiting(bare, width, 0.005, 20),
                ],
                [Aim(ours, bare, "wall", at_most=1.4)],
            )


@bench("durable-million")
def million(run: Bench) -> None:
    """The same workflows in a file with a million finished instances and in one with a thousand: CPU for each."""
    with tempfile.TemporaryDirectory() as folder:
        for name, count in (("full", FINISHED), ("small", 1_000)):
            (Path(folder) / name).mkdir()
            size = fill(Path(folder) / name, count)
            run.note(f"{name}: finished instances", f"{count} in {size / 1e6:.0f} MB")
        module = "tests.benchmarks.durable_peers.ours"
        run.compare(
            [
                Program("full file", "-m", module, f"{folder}/full"),
                Program("small file", "-m", module, f"{folder}/small"),
            ],
            [Aim("full file", "small file", "cpu", at_most=1.2)],
        )


def fill(folder: Path, count: int) -> int:
    """Let the engine finish one workflow, copy its rows so many times under other ids; the size of the file in bytes."""
    seed = Program("seed", "-m", "tests.benchmarks.durable_peers.ours", str(folder))
    seed.launch()
    assert seed.ask(do="run", seconds=0.01, in_flight=1)["units"]
    seed.stop()
    with contextlib.closing(sqlite3.connect(folder / "durable.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode=OFF")
        database.execute("PRAGMA synchronous=OFF")
        (key,) = database.execute("SELECT min(key) FROM instances WHERE finished IS NOT NULL").fetchone()
        columns = [row[1] for row in database.execute("PRAGMA table_info(instances)")]
        rest = [name for name in columns if name not in ("key", "id")]
        numbers = f"WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
        database.execute("BEGIN")
        database.execute(
            f"{numbers} INSERT INTO instances (key, id, {', '.join(rest)}) "
            f"SELECT i + 1000, printf('%032x', i), {', '.join(rest)} FROM n, instances WHERE key = {key}"
        )
        database.execute(
            f"{numbers} INSERT INTO history SELECT i + 1000, episode, at, events FROM n, history WHERE instance = {key}"
        )
        database.execute("COMMIT")
        database.execute("PRAGMA journal_mode=WAL")
    return (folder / "durable.db").stat().st_size


@bench("durable-latency")
def latency(run: Bench) -> None:
    """One three-step workflow at a time: its latency, as a multiple of one fdatasync of this disk."""
    with tempfile.TemporaryDirectory() as folder:
        program = Program("alone", "-m", "tests.benchmarks.durable_peers.ours", folder)
        program.start()
        medians, syncs = [], []
        try:
            for _ in range(run.rounds):
                syncs.append(_fdatasync(Path(folder) / "sync"))
                medians.append(
                    statistics.median(program.ask(do="run", seconds=run.slice_seconds, in_flight=1)["latencies"])
                )
        finally:
            program.stop()
    ratios = [median / sync for median, sync in zip(medians, syncs, strict=True)]
    run.figure("p50 of a workflow alone", statistics.median(medians) * 1e3, "ms")
    run.figure("one fdatasync of 4 KiB", statistics.median(syncs) * 1e3, "ms")
    run.figure("p50 in fdatasyncs", statistics.median(ratios), "", at_most=12)


def _fdatasync(path: Path) -> float:
    times = []
    with path.open("wb") as file:
        for _ in range(200):
            began = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times)
