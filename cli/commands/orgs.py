"""`meridian orgs`: organizations, and which one is in use."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.commanding import Group
from cli.complete import organization_names
from cli.errors import NotThere
from cli.find import by_name
from cli.state import State, confirm, state

orgs = Group(help="Organizations that you belong to.")

Name = Annotated[str, typer.Argument(metavar="ORGANIZATION", help="Name or id.", autocompletion=organization_names)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
PATH = "/v1/organization"


@orgs.command("list")
def list_orgs(context: typer.Context) -> None:
    """Your organizations; the one in use is marked."""
    current = state(context)
    items = current.api.get("/v1/me/organizations")["items"]
    for item in items:
        item["in_use"] = item["id"] == current.profile.org_id
    columns = (("NAME", "name"), ("ROLE", "role"), ("IN USE", "in_use"), ("DELETED", "deleted_at"), ("ID", "id"))
    current.show_list(items, columns, "you belong to none yet: `meridian orgs create NAME`")


@orgs.command("create")
def create_org(context: typer.Context, name: str) -> None:
    """Found an organization, and use it from now on."""
    current = state(context)
    made = current.api.post("/v1/organizations", {"name": name})
    current.api.for_organization(made["id"])
    current.say(f"{made['name']} is founded ({made['id']}), and in use", made)


@orgs.command("use")
def use_org(context: typer.Context, name: Name) -> None:
    """Use another of your organizations from now on."""
    current = state(context)
    items = current.api.get("/v1/me/organizations")["items"]
    found = [item for item in items if name in (item["id"], item["name"])]
    if len(found) != 1:
        known = ", ".join(item["name"] for item in items) or "none"
        raise NotThere(f"{name!r} names {len(found)} of your organizations; you belong to: {known}")
    current.api.for_organization(found[0]["id"])
    current.say(f"{found[0]['name']} is in use", found[0])


@orgs.command("show")
def show_org(context: typer.Context) -> None:
    """The organization in use."""
    fields = (
        ("Name", "name"),
        ("Id", "id"),
        ("Description", "description"),
        ("Members at most", "member_limit"),
        ("Invitations", "invitations_open"),
        ("Founded", "created_at"),
        ("Deleted", "deleted_at"),
        ("Erased", "erase_at"),
    )
    current = state(context)
    current.show(current.api.get(PATH), fields)


@orgs.command("edit")
def edit_org(
    context: typer.Context,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is.")] = None,
    invitations: Annotated[
        bool | None, typer.Option("--invitations/--no-invitations", help="Whether people can be invited.")
    ] = None,
) -> None:
    """Change the organization in use."""
    wanted = {"name": name, "description": description, "invitations_open": invitations}
    current = state(context)
    changed = current.api.change("PATCH", PATH, {key: value for key, value in wanted.items() if value is not None})
    current.say(f"{changed['name']} is changed", changed)


@orgs.command("leave")
def leave_org(context: typer.Context, yes: Yes = False) -> None:
    """Leave the organization in use. Its last owner cannot."""
    current = state(context)
    confirm(f"You will leave {_name(current)}, and come back only by invitation.", yes)
    current.api.post("/v1/me/leave")
    current.say("you have left; `meridian orgs use` changes to another")


@orgs.command("transfer")
def transfer_org(context: typer.Context, member: str, yes: Yes = False) -> None:
    """Hand the organization in use over to another member (name, e-mail or id)."""
    current = state(context)
    found = by_name(current.api, "member", member)
    confirm(f"{found['name'] or found['id']} will own {_name(current)}, and you will not.", yes)
    current.say("it is handed over", current.api.post(f"{PATH}/transfer", {"member_id": found["id"]}))


@orgs.command("delete")
def delete_org(context: typer.Context, yes: Yes = False) -> None:
    """Delete the organization in use. `restore` takes it back until the day that is told."""
    current = state(context)
    confirm(f"{_name(current)}, with all that is in it, will be gone.", yes)
    current.api.change("DELETE", PATH)
    gone = current.api.get(PATH)
    current.say(f"{gone['name']} is deleted; `meridian orgs restore` takes it back until {gone['erase_at']}", gone)


@orgs.command("restore")
def restore_org(context: typer.Context) -> None:
    """Take the deletion of the organization in use back."""
    current = state(context)
    current.say("it is back", current.api.post(f"{PATH}/restore"))


def _name(current: State) -> str:
    """Of the organization in use; a member may read this whatever the role."""
    mine = current.api.get("/v1/me/organizations")["items"]
    return next((str(row["name"]) for row in mine if row["id"] == current.profile.org_id), "the organization")
