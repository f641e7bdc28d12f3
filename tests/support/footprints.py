"""What the parts of a house and an agent hold in memory while they work: taken again and again, and judged by its slope."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.benchmarks.machine import children_of, cpu_seconds
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.slopes import Slope, slope_of

#: `local.durable.core.store` lets SQLite keep so much of its file: until then every page it has written stays in memory.
#: All other databases keep 2 MiB of theirs at most, and what is read by others than the writer is forgotten at each commit.
DURABLE_CACHE_KIB: Final = 64 * 1024
#: A cached page costs what its frame costs beside it (pcache1: a header, the b-tree's own, and malloc's).
PAGE_KIB, CACHED_PAGE_KIB = 4.0, 4.27


class Footprints:
    """Anonymous memory by part, in KiB, games left out.

    Anonymous is what a process has asked for itself. Pages of files (libraries, shared memory of databases) are left out:
    whether one counts as private depends on who else on the machine has it open just then.
    """

    def __init__(self, house: HouseForTests, agent: AgentProcess) -> None:
        assert agent.process is not None
        living = {
            name: part.process for name, part in house.parts.items() if part.process and part.process.poll() is None
        }
        self._pids = {name: children_of(process.pid) for name, process in living.items()}
        self._pids["agent"] = [agent.process.pid]
        self._durable = house.folder / "host" / "durable.db"
        self._began = time.monotonic()
        self._cpu = {name: [(0.0, cpu_seconds(pids))] for name, pids in self._pids.items()}
        self._taken: dict[str, list[tuple[float, float]]] = {name: [] for name in self._pids}
        self._beyond: dict[str, list[tuple[float, float]]] = {name: [] for name in self._pids}

    def take(self) -> None:
        """One sample of each part."""
        at = time.monotonic() - self._began
        for name, pids in self._pids.items():
            used = float(sum(map(anonymous_kib, pids)))
            self._cpu[name][1:] = [(at, cpu_seconds(pids))]  # first and last
            self._taken[name].append((at, used))
            self._beyond[name].append((at, used - (cached_kib(self._durable) if name == "host" else 0.0)))

    @property
    def growth(self) -> dict[str, Slope]:
        """KiB a minute by part, without the pages of the durable engine's file that are cached."""
        return {name: slope_of(samples) for name, samples in self._beyond.items()}

    def lines(self) -> list[str]:
        """A line a part, as it was when it was taken last."""
        return [
            f"{name:8} {samples[-1][1] / 1024:7.1f} MiB, {slope_of(samples)} KiB a minute, without cached pages"
            f" {slope_of(self._beyond[name])}; {self._cpu_a_minute(name) * 1000:.0f} ms of CPU a minute"
            for name, samples in self._taken.items()
        ]

    def _cpu_a_minute(self, name: str) -> float:
        (_, first), (at, last) = self._cpu[name][0], self._cpu[name][-1]
        return (last - first) / max(at, 1.0) * 60


def anonymous_kib(pid: int) -> int:
    """Memory that belongs to no file: heaps, stacks, what was written to of a library's own data."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def cached_kib(path: Path) -> float:
    """What SQLite keeps of the durable engine's file: all of it, up to the bound of its cache."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        pages = int(db.execute("PRAGMA page_count").fetchone()[0])
    return min(pages * PAGE_KIB, DURABLE_CACHE_KIB) / PAGE_KIB * CACHED_PAGE_KIB
