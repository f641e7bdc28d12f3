"""Switching faults on and off over HTTP. Only there when the broker was started with `--faults`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from aiohttp import web

from local.servicebus.amqp.performatives import AmqpError
from local.servicebus.sas import segments
from local.servicebus.server import Server

PATH = "/_local/faults"


def add_routes(app: web.Application, server: Server) -> None:
    """POST with JSON: each key is one fault (see `_ACTIONS`), its value how much of it."""

    async def apply(request: web.Request) -> web.Response:
        wanted = await request.json()
        if not isinstance(wanted, dict) or not wanted.keys() <= _ACTIONS.keys():
            return web.json_response({"error": f"known faults: {', '.join(sorted(_ACTIONS))}"}, status=400)
        for name, value in wanted.items():
            _ACTIONS[name](server, value)
        return web.json_response({"connections": len(server.connections)})

    app.router.add_post(PATH, apply)


def _set(server: Server, value: float, *, name: str) -> None:
    setattr(server.broker.faults, name, value)


def _clock(server: Server, milliseconds: float) -> None:
    server.broker.clock.offset_ms = int(milliseconds)
    server.broker.scheduler.arm_all()
    for connection in server.connections:
        connection.permissions.watch()


def _detach(server: Server, queue: str) -> None:
    error = AmqpError("amqp:link:detach-forced", "the link was detached by the server")
    path = segments(queue)
    for connection in server.connections:
        for session in connection.sessions.values():
            for link in session.links():
                if segments(link.address)[: len(path)] == path:
                    link.fail(error)


def _close(server: Server, _value: object) -> None:
    for connection in list(server.connections):
        connection.fail(AmqpError("amqp:connection:forced", "the connection was closed by the server"))


def _abort(server: Server, _value: object) -> None:
    for connection in list(server.connections):
        connection.abort()


_ACTIONS: dict[str, Callable[[Server, Any], None]] = {
    "busy_every": functools.partial(_set, name="busy_every"),
    "disposition_delay_seconds": functools.partial(_set, name="disposition_delay_seconds"),
    "connection_quota": functools.partial(_set, name="connection_quota"),
    "drop_every": functools.partial(_set, name="drop_every"),
    "clock_offset_ms": _clock,
    "detach": _detach,
    "close_connections": _close,
    "abort_connections": _abort,
}
