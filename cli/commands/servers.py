"""`meridian servers`: create, look at, change, delete. What starts and stops them is in `power`."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli import output
from cli.commanding import Group
from cli.complete import node_names, server_names, template_names
from cli.errors import ApiError, CliError, NotThere
from cli.find import by_name, names_by_id, names_of, pairs
from cli.state import State, state
from cli.tasks import follow

servers = Group(help="Game servers.")

COLUMNS = (
    ("NAME", "name"),
    ("STATUS", "status"),
    ("JOIN", "join"),
    ("PLAYERS", "players"),
    ("TEMPLATE", "template.key"),
    ("NODE", "node"),
    ("ID", "id"),
)
FIELDS = (
    ("Name", "name"),
    ("Id", "id"),
    ("Status", "status"),
    ("May be asked", "allowed"),
    ("Join", "join"),
    ("Players", "players"),
    ("Who", "observed.players.names"),
    ("Version", "observed.players.version"),
    ("Map", "observed.players.map"),
    ("Template", "template"),
    ("Node", "node"),
    ("Ports", "ports"),
    ("Resources", "resources"),
    ("Variables", "variables"),
    ("Labels", "labels"),
    ("Memory MiB", "observed.memory_mib"),
    ("CPU %", "observed.cpu_percent"),
    ("Crashes", "observed.crashes"),
    ("Exit code", "observed.exit_code"),
    ("Reason", "observed.reason"),
    ("Observed", "observed.observed_at"),
    ("Under way", "operation.task_id"),
)
SAYS_LAST = ("crashed", "crash_loop", "failed")
Name = Annotated[str, typer.Argument(metavar="SERVER", help="Name or id.", autocompletion=server_names)]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it is done, or only ask for it.")]
Labels = Annotated[
    list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="May be repeated; all must match.")
]
Template = Annotated[
    str,
    typer.Option("--template", "-t", help="Key or id; see `meridian templates list`.", autocompletion=template_names),
]
Node = Annotated[str | None, typer.Option(help="This one, instead of where there is room.", autocompletion=node_names)]
NodeLabels = Annotated[
    list[str] | None, typer.Option("--node-label", metavar="KEY=VALUE", help="Only nodes with it; may be repeated.")
]
Apart = Annotated[str, typer.Option("--group", help="No two servers of one group share a node.")]
Strategy = Annotated[str, typer.Option(help="packed fills nodes up, spread uses all.")]
Memory = Annotated[int | None, typer.Option(metavar="MIB", help="Instead of the template's.")]
Cpu = Annotated[int | None, typer.Option(metavar="MILLICORES", help="Instead of the template's; 1000 is a core.")]
Disk = Annotated[int | None, typer.Option(metavar="MIB", help="Instead of the template's.")]


@servers.command("create")
def create(
    context: typer.Context,
    name: str,
    template: Template,
    version: Annotated[int | None, typer.Option(help="Of the template; the newest unless given.")] = None,
    var: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable of the template; may be repeated.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="May be repeated.")
    ] = None,
    node: Node = None,
    node_label: NodeLabels = None,
    group: Apart = "",
    strategy: Strategy = "packed",
    memory: Memory = None,
    cpu: Cpu = None,
    disk: Disk = None,
    start: Annotated[bool, typer.Option(help="Start it once it is installed.")] = True,
    wait: Wait = True,
) -> None:
    """Create a server, and show its steps."""
    current = state(context)
    body = _placed(current, template, node, node_label, group, strategy, (memory, cpu, disk), version)
    body |= {"name": name, "start": start, "variables": pairs(var, "variable"), "labels": pairs(label, "label")}
    asked = current.api.post("/v1/servers", body)
    finish(current, asked, f"{name} is being made", wait=wait)


@servers.command("plan")
def plan(
    context: typer.Context,
    template: Template,
    node: Node = None,
    node_label: NodeLabels = None,
    group: Apart = "",
    strategy: Strategy = "packed",
    memory: Memory = None,
    cpu: Cpu = None,
    disk: Disk = None,
) -> None:
    """Where a server would be placed, and why not elsewhere. Nothing is done."""
    current = state(context)
    body = _placed(current, template, node, node_label, group, strategy, (memory, cpu, disk))
    found = current.api.call("POST", "/v1/placements:dry-run", body=body).json()
    if current.as_json:
        output.emit_json(found)
        return
    for row in found["nodes"]:
        row["choice"] = "here" if row["node_id"] == found["node_id"] else ""
    columns = (
        ("NODE", "name"),
        ("FITS", "fits"),
        ("", "choice"),
        ("WHY NOT", "reasons"),
        ("FREE MIB", "free_memory_mib"),
        ("FREE MILLICORES", "free_cpu_millicores"),
        ("FREE DISK MIB", "free_disk_mib"),
    )
    output.table(found["nodes"], columns, "there is no node: `meridian nodes enrol`")


@servers.command("list")
def list_servers(
    context: typer.Context,
    label: Labels = None,
    status: Annotated[str | None, typer.Option(help="Such as running, stopped, crash_loop.")] = None,
    node: Annotated[str | None, typer.Option(help="Only of this one.", autocompletion=node_names)] = None,
    template: Annotated[
        str | None, typer.Option("--template", "-t", help="Only of this one.", autocompletion=template_names)
    ] = None,
) -> None:
    """List servers."""
    current = state(context)
    chosen: dict[str, Any] = {
        "label": label or None,
        "node_id": by_name(current.api, "node", node)["id"] if node else None,
        "template": template_id(current, template) if template else None,
    }
    rows = (row for row in current.api.pages("/v1/servers", **chosen) if status in (None, row["status"]))
    if not current.as_json:
        nodes = names_by_id(current.api, "/v1/nodes")
        rows = (with_players(row, nodes) for row in rows)
    current.show_list(rows, COLUMNS, "no server: `meridian servers create NAME --template KEY`")


@servers.command("show")
def show(
    context: typer.Context,
    name: Name,
    secrets: Annotated[bool, typer.Option("--secrets", help="With its secret variables; the trail tells it.")] = False,
) -> None:
    """One server: what is wanted, and what its node saw last."""
    current = state(context)
    found = by_name(current.api, "server", name)
    if secrets:
        found = current.api.get(f"/v1/servers/{found['id']}/secrets")
    if current.as_json:
        output.emit_json(found)
        return
    current.show(with_players(found, names_by_id(current.api, "/v1/nodes")), FIELDS)
    if found["status"] in SAYS_LAST:
        for line in (found.get("observed") or {}).get("last_lines", []):
            output.line(f"  | {output.plain(line)}")


def finish(current: State, asked: dict[str, Any], what: str, *, wait: bool) -> None:
    """Follow what was asked for to its end, or tell how to."""
    if not wait:
        current.say(f"{what}: `meridian tasks follow {asked['task_id']}` tells how it goes", asked)
        return
    task = follow(current.api, asked["task_id"])
    if task["kind"] == "server.delete":
        current.say("deleted", task)
        return
    server = current.api.get(f"/v1/servers/{asked['server_id']}")
    joinable = server.get("join") and server["status"] == "running"
    join = f", join at {server['join']}" if joinable else ""
    current.say(f"{server['name']} is {server['status']}{join}", server)


def with_players(server: dict[str, Any], nodes: dict[str, str] | None = None) -> dict[str, Any]:
    """The server with its players as a person writes them, and its node by name."""
    players = (server.get("observed") or {}).get("players")
    count = f"{players['online']}/{players['maximum']}" if players else None
    where = {} if nodes is None else {"node": nodes.get(server["node_id"] or "", server["node_id"])}
    return {**server, "players": count, **where}


def template_id(current: State, key: str) -> str:
    """The id of a template that a person named by its key, its name or its id: the organization's own before public ones.

    Raises:
        NotThere: there is none.
        CliError: several.
    """
    try:
        return str(current.api.get(f"/v1/templates/{quote(key, safe=':')}")["id"])
    except ApiError as error:
        if error.status != 404:
            raise
    for scope in ("organization", "public"):
        found = [row["id"] for row in current.api.pages("/v1/templates", scope=scope) if key in names_of(row)]
        if len(found) > 1:
            raise CliError(f"several templates are named {key!r}: use the id ({', '.join(found[:5])})")
        if found:
            return str(found[0])
    try:
        return str(by_name(current.api, "template", key)["id"])
    except NotThere as error:
        raise NotThere(f"{error}; see `meridian templates list`") from None


def resources(base: dict[str, Any], sizes: tuple[int | None, int | None, int | None]) -> dict[str, Any]:
    """Sizes with what was named in their place."""
    named = dict(zip(("memory_mib", "cpu_millicores", "disk_mib"), sizes, strict=True))
    kept = {key: base[key] for key in named if key in base}
    return kept | {key: value for key, value in named.items() if value is not None}


def _placed(
    current: State,
    template: str,
    node: str | None,
    node_label: list[str] | None,
    group: str,
    strategy: str,
    sizes: tuple[int | None, int | None, int | None],
    version: int | None = None,
) -> dict[str, Any]:
    if strategy not in ("packed", "spread"):
        raise CliError(f"--strategy {strategy!r} is neither packed nor spread")
    chosen = template_id(current, template)
    body: dict[str, Any] = {"template": chosen, "group": group, "strategy": strategy}
    body["node_labels"] = pairs(node_label, "node label")
    if version is not None:
        body["version"] = version
    if node is not None:
        body["node_id"] = by_name(current.api, "node", node)["id"]
    if any(size is not None for size in sizes):
        base = current.api.get(f"/v1/templates/{chosen}", version=version)["definition"].get("resources", {})
        body["resources"] = resources(base, sizes)
    return body
