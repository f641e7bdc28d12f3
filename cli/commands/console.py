"""`meridian console`: what a server prints, and lines to it."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Annotated, Any

import typer

from cli import output
from cli.api import Api
from cli.complete import server_names
from cli.errors import ApiError, CliError, Unreachable
from cli.find import by_name
from cli.state import state

POLL_SECONDS = 0.5
WATCH_SECONDS = 45.0  # the lease lasts 60 s
BACKLOG_SECONDS = 3.0  # what the node has comes within this time, or there is nothing


def console(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SERVER", help="Name or id.", autocompletion=server_names)],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay, and print lines as they come.")] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Stay, and send what is typed here to the game.")
    ] = False,
    send: Annotated[str | None, typer.Option(metavar="LINE", help="Send a line to the game.")] = None,
    since: Annotated[int, typer.Option(min=0, help="Number of the last line that you know.")] = 0,
    tail: Annotated[int | None, typer.Option("--tail", "-n", min=0, help="Only so many of the last lines.")] = None,
) -> None:
    """The last lines of a server's console. With --json: a JSON object a line (seq, at, text)."""
    current = state(context)
    server = by_name(current.api, "server", name)
    if send is not None:
        current.api.post(f"/v1/servers/{server['id']}/console", {"line": send}, once=True)
        if not (follow or interactive):
            current.say("sent")
            return
    if interactive:
        output.err.print("[dim]lines that you type go to the game; Ctrl-C or Ctrl-D leaves[/dim]")
        threading.Thread(target=_type, args=(Api(current.profile), server["id"]), daemon=True).start()
    stay = follow or interactive
    Reader(current.api, server["id"], as_json=current.as_json).read(
        since=since, tail=tail, seconds=None if stay else BACKLOG_SECONDS
    )


class Reader:
    """Prints a server's lines as they come."""

    def __init__(self, api: Api, server_id: str, *, as_json: bool = False) -> None:
        self._api, self._as_json = api, as_json
        self._path = f"/v1/servers/{server_id}/console"
        self._leased = -WATCH_SECONDS

    def read(self, *, since: int = 0, tail: int | None = None, seconds: float | None = None) -> int:
        """Print lines for ever, or until none has come for a moment and `seconds` are over; the last number.

        Args:
            tail: of those that are there when it begins, print only so many.
        """
        begun, quiet = time.monotonic(), False
        while True:
            page = self._page(since)
            lines = (
                page["lines"] if tail is None else page["lines"][len(page["lines"]) - min(tail, len(page["lines"])) :]
            )
            if page["lines"]:
                tail = None
            if page["dropped"] and not quiet:
                output.err.print(f"[dim]{page['dropped']} lines were too many to be sent, and are not here[/dim]")
                quiet = True
            for line in lines:
                self._print(line)
            since = page["next"]
            if not page["lines"]:
                if seconds is not None and time.monotonic() - begun > seconds:
                    return since
                time.sleep(POLL_SECONDS)

    def _page(self, since: int) -> dict[str, Any]:
        """A page; a control plane that is being restarted is waited for."""
        while True:
            try:
                if time.monotonic() - self._leased >= WATCH_SECONDS:
                    self._api.post(f"{self._path}/watch", {"since": since})
                    self._leased = time.monotonic()
                return dict(self._api.get(self._path, since=since))
            except Unreachable:
                if self._leased < 0:  # it never answered: nothing to go on with
                    raise
                time.sleep(2 * POLL_SECONDS)

    def _print(self, line: dict[str, Any]) -> None:
        if self._as_json:
            output.emit_line(line)
        else:
            typer.echo(output.plain(str(line["text"])))


def _type(api: Api, server_id: str) -> None:
    """Send what is typed, line by line, until the input ends; then the program ends as after Ctrl-C, but well."""
    for text in sys.stdin:
        try:
            api.post(f"/v1/servers/{server_id}/console", {"line": text.rstrip("\n")}, once=True)
        except (ApiError, CliError) as error:
            output.err.print(f"[red]not sent:[/red] {output.plain(str(error).splitlines()[0])}", markup=True)
    time.sleep(2 * POLL_SECONDS)  # the answer to the last line
    sys.stdout.flush()
    os._exit(0)
