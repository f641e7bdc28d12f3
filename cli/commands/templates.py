"""`meridian templates`: what servers are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.errors import CliError
from cli.state import state

templates = typer.Typer(help="What servers are made of.", no_args_is_help=True)

COLUMNS = (("KEY", "key"), ("NAME", "name"), ("GAME", "game"), ("VERSION", "version"), ("DRAFT", "draft"), ("ID", "id"))
Source = Annotated[Path, typer.Argument(help="A file.")]


@templates.command("list")
def list_templates(
    context: typer.Context,
    scope: Annotated[str, typer.Option(help="system, organization or public.")] = "system",
) -> None:
    """List templates: those that come with Meridian, your organization's, or public ones."""
    current = state(context)
    current.show_list(current.api.pages("/v1/templates", scope=scope), COLUMNS, "none")


@templates.command("show")
def show(context: typer.Context, key_or_id: str) -> None:
    """A template as YAML."""
    current = state(context)
    if current.as_json:
        output.emit_json(current.api.get(f"/v1/templates/{key_or_id}"))
    else:
        typer.echo(current.api.call("GET", f"/v1/templates/{key_or_id}/export").text)


@templates.command("create")
def create(context: typer.Context, source: Source) -> None:
    """Create a template of the organization from a YAML file."""
    current = state(context)
    made = current.api.post("/v1/templates", {"source": _read(source)})
    current.say(f"{made['name']} is there ({made['id']})", made)


@templates.command("import-egg")
def import_egg(
    context: typer.Context,
    egg: Source,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report.")] = False,
) -> None:
    """Import a Pterodactyl egg, and tell what could not be carried over, and why."""
    current = state(context)
    report = current.api.post("/v1/templates/import-egg", {"egg": _read(egg), "save": not dry_run})
    if current.as_json:
        output.emit_json(report)
        return
    for note in report["notes"]:
        output.out.print(f"  {note['verdict']:<10} {note['part']}: {note['reason']}")
    output.out.print(f"saved as {report['id']}" if report["id"] else "nothing was saved")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CliError(f"{path} cannot be read: {error}") from error
