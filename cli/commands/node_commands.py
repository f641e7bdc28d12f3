"""`meridian nodes ping`, `update`: what a machine's agent is told to do, and answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from cli import output
from cli.commanding import Group
from cli.commands.nodes import Name
from cli.commands.servers import Wait
from cli.errors import CliError
from cli.find import by_name
from cli.state import State, state
from cli.tasks import FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS

PING_SECONDS = 30.0
UPDATE_SECONDS = 22 * 60.0  # the control plane gives an update up after 20 min, and says so within one more
MANIFEST_SECONDS = 10.0
commands = Group()


@commands.command("ping")
def ping(context: typer.Context, name: Name) -> None:
    """Send the machine a signed command, and wait for its signed answer."""
    current = state(context)
    node = by_name(current.api, "node", name)
    begun = time.monotonic()
    asked = current.api.post(f"/v1/nodes/{node['id']}/commands", {"type": "node.ping"})
    record = _answered(current, node, asked, PING_SECONDS)
    took = (time.monotonic() - begun) * 1000
    if current.as_json:
        output.emit_json({**record, "milliseconds": round(took)})
    else:
        output.line(f"{node['name']}: {record['state']} after {took:.0f} ms")
    _check(node, record)


@commands.command("update")
def update(
    context: typer.Context,
    name: Name,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where the machine fetches the release from.")],
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The release's signed manifest; fetched from URL.manifest unless given."),
    ] = None,
    wait: Wait = True,
) -> None:
    """Have a machine change to a release of the agent. It takes what its release key has signed and what is newer, alone.

    Games go on meanwhile. A release that does not reach the control plane is taken back by the machine itself.
    """
    current = state(context)
    node = by_name(current.api, "node", name)
    body = {"type": "node.update", "release": {"url": url, "manifest": _manifest(url, manifest)}}
    asked = current.api.post(f"/v1/nodes/{node['id']}/commands", body)
    if not wait:
        current.say(f"{node['name']} is asked to change to {url}", asked)
        return
    record = _answered(current, node, asked, UPDATE_SECONDS)
    if record["state"] == "succeeded":
        now = current.api.get(f"/v1/nodes/{node['id']}")["agent_version"]
        current.say(f"{node['name']} runs the agent {now} (before: {node['agent_version']})", record)
    elif current.as_json:
        output.emit_json(record)
    _check(node, record)


def _manifest(url: str, file: Path | None) -> str:
    """A release's manifest; it is the machine that judges it, by the release key that it knows.

    Raises:
        CliError: it is not to be had.
    """
    place = str(file or f"{url}.manifest")
    try:
        if file is not None:
            return file.read_text("ascii").strip()
        answer = httpx.get(place, timeout=MANIFEST_SECONDS, follow_redirects=True)
        return answer.raise_for_status().text.strip()
    except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
        raise CliError(f"no manifest at {place} ({error}); name it with --manifest FILE") from None


def _answered(current: State, node: dict[str, Any], asked: dict[str, Any], seconds: float) -> dict[str, Any]:
    """A command's record once it has ended."""
    end, pause = time.monotonic() + seconds, FIRST_POLL_SECONDS
    while True:
        record: dict[str, Any] = current.api.get(f"/v1/nodes/{node['id']}/commands/{asked['id']}")
        if record["state"] != "sent":
            return record
        if time.monotonic() > end:
            raise CliError(f"{node['name']} ({node['presence']}) has not answered within {seconds:.0f} s")
        time.sleep(pause)
        pause = min(pause * 1.1, LONGEST_POLL_SECONDS)


def _check(node: dict[str, Any], record: dict[str, Any]) -> None:
    if record["state"] != "succeeded":
        why = record["outcome"].get("detail") or record["outcome"].get("code")
        raise CliError(f"{node['name']} did not do it: {record['state']}" + (f" ({why})" if why else ""))
