"""Whether a port can be had, asked of the kernel just before a start."""

from __future__ import annotations

import errno
import socket

from agent.drivers.base import DriverError
from agent.drivers.proc import holder
from shared.messaging.server_spec import Port


def check_free(ports: tuple[Port, ...]) -> None:
    """Try to bind each port as the game will.

    Raises:
        DriverError: `port_taken` or `address_missing`, for the first that fails.
    """
    for port in ports:
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
                where = f"{port.protocol} port {port.port} on {port.address}"
                if error.errno == errno.EADDRNOTAVAIL:
                    raise DriverError("address_missing", f"{where}: this machine has no such address") from None
                by = holder(port.protocol, port.port) if error.errno == errno.EADDRINUSE else ""
                reason = f"{where} cannot be had: {f'{by} has it' if by else error.strerror}"
                raise DriverError("port_taken", reason) from None
