"""`meridian servers`: create, look at, start, stop, delete."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import output
from cli.find import by_name, pairs
from cli.state import State, state
from cli.tasks import follow

servers = typer.Typer(help="Game servers.", no_args_is_help=True)

COLUMNS = (
    ("NAME", "name"),
    ("STATUS", "status"),
    ("JOIN", "join"),
    ("PLAYERS", "players"),
    ("TEMPLATE", "template.key"),
    ("ID", "id"),
)
FIELDS = (
    ("Name", "name"),
    ("Id", "id"),
    ("Status", "status"),
    ("Join", "join"),
    ("Players", "players"),
    ("Template", "template"),
    ("Node", "node_id"),
    ("Ports", "ports"),
    ("Resources", "resources"),
    ("Variables", "variables"),
    ("Labels", "labels"),
    ("Memory MiB", "observed.memory_mib"),
    ("CPU %", "observed.cpu_percent"),
    ("Crashes", "observed.crashes"),
    ("Reason", "observed.reason"),
    ("Observed", "observed.observed_at"),
)
Name = Annotated[str, typer.Argument(metavar="SERVER", help="Name or id.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it is done, or only ask for it.")]


@servers.command("create")
def create(
    context: typer.Context,
    name: str,
    template: Annotated[str, typer.Option(help="Key or id; see `meridian templates list`.")],
    var: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable of the template; may be repeated.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be repeated.")] = None,
    node: Annotated[str | None, typer.Option(help="Where, instead of where there is room.")] = None,
    memory: Annotated[int | None, typer.Option(metavar="MIB", help="Instead of the template's.")] = None,
    start: Annotated[bool, typer.Option(help="Start it once it is installed.")] = True,
    wait: Wait = True,
) -> None:
    """Create a server, and show its steps."""
    current = state(context)
    body: dict[str, Any] = {"name": name, "template": template, "start": start}
    body |= {"variables": pairs(var or [], "variable"), "labels": pairs(label or [], "label")}
    if node is not None:
        body["node_id"] = by_name(current.api, "node", node)["id"]
    if memory is not None:
        defaults = current.api.get(f"/v1/templates/{template}")["definition"].get("resources", {})
        body["resources"] = {**defaults, "memory_mib": memory}
    asked = current.api.post("/v1/servers", body)
    _finish(current, asked, f"{name} is being made", wait=wait)


@servers.command("list")
def list_servers(
    context: typer.Context,
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="All must match.")] = None,
) -> None:
    """List servers."""
    current = state(context)
    query: dict[str, Any] = {"label": label} if label else {}
    rows = (_with_players(row) for row in current.api.pages("/v1/servers", **query))
    current.show_list(rows, COLUMNS, "no server yet: `meridian servers create NAME --template KEY`")


@servers.command("show")
def show(context: typer.Context, name: Name) -> None:
    """One server: what is wanted, and what its node saw last."""
    current = state(context)
    current.show(_with_players(by_name(current.api, "server", name)), FIELDS)


def _action(event: str, doing: str, summary: str, extra: dict[str, Any] | None = None) -> None:
    def command(context: typer.Context, name: Name, wait: Wait = True) -> None:
        current: State = state(context)
        server = by_name(current.api, "server", name)
        asked = current.api.post(f"/v1/servers/{server['id']}/{event}", extra)
        _finish(current, asked, f"{server['name']} is being {doing}", wait=wait)

    command.__doc__ = summary
    servers.command(event)(command)


_action("start", "started", "Start a server.")
_action("stop", "stopped", "Stop a server as its template says.")
_action("restart", "restarted", "Stop a server and start it again.")
_action("kill", "killed", "End a server's processes now. What was not saved is lost.")
_action("reinstall", "installed anew", "Install a server's files anew. What the game wrote stays.", {})
_action("suspend", "suspended", "Suspend a server: it stops, and cannot be started until it is resumed.", {})
_action("resume", "resumed", "Resume a suspended server.")


@servers.command("delete")
def delete(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    wait: Wait = True,
) -> None:
    """Delete a server and its files."""
    current = state(context)
    server = by_name(current.api, "server", name)
    if not yes:
        typer.confirm(f"{server['name']} and all its files will be gone. Go on?", abort=True, err=True)
    asked = current.api.change("DELETE", f"/v1/servers/{server['id']}")
    _finish(current, asked, f"{server['name']} is being deleted", wait=wait)


def _finish(current: State, asked: dict[str, Any], what: str, *, wait: bool) -> None:
    if not wait:
        current.say(f"{what}: `meridian tasks show {asked['task_id']}` tells how it goes", asked)
        return
    task = follow(current.api, asked["task_id"])
    if task["kind"] == "server.delete":
        current.say("deleted", task)
        return
    server = _with_players(current.api.get(f"/v1/servers/{asked['server_id']}"))
    if current.as_json:
        output.emit_json(server)
    else:
        join = (
            f", join at [bold]{server['join']}[/bold]" if server.get("join") and server["status"] == "running" else ""
        )
        output.out.print(f"{server['name']} is {server['status']}{join}")


def _with_players(server: dict[str, Any]) -> dict[str, Any]:
    players = (server.get("observed") or {}).get("players")
    return {**server, "players": f"{players['online']}/{players['maximum']}" if players else None}
