"""A real systemd for tests: the machine's own, as process 1 of namespaces of its own, over a throw-away view of the disk.

It sees the machine's network, and none of its processes; what it writes is gone with it. Of the machine's units none is
started: the folders that pull them in are covered, so that nothing reaches for the clock, for devices or for sysctl.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.support.processes import PATIENCE_SECONDS

SYSTEMD = Path("/usr/lib/systemd/systemd")
_CGROUPS = Path("/sys/fs/cgroup")
_HIERARCHIES = ("systemd", "unified", "memory", "cpu", "cpuacct", "blkio", "devices", "pids")  # those that systemd uses
_TARGETS = ("sysinit", "basic", "sockets", "timers", "paths", "local-fs", "multi-user", "graphical", "getty")

#: The arguments are a folder that is used up, and the groups to live in.
_INIT = """
set -e
place=$1; shift
for group in "$@"; do echo $$ >"$group/cgroup.procs"; done
export place
exec unshare --pid --mount --uts --ipc --cgroup --fork --kill-child=KILL /bin/sh -ec '
  mount --make-rprivate /
  mount -t tmpfs tmpfs "$place"
  mkdir "$place/upper" "$place/work" "$place/root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" "$place/root"
  root=$place/root
  mount -t proc proc "$root/proc"
  mount --bind "$root/proc/sys" "$root/proc/sys"
  mount -o remount,bind,ro "$root/proc/sys"
  mount --rbind /sys "$root/sys"
  for each in run tmp dev; do mount -t tmpfs tmpfs "$root/$each"; done
  for each in null zero full random urandom tty; do
    touch "$root/dev/$each"; mount --bind "/dev/$each" "$root/dev/$each"
  done
  mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue"
  ln -s pts/ptmx "$root/dev/ptmx"
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    umount "$root/sys/fs/cgroup"  # the whole tree; mounted from in here it is our part of it
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    # What has started us stands in our part yet, and is taken out of it: a group that holds a process cannot be divided.
    while grep -qx 0 "$root/sys/fs/cgroup/cgroup.procs"; do sleep 0.1; done
  else
    mount -t tmpfs tmpfs "$root/sys/fs/cgroup"
    mkdir "$root/sys/fs/cgroup/systemd" "$root/sys/fs/cgroup/unified"
    mount -t cgroup -o none,name=systemd cgroup "$root/sys/fs/cgroup/systemd"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
    for each in memory cpu pids; do
      mkdir "$root/sys/fs/cgroup/$each"; mount -t cgroup -o "$each" cgroup "$root/sys/fs/cgroup/$each"
    done
  fi
  ln -s /dev/null "$root/etc/systemd/system/systemd-remount-fs.service"
  for target in TARGETS; do
    for base in lib etc; do
      wants=$root/$base/systemd/system/$target.target.wants
      [ ! -d "$wants" ] || mount -t tmpfs tmpfs "$wants"
    done
  done
  mkdir "$root/before"
  cd "$root"
  pivot_root . before
  umount --lazy before
  exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/lib/systemd/systemd --system --unit=basic.target --log-target=null
'
""".replace("TARGETS", " ".join(_TARGETS))


class Systemd:
    """See the module. `start` tells why this machine cannot run it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._init = 0
        self._groups: list[Path] = []

    def start(self) -> str | None:
        """Start it; why that does not work here, or None."""
        if os.geteuid() != 0 or not SYSTEMD.exists() or shutil.which("unshare") is None:
            return "root, systemd and util-linux are needed"
        try:
            self._groups = _make_groups(f"meridian-systemd-{os.getpid()}")
        except OSError as error:
            return f"no control groups: {error}"
        command = ["/bin/sh", "-c", _INIT, "init", str(self._folder), *map(str, self._groups)]
        with (self._folder.with_suffix(".log")).open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._folder.with_suffix(".log").read_text()[-2000:]
                self.stop()
                return f"systemd did not come up: {said}"
            time.sleep(0.2)
        return None

    def _is_up(self) -> bool:
        assert self._process is not None
        if not self._init:
            pid = self._process.pid
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if not children:
                return False
            for group in self._groups:
                (group.parent / "cgroup.procs").write_text(str(pid))
            if Path(f"/proc/{children[0]}/exe").resolve().name != SYSTEMD.name:
                return False
            self._init = int(children[0])
        return self.call("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command where systemd runs."""
        inside = [
            "nsenter",
            f"--target={self._init}",
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--cgroup",
            "--root",
            "--wd",
        ]
        return subprocess.run(
            [*inside, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def path(self, inside: str) -> Path:
        """A file as systemd sees it, for us to read and write."""
        return Path(f"/proc/{self._init}/root{inside}")

    def stop(self) -> None:
        """End it with everything that runs in it."""
        if self._init:
            os.kill(self._init, signal.SIGKILL)
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_SECONDS)
        for group in self._groups:
            _remove_group(group)


def _make_groups(name: str) -> list[Path]:
    """A group in each hierarchy: what systemd makes of groups stays below them."""
    if (_CGROUPS / "cgroup.controllers").exists():
        places = [_CGROUPS]
        for controller in ("memory", "cpu", "pids"):  # as the machine's own systemd has done, if it has one
            (_CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}")
    else:
        places = [_CGROUPS / one for one in _HIERARCHIES if (_CGROUPS / one).is_dir()]
    groups = [place / name for place in places]
    for group in groups:
        group.mkdir(exist_ok=True)
    return groups


def _remove_group(group: Path) -> None:
    deadline = time.monotonic() + 10
    while group.exists() and time.monotonic() < deadline:
        for root, names, _ in os.walk(group, topdown=False):
            for name in names:
                _try_remove(Path(root, name))
        _try_remove(group)
        time.sleep(0.05)


def _try_remove(folder: Path) -> None:
    with contextlib.suppress(OSError):  # its processes are still going
        folder.rmdir()
