"""Game servers."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from shared.audit.actors import actor_of
from shared.composition import services
from shared.http import Call, In, ListQuery, Out, Page, Reply, Routes
from shared.identity.permissions import Permission
from shared.platform.ids import ServerId
from shared.servers.doors import Accepted, ItemResult, ask, bulk, create, labels_of, reply_of, reveal
from shared.servers.errors import (
    NameTaken,
    NoRoom,
    NotInThisState,
    OperationUnderWay,
    PlacementContended,
    ServerSuspended,
    TemplateIsDraft,
    TooManyChosen,
)
from shared.servers.history import HOURS_KEPT, MINUTES_SHOWN, Point, window
from shared.servers.lifecycle import Event
from shared.servers.views import Bulk, Reinstall, ServerCreate, ServerEdit, ServerList, ServerView, Suspension
from shared.templates.errors import TemplateNotFound, VariablesInvalid

routes = Routes("servers", services)
blueprint = routes.blueprint

CREATE = [NoRoom, NameTaken, PlacementContended, TemplateIsDraft, TemplateNotFound, VariablesInvalid]
ASK = [NotInThisState, OperationUnderWay, ServerSuspended]


class Edited(Out):
    """The changed server, and what it takes until the change is in force: none, restart or reinstall."""

    server: ServerView
    needs: str


class BulkResult(Out):
    """What became of each server."""

    items: list[ItemResult]


class HistoryQuery(In):
    """How far back, and in which grain."""

    hours: int = Field(default=24, ge=1, le=HOURS_KEPT // 3600, description="How far back; in minutes 48 at most.")
    grain: Literal["minute", "hour"] = "minute"

    @model_validator(mode="after")
    def _minutes_are_few(self) -> Self:
        if self.grain == "minute" and self.hours * 3600 > MINUTES_SHOWN:
            raise ValueError(f"hours: {self.hours} by the minute, at most {MINUTES_SHOWN // 3600}: ask for grain=hour")
        return self


class HistoryView(Out):
    """Points, oldest first."""

    points: list[Point]


@routes.post(
    "/v1/servers",
    permission=Permission.SERVERS_CREATE,
    idempotent=True,
    in_batch=True,
    durable=True,
    status=202,
    response=Accepted,
    problems=CREATE,
)
async def create_server(call: Call, body: ServerCreate) -> Reply:
    """Create a server.

    It is placed at once, or refused with the reasons of every node; installing and starting it is the task's work.
    """
    return reply_of(await create(call, body))


@routes.get("/v1/servers", permission=Permission.SERVERS_READ, narrowed="id")
async def list_servers(call: Call, query: ServerList) -> Page[ServerView]:
    """List servers."""
    filters = {"name": query.name, "node_id": query.node_id, "template.id": query.template}
    found, observed = await call.services.servers.page(
        call.org, filters=filters, labels=labels_of(query.label), limit=query.limit, cursor=query.cursor
    )
    return call.page(found, lambda server: ServerView.of(server, observed.get(server.id)))


@routes.get("/v1/servers/{server_id}", permission=Permission.SERVERS_READ, resource="server_id", response=ServerView)
async def read_server(call: Call, server_id: ServerId) -> Reply:
    """Read a server."""
    server, observed = await call.services.servers.get(call.org, server_id)
    return Reply(ServerView.of(server, observed), etag=server.etag)


@routes.get(
    "/v1/servers/{server_id}/secrets", permission=Permission.SERVERS_SECRETS, resource="server_id", response=ServerView
)
async def read_server_secrets(call: Call, server_id: ServerId) -> Reply:
    """Read a server with its secret variables. The audit trail tells who looked."""
    return Reply(await reveal(call, server_id))


@routes.patch("/v1/servers/{server_id}", permission=Permission.SERVERS_UPDATE, resource="server_id", response=Edited)
async def edit_server(call: Call, server_id: ServerId, body: ServerEdit) -> Reply:
    """Change a server: its name, labels, variables, resources, template version.

    Nothing restarts by itself: the answer says what the change needs to be in force.
    """
    server, observed, needs = await call.services.servers.edit(
        call.org, server_id, body, etag=call.if_match, actor=actor_of(call)
    )
    return Reply(Edited(server=ServerView.of(server, observed), needs=needs), etag=server.etag)


@routes.delete(
    "/v1/servers/{server_id}",
    permission=Permission.SERVERS_DELETE,
    resource="server_id",
    durable=True,
    status=202,
    response=Accepted,
    problems=ASK,
)
async def delete_server(call: Call, server_id: ServerId) -> Reply:
    """Delete a server and its files. Works with its node away: the node cleans up when it is back."""
    return await ask(call, server_id, Event.DELETE, etag=call.if_match)


def _action(event: Event, permission: Permission, text: str) -> Any:
    async def action(call: Call, server_id: ServerId) -> Reply:
        return await ask(call, server_id, event)

    action.__name__ = f"{event.value}_server"
    action.__doc__ = text
    return routes.post(
        f"/v1/servers/{{server_id}}/{event.value}",
        permission=permission,
        resource="server_id",
        durable=True,
        status=202,
        response=Accepted,
        problems=ASK,
    )(action)


start_server = _action(Event.START, Permission.SERVERS_START, "Start a server.")
stop_server = _action(Event.STOP, Permission.SERVERS_STOP, "Stop a server as its template says.")
restart_server = _action(Event.RESTART, Permission.SERVERS_RESTART, "Stop a server and start it again.")
kill_server = _action(Event.KILL, Permission.SERVERS_KILL, "End a server's processes now. What was not saved is lost.")
resume_server = _action(Event.RESUME, Permission.SERVERS_SUSPEND, "Resume a suspended server.")


@routes.post(
    "/v1/servers/{server_id}/suspend",
    permission=Permission.SERVERS_SUSPEND,
    resource="server_id",
    durable=True,
    status=202,
    response=Accepted,
    problems=ASK,
)
async def suspend_server(call: Call, server_id: ServerId, body: Suspension) -> Reply:
    """Suspend a server: it stops, and cannot be started until it is resumed. In force at once, node or no node."""
    return await ask(call, server_id, Event.SUSPEND, reason=body.reason)


@routes.post(
    "/v1/servers/{server_id}/reinstall",
    permission=Permission.SERVERS_REINSTALL,
    resource="server_id",
    durable=True,
    status=202,
    response=Accepted,
    problems=[*ASK, NoRoom, PlacementContended],
)
async def reinstall_server(call: Call, server_id: ServerId, body: Reinstall) -> Reply:
    """Install a server's files anew. What the game wrote stays.

    One whose files could not be installed has given its room back: it is held anew, or the refusal says what is lacking.
    """
    return await ask(call, server_id, Event.REINSTALL, fresh=body.fresh)


@routes.post(
    "/v1/servers/actions",
    permission=Permission.SERVERS_READ,
    narrowed="id",
    durable=True,
    response=BulkResult,
    problems=[TooManyChosen],
)
async def act_on_servers(call: Call, body: Bulk) -> BulkResult:
    """One action on every server with these labels that the caller may see; each is allowed or refused by itself.

    When they are more than 200, nothing is done with any, and the refusal names how many they are.
    """
    return BulkResult(items=await bulk(call, body))


@routes.get(
    "/v1/servers/{server_id}/metrics", permission=Permission.METRICS_READ, resource="server_id", response=HistoryView
)
async def read_server_metrics(call: Call, server_id: ServerId, query: HistoryQuery) -> HistoryView:
    """CPU, memory and players: minutes of up to two days, or hours of up to a month."""
    since, until = window(query.hours, call.services.clock.now())
    hours = query.grain == "hour"
    return HistoryView(points=await call.services.history.read(call.org, server_id, since, until, hours=hours))


@routes.get("/v1/servers/{server_id}/tasks", permission=Permission.TASKS_READ, resource="server_id")
async def list_server_tasks(call: Call, server_id: ServerId, query: ListQuery) -> Page[Any]:
    """What has been done with a server, newest first."""
    from shared.tasks.models import TaskView

    found = await call.services.tasks.page(
        call.org, filters={"target": server_id}, active=None, limit=query.limit, cursor=query.cursor
    )
    return call.page(found, TaskView.of)
