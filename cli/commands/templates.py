"""`meridian templates`: what servers are made of."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.commanding import Group
from cli.commands.servers import template_id
from cli.complete import template_names
from cli.errors import CliError
from cli.state import confirm, state

templates = Group(help="What servers are made of.")

COLUMNS = (
    ("KEY", "key"),
    ("NAME", "name"),
    ("GAME", "game"),
    ("VERSION", "version"),
    ("DRAFT", "draft"),
    ("PUBLIC", "published"),
    ("ID", "id"),
)
CHANGES = (("WHAT", "path"), ("BEFORE", "before"), ("AFTER", "after"))
SCOPES = ("system", "organization", "public")
Source = Annotated[Path, typer.Argument(metavar="FILE", help="A file; - is standard input.", allow_dash=True)]
Name = Annotated[str, typer.Argument(metavar="TEMPLATE", help="Key or id.", autocompletion=template_names)]
Version = Annotated[int | None, typer.Option(help="The newest unless given.")]


@templates.command("list")
def list_templates(
    context: typer.Context,
    scope: Annotated[
        str | None, typer.Option(help="system (those that come with it), organization (your own) or public.")
    ] = None,
    game: Annotated[str | None, typer.Option(help="Only of this game.")] = None,
) -> None:
    """List templates: your organization's own and those that come with Meridian, unless one scope is named."""
    current = state(context)
    scopes = (scope,) if scope else ("organization", "system")
    rows = (row for each in scopes for row in current.api.pages("/v1/templates", scope=each, game=game))
    current.show_list(rows, COLUMNS, "none")


@templates.command("show")
def show(
    context: typer.Context,
    name: Name,
    version: Version = None,
) -> None:
    """A template as YAML, as `create` and `update` take it."""
    current = state(context)
    path = f"/v1/templates/{template_id(current, name)}"
    if current.as_json:
        output.emit_json(current.api.get(path, version=version))
    else:
        typer.echo(current.api.call("GET", f"{path}/export", query={"version": version}).text)


@templates.command("create")
def create(context: typer.Context, source: Source) -> None:
    """Create a template of the organization from a YAML file."""
    current = state(context)
    made = current.api.post("/v1/templates", {"source": _read(source)})
    current.say(f"{made['name']} is there ({made['id']})", made)


@templates.command("edit")
def edit(context: typer.Context, name: Name, source: Source) -> None:
    """Give a template a new version from a YAML file. Servers keep theirs until they are upgraded."""
    current = state(context)
    path = f"/v1/templates/{template_id(current, name)}"
    made = current.api.change("PUT", path, {"source": _read(source)})
    current.say(f"{made['name']} has version {made['version']} now", made)


@templates.command("compare")
def compare(context: typer.Context, name: Name, before: int, after: int) -> None:
    """What differs between two versions."""
    current = state(context)
    path = f"/v1/templates/{template_id(current, name)}/compare"
    current.show_list(current.api.get(path, before=before, after=after)["changes"], CHANGES, "nothing differs")


@templates.command("publish")
def publish(context: typer.Context, name: Name) -> None:
    """Let every organization use a template of yours."""
    current = state(context)
    current.say("it is public", current.api.post(f"/v1/templates/{template_id(current, name)}/publish"))


@templates.command("withdraw")
def withdraw(context: typer.Context, name: Name) -> None:
    """Take a template of yours back from the public."""
    current = state(context)
    current.say("it is yours alone", current.api.post(f"/v1/templates/{template_id(current, name)}/withdraw"))


@templates.command("delete")
def delete(
    context: typer.Context, name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete a template of yours. Servers that were made of it keep their version."""
    current = state(context)
    path = f"/v1/templates/{template_id(current, name)}"
    confirm(f"No server can be made of {name} any more.", yes)
    current.api.change("DELETE", path)
    current.say("deleted")


@templates.command("import-egg")
def import_egg(
    context: typer.Context,
    egg: Source,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report.")] = False,
    scripts: Annotated[
        bool, typer.Option("--scripts", help="Keep its install script, to be run in a container where nodes allow it.")
    ] = False,
) -> None:
    """Import an egg of Pterodactyl or Pelican, and tell what could not be carried over, and why."""
    current = state(context)
    report = current.api.post("/v1/templates/import-egg", {"egg": _read(egg), "save": not dry_run, "scripts": scripts})
    if current.as_json:
        output.emit_json(report)
        return
    for note in report["notes"]:
        output.line(output.plain(f"  {note['verdict']:<10} {note['part']}: {note['reason']}"))
    if report["draft"]:
        output.line(f"it is a draft until this is there: {output.cell(report['draft'])}")
    if report["id"]:
        output.line(f"saved as {report['definition']['key']} ({report['id']})")
    else:
        output.line("nothing was saved")


def _read(path: Path) -> str:
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text()
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CliError(f"{path} is no text: {error.reason} at byte {error.start}") from error
