"""What a family of processes uses, read by descriptors that stay open."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from agent.drivers import proc
from tests.support.waiting import until

PARENT = """
import subprocess, sys, threading, time
def begin():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    time.sleep(600)
threading.Thread(target=begin, daemon=True).start()
subprocess.Popen([sys.executable, "-c", "x = 0\\nwhile True: x += 1"])
print("up", flush=True)
sys.stdin.read()
"""


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_family_is_measured_until_it_is_gone() -> None:
    before = descriptors()
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    until(lambda: len(proc.children(parent.pid)) == 2, "both children are found, whichever thread began them")
    children = proc.children(parent.pid)
    family = proc.Family(parent.pid)
    try:
        first = family.usage()
        assert first is not None
        assert first.processes == 3
        assert first.memory_mib > 10
        until(lambda: (family.usage() or first).cpu_seconds > first.cpu_seconds + 0.2, "its CPU is counted")
        open_now = descriptors()
        for _ in range(20):
            family.usage()
        assert descriptors() == open_now
    finally:
        for pid in children:
            os.kill(pid, 9)
        parent.kill()
        parent.communicate()
    assert family.usage() is None
    family.close()
    assert descriptors() == before


def test_more_processes_than_are_kept_open_are_counted_all_the_same() -> None:
    script = f"import subprocess, sys, time\nfor _ in range({proc._KEPT * 2}): subprocess.Popen(['sleep', '600'])\nprint('up', flush=True)\ntime.sleep(600)"
    before = descriptors()
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    assert parent.stdout is not None
    parent.stdout.readline()
    family = proc.Family(parent.pid)
    usage = family.usage()
    os.killpg(parent.pid, 9)
    parent.communicate()
    assert usage is not None
    assert usage.processes == proc._KEPT * 2 + 1
    until(lambda: family.usage() is None, "all are gone")
    assert descriptors() == before
