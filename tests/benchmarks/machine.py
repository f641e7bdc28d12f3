"""What the machine does while a bench runs: CPU-seconds of processes, memory, and a calibration of its speed."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

DRIFT = 0.30  # a round is dropped if its calibration is further than this from the run's median
_LOOP_STEPS = 200_000
_SYNCS = 200
_SYNC_BYTES = b"x" * 4096


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU-seconds that the living threads of these processes have used so far (nanosecond counters of the scheduler).

    A thread's share disappears with the thread: read before threads or children of a side end.
    """
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):  # the thread ended while we looked
                continue
    return total / 1e9


def private_bytes(pid: int) -> int:
    """Memory that the process has for itself alone (USS): what would be free again if it ended."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean:", "Private_Dirty:")):
            total += int(line.split()[1]) * 1024
    return total


def children_of(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            try:
                found.extend(int(child) for child in (task / "children").read_text().split())
            except FileNotFoundError:
                continue
    return found


def steal_seconds() -> float:
    """Time that the hypervisor took away from this machine so far."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Calibration:
    """How fast the machine was just now."""

    loop_cpu: float  # CPU-seconds of a fixed loop of plain Python
    loop_wall: float  # its wall seconds
    sync: float  # mean seconds of one 4 KiB write with fdatasync
    steal: float  # stolen seconds up to now


def calibrate() -> Calibration:
    """Run the fixed loop and the syncs (about 50 ms)."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = 0
    for step in range(_LOOP_STEPS):
        value = (value * 31 + step) & 0xFFFFFF
    loop_wall, loop_cpu = time.perf_counter() - wall, time.process_time() - cpu
    with tempfile.NamedTemporaryFile(dir=tempfile.gettempdir()) as file:
        wall = time.perf_counter()
        for index in range(_SYNCS):
            os.pwrite(file.fileno(), _SYNC_BYTES, (index % 64) * 4096)
            os.fdatasync(file.fileno())
        sync = (time.perf_counter() - wall) / _SYNCS
    return Calibration(loop_cpu, loop_wall, sync, steal_seconds())


def pinned(core: int, command: list[str]) -> list[str]:
    """The command tied to one core, where there are two or more: servers take core 0, load takes the last."""
    count = os.cpu_count() or 1
    return command if count < 2 else ["taskset", "-c", str(core % count), *command]


def steady(calibrations: Sequence[Calibration], *, wall: bool) -> set[int]:
    """Indices of the rounds in which the machine was as fast as in most; wall figures ask more of it than CPU figures."""
    kept = set(range(len(calibrations)))
    for name in ("loop_cpu", "loop_wall", "sync") if wall else ("loop_cpu",):
        values = [getattr(each, name) for each in calibrations]
        middle = statistics.median(values) if values else 0.0
        kept &= {index for index, value in enumerate(values) if abs(value - middle) <= DRIFT * middle}
    return kept


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of sorted values."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
