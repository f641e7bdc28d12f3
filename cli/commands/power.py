"""`meridian servers start`, `stop`, `delete`, ...: one server by its name, or all with a label."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.commanding import Group
from cli.commands.servers import Labels, Wait, finish
from cli.complete import server_names
from cli.errors import CliError
from cli.find import by_name, pairs
from cli.state import State, confirm, state
from cli.tasks import follow

MaybeName = Annotated[str | None, typer.Argument(metavar="[SERVER]", help="Name or id.", autocompletion=server_names)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
power = Group()
RESULTS = (("NAME", "name"), ("RESULT", "result"), ("REASON", "reason"), ("TASK", "task_id"))


def _action(event: str, doing: str, summary: str, *, body: dict[str, Any] | None = None, asks: str = "") -> None:
    def command(
        context: typer.Context, name: MaybeName = None, label: Labels = None, yes: Yes = False, wait: Wait = True
    ) -> None:
        _act(state(context), event, doing, name, label, body, asks, yes=yes, wait=wait)

    def mild(context: typer.Context, name: MaybeName = None, label: Labels = None, wait: Wait = True) -> None:
        _act(state(context), event, doing, name, label, body, asks, yes=True, wait=wait)

    chosen = command if asks else mild
    chosen.__doc__ = f"{summary} With --label instead of a name: every server that has it."
    power.command(event)(chosen)


def _act(
    current: State,
    event: str,
    doing: str,
    name: str | None,
    label: list[str] | None,
    body: dict[str, Any] | None,
    asks: str,
    *,
    yes: bool,
    wait: bool,
) -> None:
    if (name is None) == (not label):
        raise CliError(f"name one server, or all with a label: `meridian servers {event} --label KEY=VALUE`")
    if name is None:
        _in_bulk(current, event, pairs(label, "label"), asks, yes=yes, wait=wait)
        return
    server = by_name(current.api, "server", name)
    confirm(f"{server['name']} {asks}.", yes)
    path = f"/v1/servers/{server['id']}"
    asked = current.api.change("DELETE", path) if event == "delete" else current.api.post(f"{path}/{event}", body)
    finish(current, asked, f"{server['name']} is being {doing}", wait=wait)


def _in_bulk(current: State, event: str, labels: dict[str, str], asks: str, *, yes: bool, wait: bool) -> None:
    chosen = [f"{key}={value}" for key, value in labels.items()]
    if asks and not yes:
        names = [row["name"] for row in current.api.pages("/v1/servers", label=chosen)]
        confirm(f"{len(names)} servers ({', '.join(names[:10])}{', ...' if len(names) > 10 else ''}) {asks}.", yes)
    rows = current.api.post("/v1/servers/actions", {"labels": labels, "action": event})["items"]
    for row in rows:
        row["result"] = row["code"] or "asked"
        if wait and row["task_id"]:
            try:
                row["result"] = follow(current.api, row["task_id"], lambda _: None)["state"]
            except CliError as error:
                row["result"], row["reason"] = "failed", str(error).splitlines()[0]
    current.show_list(rows, RESULTS, f"no server has the label {', '.join(chosen)}")
    if bad := [row for row in rows if row["result"] not in ("asked", "succeeded")]:
        raise CliError(f"{len(bad)} of {len(rows)} servers did not {event}")


_action("start", "started", "Start a server.")
_action("stop", "stopped", "Stop a server as its template says.")
_action("restart", "restarted", "Stop a server and start it again.")
_action("kill", "killed", "End a server's processes now. What was not saved is lost.")
_action("suspend", "suspended", "Suspend a server: it stops, and cannot be started until it is resumed.", body={})
_action("resume", "resumed", "Resume a suspended server.")
_action("delete", "deleted", "Delete a server and its files.", asks="and all its files will be gone")


@power.command("reinstall")
def reinstall(
    context: typer.Context,
    name: MaybeName = None,
    label: Labels = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Fetch all anew, too (of one server).")] = False,
    wait: Wait = True,
) -> None:
    """Install a server's files anew. What the game wrote stays. With --label instead of a name: every server that has it."""
    if fresh and label:
        raise CliError("--fresh goes with the name of one server")
    body = {"fresh": fresh}
    _act(state(context), "reinstall", "installed anew", name, label, body, "", yes=True, wait=wait)
