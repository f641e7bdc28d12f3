"""`meridian keys`: API keys, for programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli.commanding import Group
from cli.complete import key_names
from cli.find import by_name
from cli.state import confirm, state

keys = Group(help="API keys, for programs (MERIDIAN_API_KEY).")

COLUMNS = (
    ("NAME", "name"),
    ("BEGINS", "prefix"),
    ("SCOPES", "scopes"),
    ("ENDS", "expires_at"),
    ("LAST USED", "last_used_at"),
    ("REVOKED", "revoked_at"),
    ("ID", "id"),
)


@keys.command("list")
def list_keys(context: typer.Context) -> None:
    """List keys, newest first, with their last use."""
    current = state(context)
    current.show_list(current.api.pages("/v1/api-keys"), COLUMNS, "no key yet: `meridian keys create NAME`")


@keys.command("create")
def create_key(
    context: typer.Context,
    name: str,
    scopes: Annotated[
        list[str], typer.Option("--scope", "-s", help="A permission, such as servers.read; may be repeated.")
    ],
    days: Annotated[int | None, typer.Option(min=1, help="Ends after so many days; else it does not.")] = None,
    networks: Annotated[
        list[str] | None, typer.Option("--network", metavar="CIDR", help="Only from there; may be repeated.")
    ] = None,
) -> None:
    """Make a key. Its text is told once, here."""
    current = state(context)
    ends = (datetime.now(UTC) + timedelta(days=days)).isoformat() if days else None
    body = {"name": name, "scopes": scopes, "expires_at": ends, "networks": networks or []}
    made = current.api.post("/v1/api-keys", body)
    current.say(f"{made['name']} ({made['id']}). Keep it now, it is not told again:\n\n  {made['key']}\n", made)


@keys.command("revoke")
def revoke_key(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="KEY", help="Name or id.", autocompletion=key_names)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End a key, within 30 seconds everywhere."""
    current = state(context)
    key = by_name(current.api, "key", name)
    confirm(f"What uses the key {key['name']} will be refused.", yes)
    current.api.change("DELETE", f"/v1/api-keys/{key['id']}", read=False)
    current.say("revoked", key)
