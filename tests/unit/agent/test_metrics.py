"""What the machine uses, against what its kernel counts."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from agent.metrics import MachineUse

MIB = 1024 * 1024


def test_figures_are_those_of_the_kernel(tmp_path: Path) -> None:
    moments = iter((100.0, 110.0))
    before = psutil.net_io_counters(pernic=True)
    use = MachineUse(tmp_path, lambda: next(moments))
    found = use.read()
    after = psutil.net_io_counters(pernic=True)
    assert 0 <= found.cpu_percent <= 100
    memory = psutil.virtual_memory()
    assert abs(found.memory_used_mib - (memory.total - memory.available) // MIB) < 512
    names = [one for one in after if Path(f"/sys/class/net/{one}/device").exists()] or [
        one for one in after if one != "lo"
    ]
    most = sum(after[name].bytes_recv - before[name].bytes_recv for name in names if name in before)
    assert 0 <= found.received_kib_s <= most / 1024 / 10 + 0.1, "a mean over the ten seconds"
    disk = os.statvfs(tmp_path)
    assert abs(found.disks[0].free_mib - disk.f_bavail * disk.f_frsize // MIB) < 512
    assert found.disks[0].size_mib == disk.f_blocks * disk.f_frsize // MIB
    places = [Path(one.path).stat().st_dev for one in found.disks]
    assert len(places) == len(set(places)), "each file system once"
