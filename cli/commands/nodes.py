"""`meridian nodes`: machines of the organization."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli import output
from cli.commanding import Group
from cli.complete import node_names
from cli.errors import CliError
from cli.find import by_name, pairs
from cli.state import State, confirm, state

nodes = Group(help="Machines that run your servers.")

COLUMNS = (
    ("NAME", "name"),
    ("STATE", "state"),
    ("PRESENCE", "presence"),
    ("HEARD", "heard_at"),
    ("AGENT", "agent_version"),
    ("LABELS", "labels"),
    ("ID", "id"),
)
Name = Annotated[str, typer.Argument(metavar="NODE", help="Name or id.", autocompletion=node_names)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Reason = Annotated[str, typer.Option(help="Why, for the trail.")]


@nodes.command("enrol")
def enrol(
    context: typer.Context,
    note: Annotated[str, typer.Option(help="What the token is for.")] = "",
    minutes: Annotated[int, typer.Option(help="How long it is good.")] = 60,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="For the new node; may be repeated.")
    ] = None,
    again: Annotated[
        str | None,
        typer.Option(metavar="NODE", help="A node that enrols anew (its key was lost).", autocompletion=node_names),
    ] = None,
) -> None:
    """Make a one-time token, and print what to run on the machine."""
    current = state(context)
    body: dict[str, Any] = {"note": note, "minutes": minutes, "labels": pairs(label, "label")}
    if again is not None:
        body["node_id"] = by_name(current.api, "node", again)["id"]
    made = current.api.post("/v1/enrolment-tokens", body)
    current.say(f"Run this on the machine, within {minutes} minutes:\n\n  {made['command']}\n", made)


@nodes.command("tokens")
def list_tokens(context: typer.Context) -> None:
    """List enrolment tokens, newest first (never their secrets)."""
    columns = (
        ("NOTE", "note"),
        ("STATE", "state"),
        ("MADE", "created_at"),
        ("ENDS", "expires_at"),
        ("NODE", "node_id"),
        ("ID", "id"),
    )
    current = state(context)
    current.show_list(current.api.pages("/v1/enrolment-tokens"), columns, "no token yet: `meridian nodes enrol`")


@nodes.command("revoke-token")
def revoke_token(context: typer.Context, token_id: str) -> None:
    """Revoke an enrolment token that has not been used."""
    current = state(context)
    current.api.change("DELETE", f"/v1/enrolment-tokens/{token_id}", read=False)
    current.say("revoked")


@nodes.command("list")
def list_nodes(
    context: typer.Context,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="All must match.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Decommissioned ones, too.")] = False,
) -> None:
    """List machines."""
    current = state(context)
    found = current.api.pages("/v1/nodes", label=label or None, sort="name")
    rows = (row for row in found if every or row["state"] != "decommissioned")
    current.show_list(rows, COLUMNS, "no machine yet: `meridian nodes enrol`")


@nodes.command("show")
def show_node(context: typer.Context, name: Name) -> None:
    """One machine: how it is, what it has, what is free."""
    current = state(context)
    node = by_name(current.api, "node", name)
    path = f"/v1/nodes/{node['id']}"
    node["health"] = current.api.get(f"{path}/health")
    node["capacity"] = current.api.get(f"{path}/capacity")
    node["inventory"] = current.api.get(f"{path}/inventory")
    foreign = node["capacity"]["ports_foreign"]
    fields = [
        ("Name", "name"), ("Id", "id"), ("State", "state"), ("", "state_reason"), ("Presence", "presence"),
        ("Heard", "heard_at"), ("Agent", "agent_version"), ("Players use", "public_host"), ("Ports", "port_ranges"),
        ("Labels", "labels"), ("Offers", "capacity.offered"), ("Held", "capacity.held"), ("Free", "capacity.free"),
    ]  # fmt: skip
    if foreign and not current.as_json:
        node["ports_foreign"] = ", ".join(map(_foreign, foreign))
        fields.append(("Not ours", "ports_foreign"))
    fields += [("Health", "health.score"), ("", "health.reasons")]
    fields += [(label, f"health.observed.{name}") for label, name in SAID]
    current.show(node, fields)


SAID = (
    ("Said at", "observed_at"), ("CPU %", "cpu_percent"), ("Memory MiB used", "memory_used_mib"),
    ("Disk MiB free", "disk_free_mib"), ("KiB/s in", "received_kib_s"), ("KiB/s out", "sent_kib_s"),
    ("Clock off by s", "clock_skew_seconds"),
)  # fmt: skip


def _foreign(port: dict[str, Any]) -> str:
    """A port that something else has, who, and when that was seen."""
    by = f" {port['by']}" if port["by"] else ""
    return f"{port['port']}/{port['protocol']}{by}, seen {output.ago(port['seen_at'])}"


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


@nodes.command("edit")
def edit(
    context: typer.Context,
    name: Name,
    rename: Annotated[str | None, typer.Option("--name", help="A new name.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", metavar="KEY=VALUE", help="Add or change.")
    ] = None,
    unlabel: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Take a label off.")] = None,
    public_host: Annotated[str | None, typer.Option(help="How players reach the machine.")] = None,
    ports: Annotated[
        list[str] | None, typer.Option(metavar="FIRST-LAST", help="What servers may get; replaces all ranges.")
    ] = None,
    max_servers: Annotated[int | None, typer.Option(help="So many servers at most.")] = None,
    reserve_memory: Annotated[int | None, typer.Option(metavar="MIB", help="Kept back for the machine.")] = None,
    overcommit_memory: float | None = None,
    overcommit_cpu: float | None = None,
    overcommit_disk: float | None = None,
) -> None:
    """Change a machine's name, labels or limits."""
    current = state(context)
    node = by_name(current.api, "node", name)
    wanted: dict[str, Any] = {
        "name": rename,
        "public_host": public_host,
        "port_ranges": [_range(each) for each in ports] if ports else None,
        "maximum_servers": max_servers,
        "reserve_memory_mib": reserve_memory,
        "overcommit_memory": overcommit_memory,
        "overcommit_cpu": overcommit_cpu,
        "overcommit_disk": overcommit_disk,
    }
    if label or unlabel:
        kept = {key: value for key, value in node["labels"].items() if key not in (unlabel or [])}
        wanted["labels"] = kept | pairs(label, "label")
    body = {key: value for key, value in wanted.items() if value is not None}
    if not body:
        raise CliError("nothing to change was named; see `meridian nodes edit --help`")
    changed = current.api.change("PATCH", f"/v1/nodes/{node['id']}", body)
    current.say(f"{changed['name']} is changed", changed)


def _range(text: str) -> dict[str, int]:
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last or first).isdigit()):
        raise CliError(f"ports {text!r} must read FIRST-LAST, such as 25565-25600")
    return {"first": int(first), "last": int(last or first)}


@nodes.command("decommission")
def decommission(context: typer.Context, name: Name, reason: Reason = "", yes: Yes = False) -> None:
    """Let a machine go for good, reachable or not: its certificates are revoked."""
    current = state(context)
    node = by_name(current.api, "node", name)
    confirm(f"{node['name']} will have to enrol anew to come back.", yes)
    current.say(
        f"{node['name']} is decommissioned",
        current.api.post(f"/v1/nodes/{node['id']}/decommission", {"reason": reason}),
    )


@nodes.command("forget")
def forget(context: typer.Context, name: Name, yes: Yes = False) -> None:
    """Take a decommissioned machine off the list."""
    current = state(context)
    node = by_name(current.api, "node", name)
    confirm(f"{node['name']} will be gone from the list.", yes)
    current.api.change("DELETE", f"/v1/nodes/{node['id']}")
    current.say("forgotten", node)
