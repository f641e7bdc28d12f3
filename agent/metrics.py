"""What the machine has and uses. psutil is imported when first asked: `status` and `doctor` do without."""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from shared.messaging.agent_api import MAX_DISKS, Disk, Hardware, Platform

_MIB: Final = 1024 * 1024


def read_platform(driver: Literal["process", "container"] = "process") -> Platform:
    """The system's names, and how games are run on it."""
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        distribution = ""
    return Platform(
        os=sys.platform,
        arch=platform.machine(),
        release=platform.release(),
        distribution=distribution[:200],
        hostname=socket.gethostname()[:200],
        python=platform.python_version(),
        driver=driver,
    )


def read_hardware(folder: Path) -> Hardware:
    """What can be given to servers; the disk is the one that the agent's folder is on."""
    import psutil

    disk = psutil.disk_usage(str(folder if folder.exists() else Path("/")))
    addresses = {
        address.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
    }
    public = sorted(address for address in addresses if not address.startswith(("127.", "::1", "fe80")))
    return Hardware(
        cpu_count=len(os.sched_getaffinity(0)),
        memory_mib=psutil.virtual_memory().total // _MIB,
        disk_mib=disk.total // _MIB,
        cpu_model=_cpu_model(),
        addresses=tuple(public[:64]),
    )


def _cpu_model() -> str:
    try:
        with Path("/proc/cpuinfo").open() as lines:
            return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")[:200]
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class Use:
    """How busy the machine is. Rates are means since the look before."""

    cpu_percent: float
    memory_used_mib: int
    disks: tuple[Disk, ...]
    received_kib_s: float
    sent_kib_s: float


class MachineUse:
    """How busy the machine is, measured between two looks."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._busy, self._total = _cpu_times()
        self._carried, self._looked_at = _carried(), clock()

    def read(self) -> Use:
        """The figures of now.

        Raises:
            OSError: the agent's own folder cannot be looked at.
        """
        busy, total = _cpu_times()
        passed = total - self._total
        percent = 100 * (busy - self._busy) / passed if passed > 0 else 0.0
        self._busy, self._total = busy, total
        carried, now = _carried(), self._clock()
        received, sent = (
            round(max(0, new - old) / 1024 / max(0.001, now - self._looked_at), 1)
            for new, old in zip(carried, self._carried, strict=True)
        )
        self._carried, self._looked_at = carried, now
        return Use(round(max(0.0, percent), 1), _memory_used(), _disks(self._folder), received, sent)


def _carried() -> tuple[int, int]:
    """Bytes that the machine's network cards have received and sent; in a container, which has none, all but the loop."""
    try:
        rows = [line.split(":", 1) for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    except OSError:
        return 0, 0
    counted = {name.strip(): [int(field) for field in fields.split()] for name, fields in rows}
    cards = [name for name in counted if Path(f"/sys/class/net/{name}/device").exists()]
    names = cards or [name for name in counted if name != "lo"]
    return sum(counted[name][0] for name in names), sum(counted[name][8] for name in names)


def _disks(folder: Path) -> tuple[Disk, ...]:
    """The file systems that lie on devices, each once, that of the agent's folder first."""
    found = [_disk(str(folder))]
    seen = {os.stat(folder).st_dev}  # noqa: PTH116  # once a beat for each: no Path objects
    try:
        rows = [line.split(" ", 2) for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        rows = []
    for device, escaped, _ in rows:
        path = escaped.replace("\\040", " ")
        if not device.startswith("/dev/") or device.startswith("/dev/loop") or len(path) > 200:
            continue
        try:
            place = os.stat(path).st_dev  # noqa: PTH116
            if place not in seen and len(found) < MAX_DISKS:
                found.append(_disk(path))
        except OSError:  # closed to us, or gone
            continue
        seen.add(place)
    return tuple(found)


def _disk(path: str) -> Disk:
    found = os.statvfs(path)
    return Disk(path[:200], found.f_blocks * found.f_frsize // _MIB, found.f_bavail * found.f_frsize // _MIB)


def _cpu_times() -> tuple[float, float]:
    with Path("/proc/stat").open() as stat:
        fields = [int(field) for field in stat.readline().split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def _memory_used() -> int:
    found = {}
    with Path("/proc/meminfo").open() as lines:
        for line in lines:
            name, _, value = line.partition(":")
            found[name] = int(value.split()[0])
            if name == "MemAvailable":
                break
    return (found["MemTotal"] - found.get("MemAvailable", 0)) // 1024
