"""Reading `/proc` (proc(5)): who is who, what a family of processes uses, and what it listens on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.drivers.base import Usage

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_MIB: Final = os.sysconf("SC_PAGE_SIZE") / 1024 / 1024
_PAGE: Final = 4096
_MAX_FAMILY: Final = 4096
_KEPT: Final = 8  # processes of one family whose descriptors stay open
_LOOK_AROUND: Final = 12  # each so many measurements the children of all threads are looked for
_LISTEN: Final = {"tcp": "0A", "udp": "07"}  # TCP_LISTEN; an unconnected UDP socket is TCP_CLOSE


def boot_id() -> str:
    """Changes with each start of the machine: a process id of another boot means nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str]:
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()  # the name may hold spaces and parentheses


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since the boot: with its id, its true name. None when there is none."""
    try:
        fields = _stat(pid)
    except (OSError, ValueError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def every() -> list[int]:
    """All processes of this machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  # names alone


def environment(pid: int) -> dict[str, str]:
    """What the process was started with; nothing where we may not look, or it is gone."""
    try:
        pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(pair.decode(errors="replace").split("=", 1) for pair in pairs if b"=" in pair)


def children(pid: int) -> list[int]:
    """The direct children of a process, whichever of its threads began them."""
    found: list[int] = []
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += _numbers((thread / "children").read_bytes())
    except OSError:
        pass  # it ended while we looked: what was found is what there was
    return found


def _numbers(text: bytes) -> list[int]:
    return [int(word) for word in text.split()]


def family(pid: int) -> Iterator[int]:
    """The process and all that descend from it."""
    waiting, seen = [pid], 0
    while waiting and seen < _MAX_FAMILY:
        one = waiting.pop()
        seen += 1
        yield one
        waiting.extend(children(one))


class Family:
    """A process and its descendants, measured often: what is read of them in `/proc` stays open.

    Measured: a read of an open descriptor takes a fifth of opening, reading and closing. The kernel ties the descriptor to
    the process and not to its number, so a number that is used again is not taken for the one that ended.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._open: dict[int, tuple[int, int]] = {}  # by process: its stat, and the children of its first thread
        self._by_threads: dict[int, list[int]] = {}  # children that other threads began, as of the last look around
        self._looks = 0

    def usage(self) -> Usage | None:
        """What they use; CPU of those that ended already is counted by their parents. None when all have ended."""
        if self._looks % _LOOK_AROUND == 0:
            self._by_threads.clear()
        around, self._looks = self._looks % _LOOK_AROUND == 0, self._looks + 1
        ticks = pages = 0
        waiting, seen = [self._root], set[int]()
        while waiting and len(seen) < _MAX_FAMILY:
            pid = waiting.pop()
            found = None if pid in seen else self._read(pid)
            if found is None:
                continue
            seen.add(pid)
            stat, below = found
            fields = stat[stat.rindex(b")") + 2 :].split()
            ticks += sum(map(int, fields[11:15]))
            pages += int(fields[21])
            if around and int(fields[17]) > 1:
                self._by_threads[pid] = children(pid)
            waiting += [*_numbers(below), *self._by_threads.get(pid, ())]
        for pid in self._open.keys() - seen:
            self._shut(pid)
        return Usage(ticks / _TICKS, pages * _PAGE_MIB, len(seen)) if seen else None

    def _read(self, pid: int) -> tuple[bytes, bytes] | None:
        """The process's stat and its children; None when it has ended."""
        try:
            stat, below = self._open.get(pid) or _open_both(pid)
        except OSError:
            return None
        try:
            found = os.pread(stat, _PAGE, 0), os.pread(below, _PAGE, 0)
        except OSError:
            found = None
        if found is not None and (pid in self._open or len(self._open) < _KEPT):
            self._open[pid] = stat, below
        else:
            self._open.pop(pid, None)
            os.close(stat)
            os.close(below)
        return found

    def _shut(self, pid: int) -> None:
        for descriptor in self._open.pop(pid):
            os.close(descriptor)

    def close(self) -> None:
        """Let go of all."""
        for pid in tuple(self._open):
            self._shut(pid)


def _open_both(pid: int) -> tuple[int, int]:
    flags = os.O_RDONLY | os.O_CLOEXEC
    stat = os.open(f"/proc/{pid}/stat", flags)
    try:
        return stat, os.open(f"/proc/{pid}/task/{pid}/children", flags)
    except OSError:
        os.close(stat)
        raise


def _sockets(pids: Iterator[int]) -> set[str]:
    found: set[str] = set()
    for pid in pids:
        try:
            with os.scandir(f"/proc/{pid}/fd") as entries:
                links = [os.readlink(entry.path) for entry in entries]  # noqa: PTH115  # no Path object for each of thousands
        except OSError:
            continue
        found.update(link[8:-1] for link in links if link.startswith("socket:["))
    return found


def bound_ports(pid: int, uid: int | None = None) -> tuple[str, ...]:
    """The ports that a process and its descendants listen on, as `tcp/25565`, in order.

    With a `uid` that is theirs alone its sockets are theirs: looking through other users' descriptors takes a right
    (CAP_SYS_PTRACE) that the agent does without.
    """
    mine = _sockets(family(pid)) if uid is None else set()
    found = set()
    for protocol, state in _LISTEN.items():
        for suffix in ("", "6"):
            try:
                rows = Path(f"/proc/{pid}/net/{protocol}{suffix}").read_text().splitlines()[1:]
            except OSError:
                continue
            for row in rows:
                fields = row.split()
                if fields[3] == state and (fields[9] in mine if uid is None else fields[7] == str(uid)):
                    found.add((protocol, int(fields[1].rsplit(":", 1)[1], 16)))
    return tuple(f"{protocol}/{port}" for protocol, port in sorted(found))


def holder(protocol: str, port: int) -> str:
    """Who listens on a port, as `name (process 42)`; empty where that cannot be seen: other users' sockets are theirs."""
    inodes = set()
    for suffix in ("", "6"):
        try:
            rows = Path(f"/proc/net/{protocol}{suffix}").read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, rows):
            if fields[3] == _LISTEN[protocol] and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(fields[9])
    pids = every() if inodes else []
    pid = next((pid for pid in pids if _sockets(iter((pid,))) & inodes), None)
    if pid is None:
        return ""
    try:
        return f"{Path(f'/proc/{pid}/comm').read_text(errors='replace').strip()} (process {pid})"
    except OSError:
        return ""
