"""Reading `/proc` (proc(5)): who is who, what a family of processes uses, and what it listens on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agent.drivers.base import Usage

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_MIB: Final = os.sysconf("SC_PAGE_SIZE") / 1024 / 1024
_MAX_FAMILY: Final = 4096
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


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (OSError, ValueError):
        return []


def family(pid: int) -> Iterator[int]:
    """The process and all that descend from it."""
    waiting, seen = [pid], 0
    while waiting and seen < _MAX_FAMILY:
        one = waiting.pop()
        seen += 1
        yield one
        waiting.extend(children(one))


def usage(pid: int) -> Usage | None:
    """What a process and its descendants use; CPU of those that ended already is counted by their parents."""
    ticks = pages = count = 0
    for one in family(pid):
        try:
            fields = _stat(one)
        except (OSError, ValueError):
            continue
        ticks += sum(int(field) for field in fields[11:15])
        pages += int(fields[21])
        count += 1
    return Usage(ticks / _TICKS, pages * _PAGE_MIB, count) if count else None


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


def bound_ports(pid: int) -> tuple[str, ...]:
    """The ports that a process and its descendants listen on, as `tcp/25565`, in order."""
    mine, found = _sockets(family(pid)), set()
    for protocol, state in _LISTEN.items():
        for suffix in ("", "6"):
            try:
                rows = Path(f"/proc/{pid}/net/{protocol}{suffix}").read_text().splitlines()[1:]
            except OSError:
                continue
            for row in rows:
                fields = row.split()
                if fields[3] == state and fields[9] in mine:
                    found.add((protocol, int(fields[1].rsplit(":", 1)[1], 16)))
    return tuple(f"{protocol}/{port}" for protocol, port in sorted(found))
