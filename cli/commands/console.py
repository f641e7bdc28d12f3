"""`meridian console`: what a server prints, and lines to it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cli.api import Api
from cli.find import by_name
from cli.state import state

POLL_SECONDS = 0.5
WATCH_SECONDS = 45.0  # the lease lasts 60 s


def console(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SERVER", help="Name or id.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay, and print lines as they come.")] = False,
    send: Annotated[str | None, typer.Option(metavar="LINE", help="Send a line to the game.")] = None,
    since: Annotated[int, typer.Option(help="Number of the last line that you know.")] = 0,
) -> None:
    """The last lines of a server's console."""
    current = state(context)
    server = by_name(current.api, "server", name)
    if send is not None:
        current.api.post(f"/v1/servers/{server['id']}/console", {"line": send})
        if not follow:
            current.say("sent")
            return
    read_lines(current.api, server["id"], since=since, seconds=None if follow else 3.0)


def read_lines(api: Api, server_id: str, *, since: int = 0, seconds: float | None = None) -> int:
    """Print lines as they come: for ever, or until none has come for a moment and `seconds` are over; the last number."""
    path = f"/v1/servers/{server_id}/console"
    leased = -WATCH_SECONDS
    begun = time.monotonic()
    while True:
        if time.monotonic() - leased >= WATCH_SECONDS:
            api.post(f"{path}/watch", {"since": since})
            leased = time.monotonic()
        page = api.get(path, since=since)
        for line in page["lines"]:
            typer.echo(line["text"])
        since = page["next"]
        if not page["lines"]:
            if seconds is not None and time.monotonic() - begun > seconds:
                return since
            time.sleep(POLL_SECONDS)
