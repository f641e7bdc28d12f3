"""Where the parts listen; whether those ports are free, and who has those that are not."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields

import psutil

from local.common.errors import StartError

FIRST, LAST, STEP = 20_000, 24_000, 10


@dataclass(frozen=True)
class Ports:
    """Where the parts listen, on loopback."""

    host: int = 7071
    auth: int = 4400
    cosmos: int = 8081
    bus: int = 5672
    bus_tls: int = 5671
    bus_websocket: int = 8443
    bus_admin: int = 5300
    blob: int = 10000

    @classmethod
    def from_base(cls, base: int | None) -> Ports:
        """The usual ports, or eight ports from a base upward (for a second house on one machine)."""
        if base is None:
            return cls()
        return cls(**{field.name: base + index for index, field in enumerate(fields(cls))})

    def by_option(self) -> dict[str, int]:
        """Option name to port, for messages."""
        return {field.name.replace("_", "-"): getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Public:
    """Where other machines reach the house: a name or address of this machine in their network, and the API's port."""

    host: str
    port: int = 7443


def is_free(port: int) -> bool:
    """Whether a part could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def require(ports: Mapping[str, int]) -> None:
    """Look at all ports before anything starts, so that all that are taken are named at once.

    Args:
        ports: option name to port.

    Raises:
        StartError: some are in use.
    """
    taken = [f"{port} for {name}{holder(port)}" for name, port in ports.items() if not is_free(port)]
    if taken:
        advice = 'ARGS="--base-port 20000" takes others for all, --host-port and the like for one'
        raise StartError(f"in use already: port {', port '.join(taken)}. Stop what uses them, or: {advice}")


def holder(port: int) -> str:
    """` (python3, process 4711)`, or nothing where the system does not tell (another user's process)."""
    try:
        for each in psutil.net_connections(kind="tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid:
                return f" ({psutil.Process(each.pid).name()}, process {each.pid})"
    except psutil.Error:
        pass
    return ""


def free_base(count: int) -> int:
    """The first of `count` ports in a row that are free now.

    Raises:
        StartError: there are none in our range.
    """
    for base in range(FIRST, LAST, STEP):
        if all(is_free(port) for port in range(base, base + count)):
            return base
    raise StartError(f"no {count} ports in a row are free from {FIRST} to {LAST}; choose with --base-port")
