"""Consoles: the last lines, lines as they come, and lines to the game."""

from __future__ import annotations

from pydantic import Field

from shared.audit.actors import actor_of
from shared.composition import services
from shared.http import Call, In, Reply, Routes
from shared.identity.permissions import Permission
from shared.platform.ids import ServerId
from shared.servers.errors import ServerNotRunning
from shared.servers.views import ConsolePage

routes = Routes("console", services)
blueprint = routes.blueprint


class Since(In):
    """From where, and how many."""

    since: int = Field(0, ge=0)
    limit: int = Field(500, ge=1, le=1000)


class Watch(In):
    """From which line on."""

    since: int = Field(0, ge=0)


class Line(In):
    """One line for the game, without control characters."""

    line: str = Field(min_length=1, max_length=2000, pattern=r"^[^\x00-\x08\x0a-\x1f\x7f-\x9f]+$")


@routes.get("/v1/servers/{server_id}/console", permission=Permission.CONSOLE_READ, resource="server_id")
async def read_console(call: Call, server_id: ServerId, query: Since) -> ConsolePage:
    """Console lines above `since` that have been uploaded. Lines come while somebody watches."""
    return await call.services.consoles.read(call.org, server_id, query.since, query.limit)


@routes.post(
    "/v1/servers/{server_id}/console/watch", permission=Permission.CONSOLE_READ, resource="server_id", status=202
)
async def watch_console(call: Call, server_id: ServerId, body: Watch) -> Reply:
    """Watch a console for the next 60 s: its node uploads what it has above `since`, and what comes."""
    await call.services.consoles.watch(call.org, server_id, body.since, id=call.new_id("tsk"))
    return Reply(status=202)


@routes.post(
    "/v1/servers/{server_id}/console",
    permission=Permission.CONSOLE_WRITE,
    resource="server_id",
    status=202,
    problems=[ServerNotRunning],
)
async def write_console(call: Call, server_id: ServerId, body: Line) -> Reply:
    """Send a line to the game. The audit trail keeps who sent what."""
    await call.services.consoles.write(call.org, server_id, body.line, id=call.new_id("tsk"), by=actor_of(call))
    return Reply(status=202)
