"""The program `meridian`: global options, the commands, and how a refusal is told."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import output
from cli.commands import account, console, nodes, servers, tasks, templates, welcome
from cli.errors import ApiError, CliError
from cli.profile import Profile
from cli.state import State

app = typer.Typer(
    name="meridian",
    help="Game servers on your own hardware, from the command line.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _globals(
    context: typer.Context,
    profile: Annotated[str, typer.Option(envvar="MERIDIAN_PROFILE", help="Which connection to use.")] = "default",
    api: Annotated[str | None, typer.Option(envvar="MERIDIAN_API", help="Address of the API.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Game servers on your own hardware, from the command line."""
    loaded = Profile.load(profile)
    loaded.api = (api or loaded.api).rstrip("/")
    context.obj = State(loaded, as_json)


app.command("login")(account.login)
app.command("logout")(account.logout)
app.command("whoami")(account.whoami)
app.command("console")(console.console)
app.add_typer(account.orgs, name="orgs")
app.add_typer(nodes.nodes, name="nodes")
app.add_typer(templates.templates, name="templates")
app.add_typer(servers.servers, name="servers")
app.add_typer(tasks.tasks, name="tasks")
app.add_typer(welcome.welcome, name="welcome")


def main() -> None:
    """Run a command; 1 and a reason on standard error if it cannot be done."""
    try:
        app(prog_name="meridian")
    except CliError as error:
        if "--json" in sys.argv and isinstance(error, ApiError):
            output.emit_json(
                {"status": error.status, "code": error.code, "detail": error.detail, "errors": error.errors}
            )
        output.err.print(f"[red]meridian:[/red] {error}", soft_wrap=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
