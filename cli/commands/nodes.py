"""`meridian nodes`: machines of the organization."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import output
from cli.find import by_name, pairs
from cli.state import State, state

nodes = typer.Typer(help="Machines that run your servers.", no_args_is_help=True)

COLUMNS = (
    ("NAME", "name"),
    ("STATE", "state"),
    ("PRESENCE", "presence"),
    ("HEARD", "heard_at"),
    ("AGENT", "agent_version"),
    ("ID", "id"),
)
Name = Annotated[str, typer.Argument(metavar="NODE", help="Name or id.")]
Reason = Annotated[str, typer.Option(help="Why, for the trail.")]


@nodes.command("enrol")
def enrol(
    context: typer.Context,
    note: Annotated[str, typer.Option(help="What the token is for.")] = "",
    minutes: Annotated[int, typer.Option(help="How long it is good.")] = 60,
    label: Annotated[list[str] | None, typer.Option(help="key=value for the new node; may be repeated.")] = None,
) -> None:
    """Make a one-time token, and print what to run on the machine."""
    current = state(context)
    made = current.api.post(
        "/v1/enrolment-tokens", {"note": note, "minutes": minutes, "labels": pairs(label or [], "label")}
    )
    current.say(f"Run this on the machine, within {minutes} minutes:\n\n  {made['command']}\n", made)


@nodes.command("list")
def list_nodes(
    context: typer.Context, label: Annotated[list[str] | None, typer.Option(help="key=value")] = None
) -> None:
    """List machines."""
    current = state(context)
    query: dict[str, Any] = {"label": label} if label else {}
    current.show_list(current.api.pages("/v1/nodes", **query), COLUMNS, "no machine yet: `meridian nodes enrol`")


@nodes.command("show")
def show_node(context: typer.Context, name: Name) -> None:
    """One machine: how it is, what it has, what is free."""
    current = state(context)
    node = by_name(current.api, "node", name)
    path = f"/v1/nodes/{node['id']}"
    node["health"] = current.api.get(f"{path}/health")
    node["capacity"] = current.api.get(f"{path}/capacity")
    node["inventory"] = current.api.get(f"{path}/inventory")
    fields = [
        ("Name", "name"),
        ("Id", "id"),
        ("State", "state"),
        ("Presence", "presence"),
        ("Heard", "heard_at"),
        ("Agent", "agent_version"),
    ]
    fields += [
        ("Labels", "labels"),
        ("Offers", "capacity.offered"),
        ("Held", "capacity.held"),
        ("Free", "capacity.free"),
    ]
    fields += [("Health", "health.score"), ("", "health.reasons")]
    current.show(node, fields)


def _event(path: str, done: str, summary: str) -> None:
    def command(context: typer.Context, name: Name, reason: Reason = "") -> None:
        current: State = state(context)
        node = by_name(current.api, "node", name)
        current.say(f"{node['name']} {done}", current.api.post(f"/v1/nodes/{node['id']}/{path}", {"reason": reason}))

    command.__doc__ = summary
    nodes.command(path)(command)


_event("drain", "runs what it has, and gets nothing new", "Let a machine run what it has, and give it nothing new.")
_event("maintenance", "is out of service", "Take a machine out of service.")
_event("resume", "is back in service", "Put a machine back into service.")


@nodes.command("decommission")
def decommission(
    context: typer.Context,
    name: Name,
    reason: Reason = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Let a machine go for good, reachable or not: its certificates are revoked."""
    current = state(context)
    node = by_name(current.api, "node", name)
    if not yes:
        typer.confirm(f"{node['name']} will have to enrol anew to come back. Go on?", abort=True, err=True)
    current.say(
        f"{node['name']} is decommissioned",
        current.api.post(f"/v1/nodes/{node['id']}/decommission", {"reason": reason}),
    )


@nodes.command("ping")
def ping(context: typer.Context, name: Name) -> None:
    """Send the machine a signed command, and wait for its signed answer."""
    import time

    current = state(context)
    node = by_name(current.api, "node", name)
    begun = time.monotonic()
    asked = current.api.post(f"/v1/nodes/{node['id']}/commands", {"type": "node.ping"})
    while (record := current.api.get(f"/v1/nodes/{node['id']}/commands/{asked['id']}"))["state"] in (
        "pending",
        "running",
        "sent",
    ):
        time.sleep(0.1)
    took = (time.monotonic() - begun) * 1000
    if current.as_json:
        output.emit_json({**record, "milliseconds": round(took)})
    else:
        output.out.print(f"{node['name']}: {record['state']} after {took:.0f} ms")
