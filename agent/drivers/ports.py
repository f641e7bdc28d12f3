"""Whether a port can be had, asked of the kernel just before a start."""

from __future__ import annotations

import errno
import socket

from agent.drivers.base import DriverError
from agent.drivers.proc import holder
from shared.messaging.server_messages import TakenPort
from shared.messaging.server_spec import Port


def check_free(ports: tuple[Port, ...]) -> None:
    """Try to bind each port as the game will.

    Raises:
        DriverError: `address_missing` for the first whose address is not there; `port_taken` with all that cannot be had:
            those that somebody else has are named as `taken`, too.
    """
    reasons: list[str] = []
    taken: list[TakenPort] = []
    for port in ports:
        error = _refusal(port)
        if error is None:
            continue
        where = f"{port.protocol} port {port.port} on {port.address}"
        if error.errno == errno.EADDRNOTAVAIL:
            raise DriverError("address_missing", f"{where}: this machine has no such address")
        by = ""
        if error.errno == errno.EADDRINUSE:
            by = holder(port.protocol, port.port)
            taken.append(TakenPort(port.protocol, port.address, port.port, by))
        reasons.append(f"{where} cannot be had: {f'{by} has it' if by else error.strerror}")
    if reasons:
        raise DriverError("port_taken", "; ".join(reasons), taken=tuple(taken))


def _refusal(port: Port) -> OSError | None:
    """What the kernel has against the port; None when it can be had."""
    family = socket.AF_INET6 if ":" in port.address else socket.AF_INET
    kind = socket.SOCK_STREAM if port.protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            # As servers do: else the remains of old connections (TIME_WAIT) would count as taken for a minute.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((port.address, port.port))
        except OSError as error:
            return error
    return None
