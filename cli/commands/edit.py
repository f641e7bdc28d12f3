"""`meridian servers edit`, `upgrade`, `diff`: what a server is to be, from its next start on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.commanding import Group
from cli.commands.servers import Cpu, Disk, Memory, Name, Wait, finish, resources
from cli.errors import CliError
from cli.find import by_name, pairs
from cli.state import State, state
from cli.tasks import follow

edits = Group()
CHANGES = (("WHAT", "path"), ("NOW", "before"), ("THEN", "after"))
LIVES = ("starting", "running")
Apply = Annotated[bool, typer.Option("--apply", help="Restart it at once if the change needs that.")]


@edits.command("edit")
def edit(
    context: typer.Context,
    name: Name,
    rename: Annotated[str | None, typer.Option("--name", help="A new name.")] = None,
    var: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="May be repeated.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="Add or change.")
    ] = None,
    unlabel: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Take a label off.")] = None,
    memory: Memory = None,
    cpu: Cpu = None,
    disk: Disk = None,
    apply: Apply = False,
    wait: Wait = True,
) -> None:
    """Change a server's name, variables, labels or sizes."""
    current = state(context)
    server = by_name(current.api, "server", name)
    body: dict[str, Any] = {}
    if rename is not None:
        body["name"] = rename
    if var:
        body["variables"] = pairs(var, "variable")
    if label or unlabel:
        kept = {key: value for key, value in server["labels"].items() if key not in (unlabel or [])}
        body["labels"] = kept | pairs(label, "label")
    if any(size is not None for size in (memory, cpu, disk)):
        body["resources"] = resources(server["resources"], (memory, cpu, disk))
    if not body:
        raise CliError("nothing to change was named; see `meridian servers edit --help`")
    _change(current, server, body, apply=apply, wait=wait)


@edits.command("diff")
def diff(
    context: typer.Context,
    name: Name,
    to: Annotated[int | None, typer.Option(metavar="VERSION", help="The newest unless given.")] = None,
) -> None:
    """What an upgrade to another version of its template would change."""
    current = state(context)
    server = by_name(current.api, "server", name)
    used, newest = server["template"]["version"], to or _newest(current, server)
    path = f"/v1/templates/{server['template']['id']}/compare"
    found = current.api.get(path, before=used, after=newest)["changes"] if newest != used else []
    current.show_list(found, CHANGES, f"{server['name']} has version {used} already")


@edits.command("upgrade")
def upgrade(
    context: typer.Context,
    name: Name,
    to: Annotated[int | None, typer.Option(metavar="VERSION", help="The newest unless given.")] = None,
    apply: Apply = False,
    wait: Wait = True,
) -> None:
    """Give a server another version of its template. Files that the game wrote stay."""
    current = state(context)
    server = by_name(current.api, "server", name)
    version = to or _newest(current, server)
    if version == server["template"]["version"]:
        current.say(f"{server['name']} has version {version} already", server)
        return
    _change(current, server, {"version": version}, apply=apply, wait=wait)


def _newest(current: State, server: dict[str, Any]) -> int:
    return int(current.api.get(f"/v1/templates/{server['template']['id']}")["version"])


def _change(current: State, server: dict[str, Any], body: dict[str, Any], *, apply: bool, wait: bool) -> None:
    edited = current.api.change("PATCH", f"/v1/servers/{server['id']}", body)
    changed, needs = edited["server"], edited["needs"]
    if needs == "none":
        current.say(f"{changed['name']} is changed", edited)
    elif changed["status"] not in LIVES:
        current.say(f"{changed['name']} is changed; it counts from the next start", edited)
    elif apply:
        if under_way := changed["operation"]:
            follow(current.api, under_way["task_id"])
        asked = current.api.post(f"/v1/servers/{server['id']}/restart")
        finish(current, asked, f"{changed['name']} is being restarted", wait=wait)
    else:
        hint = f"until `meridian servers restart {changed['name']}` (the change needs a {needs})"
        current.say(f"{changed['name']} is changed; it runs as before {hint}", edited)
