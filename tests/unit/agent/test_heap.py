"""The agent's threads share one heap of the C library."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

_COUNT = """
import ctypes, re, sys, tempfile, threading
from agent.heap import slim_heap
if sys.argv[1] == "slim":
    slim_heap()
barrier = threading.Barrier(5)
def work():
    held = [bytes(1000) for _ in range(100)]
    barrier.wait()
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
barrier.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(len(re.findall(rb"<heap nr=", file.read())))
barrier.wait()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="malloc_info(3) is glibc's")
@pytest.mark.parametrize(("how", "more_than_one"), [("slim", False), ("as it comes", True)])
def test_threads_share_one_heap(how: str, more_than_one: bool) -> None:
    told = subprocess.run([sys.executable, "-c", _COUNT, how], capture_output=True, text=True, check=True)
    assert (int(told.stdout) > 1) is more_than_one
