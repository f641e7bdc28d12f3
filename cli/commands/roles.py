"""`meridian roles`: the organization's own roles, and what there is to permit."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commanding import Group
from cli.complete import role_names
from cli.find import by_name
from cli.state import confirm, state

roles = Group(help="What members may do.")

Name = Annotated[str, typer.Argument(metavar="ROLE", help="Name or id.", autocompletion=role_names)]
Permissions = Annotated[
    list[str] | None, typer.Option("--permission", "-p", help="Such as servers.start; may be repeated.")
]


@roles.command("list")
def list_roles(context: typer.Context) -> None:
    """List roles: the built-in ones, then the organization's own."""
    current = state(context)
    built_in = [{**row, "name": row["id"]} for row in current.api.get("/v1/permissions")["roles"]]
    rows = [*built_in, *current.api.pages("/v1/roles")]
    for row in rows:
        row["count"] = len(row["permissions"])
    current.show_list(
        rows, (("NAME", "name"), ("PERMISSIONS", "count"), ("DESCRIPTION", "description"), ("ID", "id")), ""
    )


@roles.command("permissions")
def list_permissions(
    context: typer.Context, mine: Annotated[bool, typer.Option("--mine", help="Only what you have everywhere.")] = False
) -> None:
    """List all permissions, and what they let one do."""
    current = state(context)
    rows = current.api.get("/v1/permissions")["permissions"]
    if mine:
        held = set(current.api.get("/v1/me/permissions")["everywhere"])
        rows = [row for row in rows if row["id"] in held]
    current.show_list(rows, (("PERMISSION", "id"), ("LETS ONE", "description")), "none")


@roles.command("show")
def show_role(context: typer.Context, name: Name) -> None:
    """One role of the organization's own."""
    current = state(context)
    fields = (("Name", "name"), ("Id", "id"), ("Description", "description"), ("Permissions", "permissions"))
    current.show(by_name(current.api, "role", name), fields)


@roles.command("create")
def create_role(context: typer.Context, name: str, permissions: Permissions = None, description: str = "") -> None:
    """Make a role."""
    current = state(context)
    made = current.api.post("/v1/roles", {"name": name, "permissions": permissions or [], "description": description})
    current.say(f"{made['name']} is there ({made['id']})", made)


@roles.command("edit")
def edit_role(
    context: typer.Context,
    name: Name,
    rename: Annotated[str | None, typer.Option("--name", help="A new name.")] = None,
    permissions: Permissions = None,
    description: str | None = None,
) -> None:
    """Change a role. `--permission` words replace all it had."""
    current = state(context)
    wanted = {"name": rename, "permissions": permissions or None, "description": description}
    path = f"/v1/roles/{by_name(current.api, 'role', name)['id']}"
    changed = current.api.change("PATCH", path, {key: value for key, value in wanted.items() if value is not None})
    current.say(f"{changed['name']} is changed", changed)


@roles.command("delete")
def delete_role(
    context: typer.Context, name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Delete a role that nobody has."""
    current = state(context)
    role = by_name(current.api, "role", name)
    confirm(f"The role {role['name']} will be gone.", yes)
    current.api.change("DELETE", f"/v1/roles/{role['id']}")
    current.say("deleted", role)
