"""Listening sockets, refused with one line when the port is taken."""

from __future__ import annotations

import errno
import socket

from local.common.errors import StartError


def listen(host: str, port: int, *, what: str, option: str = "--port") -> socket.socket:
    """A bound, listening TCP socket; port 0 takes any free one.

    Raises:
        StartError: the port is taken, not permitted, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise StartError(
                f"port {port} for {what} is in use; stop what uses it, or choose another with {option}"
            ) from error
        raise StartError(
            f"cannot listen on {host}:{port} for {what}: {error.strerror}; choose another with {option}"
        ) from error
    listener.setblocking(False)
    return listener
