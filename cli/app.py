"""The program `meridian`: global options, the commands, and how a refusal is told."""

from __future__ import annotations

import os
import signal
import sys
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.commanding import Group
from cli.commands import (
    account,
    audit,
    console,
    edit,
    keys,
    members,
    node_commands,
    node_ports,
    nodes,
    orgs,
    power,
    raw,
    roles,
    servers,
    stats,
    tasks,
    templates,
    welcome,
)
from cli.errors import CliError, Interrupted, NobodyReads
from cli.profile import Profile
from cli.state import State

EPILOG = (
    "It leaves with 0 if it was done, 1 if it was refused or failed, 2 if the command was not understood, 3 if nobody is "
    "signed in, 4 if there is no such thing, 5 if the API cannot be reached, 130 after Ctrl-C."
)

app = Group(
    name="meridian",
    help="Game servers on your own hardware, from the command line.",
    epilog=EPILOG,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
        typer.echo(f"meridian {project['version']}")
        raise typer.Exit


@app.callback()
def _globals(
    context: typer.Context,
    profile: Annotated[str, typer.Option(envvar="MERIDIAN_PROFILE", help="Which connection to use.")] = "default",
    api: Annotated[str | None, typer.Option(envvar="MERIDIAN_API", help="Address of the API.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell the version, and leave.")
    ] = False,
) -> None:
    """Game servers on your own hardware, from the command line."""
    loaded = Profile.load(profile)
    context.obj = State(loaded.at((api or loaded.api).rstrip("/")), as_json)


app.command("login")(account.login)
app.command("logout")(account.logout)
app.command("whoami")(account.whoami)
app.add_typer(servers.servers, name="servers")
for _more in (power.power, edit.edits, stats.stats):
    servers.servers.add_typer(_more)  # without a name: its commands are commands of `servers`
app.command("console")(console.console)
app.add_typer(tasks.tasks, name="tasks")
app.add_typer(templates.templates, name="templates")
app.add_typer(nodes.nodes, name="nodes")
for _more in (node_commands.commands, node_ports.ports):
    nodes.nodes.add_typer(_more)  # without a name, as above
app.add_typer(orgs.orgs, name="orgs")
app.add_typer(members.members, name="members")
app.add_typer(members.invitations, name="invitations")
app.add_typer(roles.roles, name="roles")
app.add_typer(keys.keys, name="keys")
app.command("audit")(audit.audit)
app.command("api")(raw.call)
app.add_typer(welcome.welcome, name="welcome")


def main() -> None:
    """Run a command; a reason on standard error, and a code, if it cannot be done."""
    try:
        app(prog_name="meridian")
    except CliError as error:
        if "--json" in sys.argv:
            output.emit_json(error.document(), to_err=True)
        else:
            output.err.print("[red]meridian:[/red]", end=" ")
            output.err.print(output.lines_of(str(error)), markup=False, soft_wrap=True)
        raise SystemExit(error.exit_code) from None
    except Interrupted:
        # Ended by the signal itself, so that a shell's list of commands ends here too; the shell calls that 130.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except NobodyReads:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing may be written at exit either
