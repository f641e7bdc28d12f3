"""What the machine has and uses. psutil is imported when first asked: `status` and `doctor` do without."""

from __future__ import annotations

import os
import platform
import socket
import sys
from pathlib import Path
from typing import Final, Literal

from shared.messaging.agent_api import Hardware, Platform

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


class MachineUse:
    """How busy the machine is, measured between two calls."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._busy, self._total = _cpu_times()

    def read(self) -> tuple[float, int, int]:
        """CPU in percent since the last call, memory in use and disk free, in MiB."""
        busy, total = _cpu_times()
        passed = total - self._total
        percent = 100 * (busy - self._busy) / passed if passed > 0 else 0.0
        self._busy, self._total = busy, total
        disk = os.statvfs(self._folder)
        return round(max(0.0, percent), 1), _memory_used(), disk.f_bavail * disk.f_frsize // _MIB


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
