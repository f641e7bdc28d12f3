"""Another Linux kernel for tests: Debian's `user-mode-linux`, a whole kernel that runs as a process.

Its root is this machine's own disk, read-only, so the programs in it are the ones that run here; what they write is in its
memory and gone with it. It has one processor, no network but its loopback, and control groups of version 2 alone.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.processes import ROOT

PROGRAM: Final = "linux.uml"
_OVERLAY: Final = "/usr/lib/uml/modules/*/kernel/fs/overlayfs/overlay.ko"
_SWAP_MIB: Final = 256
_UP: Final = "the kernel is up"

# The first program of that kernel. overlayfs is a module, and Debian's package for loading one need not be there.
_INIT: Final = """#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run/tmp PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /dev/shm /dev/pts
for each in /run /dev/shm; do mount -t tmpfs tmpfs $each; done
mount -t devpts devpts /dev/pts
mkdir /run/tmp
ip link set lo up
mkswap /dev/ubda >/dev/null && swapon /dev/ubda
@python@ -c 'import ctypes, glob, os
for name in glob.glob("@overlay@"):
    ctypes.CDLL(None).syscall(313, os.open(name, os.O_RDONLY), b"", 0)  # finit_module'
cd @place@
echo @up@
@command@ 2>&1
echo "ended with $?"
@python@ -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)'  # RB_POWER_OFF
"""


def why_not() -> str | None:
    """Why this machine cannot run it, or None."""
    return None if shutil.which(PROGRAM) else f"{PROGRAM} is not installed (Debian's user-mode-linux)"


@dataclass(frozen=True, slots=True)
class Done:
    """How a command in that kernel ended; `code` is None if it did not, `up` tells whether the kernel came up at all."""

    up: bool
    code: int | None
    output: str


def run(command: list[str], folder: Path, *, memory_mib: int, seconds: float) -> Done:
    """Run a command in a kernel of its own, in the repository's folder.

    Args:
        command: the words.
        folder: an empty one, to be used up.
        memory_mib: of that machine.
        seconds: a guard against hanging.
    """
    init, swap, log = folder / "init", folder / "swap", folder / "log"
    words = {
        "up": _UP,
        "python": sys.executable,
        "overlay": _OVERLAY,
        "place": shlex.quote(str(ROOT)),
        "command": shlex.join(command),
    }
    script = _INIT
    for name, text in words.items():
        script = script.replace(f"@{name}@", text)
    init.write_text(script)
    init.chmod(0o755)
    with swap.open("wb") as file:
        file.truncate(_SWAP_MIB << 20)
    machine = [f"mem={memory_mib}M", f"ubd0={swap}", f"uml_dir={folder}/", "rootfstype=hostfs", "ro"]
    console = [f"init={init}", "con=null", "con0=null,fd:1", "quiet", "loglevel=0"]
    command = [PROGRAM, *machine, *console]
    with (
        log.open("wb") as out,
        _started(command, out.fileno(), folder) as kernel,
        suppress(subprocess.TimeoutExpired),
    ):
        kernel.wait(seconds)
    output = log.read_text(errors="replace")
    last = [line for line in output.splitlines() if line.startswith("ended with ")]
    return Done(_UP in output, int(last[-1].split()[-1]) if last else None, output)


@contextmanager
def _started(command: list[str], out: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The kernel is many processes here; all of them are in its session, and die with it."""
    # It keeps its memory in a file of $TMPDIR, which must allow programs to be mapped.
    kernel = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
        env={"PATH": os.environ["PATH"], "TMPDIR": str(folder)},
    )  # fmt: skip
    try:
        yield kernel
    finally:
        if kernel.poll() is None:
            os.killpg(kernel.pid, signal.SIGKILL)
            kernel.wait()
