"""`meridian members` and `invitations`: who belongs to the organization, and who is asked to."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from cli import output
from cli.commanding import Group
from cli.complete import member_names, role_names
from cli.errors import ApiError, CliError
from cli.find import by_name
from cli.state import confirm, state

members = Group(help="People of the organization.")
invitations = Group(help="People who are asked to join.")

Name = Annotated[str, typer.Argument(metavar="MEMBER", help="Name, e-mail or id.", autocompletion=member_names)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
ROLE = "owner, admin, operator, billing, viewer, or a role of your own."
COLUMNS = (("NAME", "name"), ("E-MAIL", "email"), ("ROLE", "role"), ("SINCE", "joined_at"), ("ID", "id"))
LINK = "/?invitation="
INVITED = (("E-MAIL", "email"), ("ROLE", "role"), ("STATE", "state"), ("ENDS", "expires_at"), ("ID", "id"))


def role_id(api: Any, name: str) -> str:
    """A role as the API wants it: a built-in one by its word, one of the organization's own by its id."""
    own = {row["name"]: row["id"] for row in api.pages("/v1/roles")}
    return str(own.get(name, name))


@members.command("list")
def list_members(
    context: typer.Context,
    role: Annotated[str | None, typer.Option(help=ROLE, autocompletion=role_names)] = None,
) -> None:
    """List members."""
    current = state(context)
    chosen = role_id(current.api, role) if role else None
    current.show_list(current.api.pages("/v1/members", role=chosen), COLUMNS, "nobody")


@members.command("show")
def show_member(context: typer.Context, name: Name) -> None:
    """One member, with what is granted and denied beside the role."""
    current = state(context)
    member = by_name(current.api, "member", name)
    member["grants"] = current.api.get(f"/v1/members/{member['id']}/grants")["items"]
    if current.as_json:
        current.say("", member)
        return
    current.show(
        member, (("Name", "name"), ("E-mail", "email"), ("Role", "role"), ("Since", "joined_at"), ("Id", "id"))
    )
    columns = (
        ("EFFECT", "effect"),
        ("PERMISSION", "permission"),
        ("FOR", "resource"),
        ("ENDS", "expires_at"),
        ("ID", "id"),
    )
    current.show_list(member["grants"], columns, "nothing beside the role")


@members.command("role")
def change_role(
    context: typer.Context,
    name: Name,
    role: Annotated[str, typer.Argument(help=ROLE, autocompletion=role_names)],
) -> None:
    """Give a member another role."""
    current = state(context)
    member = by_name(current.api, "member", name)
    changed = current.api.change("PATCH", f"/v1/members/{member['id']}", {"role": role_id(current.api, role)})
    current.say(f"{member['name'] or member['id']} is {role} now", changed)


@members.command("remove")
def remove_member(context: typer.Context, name: Name, yes: Yes = False) -> None:
    """Remove a member. Their tokens end within 30 seconds."""
    current = state(context)
    member = by_name(current.api, "member", name)
    confirm(f"{member['name'] or member['id']} will no longer be a member.", yes)
    current.api.change("DELETE", f"/v1/members/{member['id']}")
    current.say("removed", member)


def _grant(word: str, effect: str, summary: str) -> None:
    def command(
        context: typer.Context,
        name: Name,
        permission: Annotated[str, typer.Argument(help="Such as servers.start; see `meridian roles permissions`.")],
        on: Annotated[str | None, typer.Option(help="Only for one server, node or template: its id.")] = None,
        until: Annotated[str | None, typer.Option(metavar="TIME", help="Ends then (2030-01-31T12:00:00Z).")] = None,
    ) -> None:
        current = state(context)
        member = by_name(current.api, "member", name)
        body = {"permission": permission, "effect": effect, "expires_at": until, "resource": _resource(on)}
        made = current.api.post(f"/v1/members/{member['id']}/grants", body)
        current.say(f"{member['name'] or member['id']}: {permission} is {effect} ({made['id']})", made)

    command.__doc__ = summary
    members.command(word)(command)


_grant("grant", "allow", "Let a member do one thing beside the role.")
_grant("deny", "deny", "Deny a member one thing, whatever the role says.")


@members.command("ungrant")
def ungrant(context: typer.Context, name: Name, grant_id: str) -> None:
    """Take a grant or a denial back (its id is in `members show`)."""
    current = state(context)
    member = by_name(current.api, "member", name)
    current.api.change("DELETE", f"/v1/members/{member['id']}/grants/{grant_id}", read=False)
    current.say("taken back")


@members.command("invite")
def invite(
    context: typer.Context,
    emails: Annotated[list[str], typer.Argument(metavar="E-MAIL...", help="One address or several.")],
    role: Annotated[str, typer.Option(help=ROLE, autocompletion=role_names)] = "viewer",
) -> None:
    """Invite people. The link that each needs is mailed or, where no mail is set up, told once, here."""
    current = state(context)
    chosen = role_id(current.api, role)
    made: list[dict[str, Any]] = []
    for email in emails:
        try:
            made.append(current.api.post("/v1/invitations", {"email": email, "role": chosen}))
        except ApiError as error:
            if len(emails) == 1:
                raise
            made.append({"email": email, **error.document()})
    refused = [row for row in made if "code" in row]
    link = f"to join, they open {current.profile.auth}{LINK}"
    if current.as_json:
        output.emit_json(made)
    else:
        for row in made:
            output.line(f"{row['email']}: {row['detail'] if 'code' in row else _what_to_do(row, link)}")
    if refused:
        raise CliError(f"{len(refused)} of {len(emails)} were not invited")


def _what_to_do(invited: dict[str, Any], link: str) -> str:
    return link + invited["token"] if invited["token"] else "the link is on its way by mail"


@invitations.command("list")
def list_invitations(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Those that were answered or are over, too.")] = False,
    mine: Annotated[bool, typer.Option("--mine", help="What you yourself are invited to.")] = False,
) -> None:
    """List open invitations of the organization, or your own."""
    current = state(context)
    if mine:
        columns = (("ORGANIZATION", "organization"), ("ROLE", "role"), ("ENDS", "expires_at"), ("ID", "id"))
        current.show_list(current.api.get("/v1/me/invitations")["items"], columns, "you are invited to nothing")
        return
    state_ = None if every else "pending"
    current.show_list(current.api.pages("/v1/invitations", state=state_), INVITED, "nobody is invited")


@invitations.command("withdraw")
def withdraw(
    context: typer.Context, name: Annotated[str, typer.Argument(metavar="INVITATION", help="Address or id.")]
) -> None:
    """Take an open invitation back."""
    current = state(context)
    found = next((row for row in current.api.pages("/v1/invitations", state="pending") if row["email"] == name), None)
    found = found or by_name(current.api, "invitation", name)
    current.api.change("DELETE", f"/v1/invitations/{found['id']}")
    current.say(f"{found['email']} is no longer invited", found)


@invitations.command("accept")
def accept(context: typer.Context, token_or_id: Annotated[str, typer.Argument(metavar="LINK")]) -> None:
    """Join an organization, by the invitation's link, its token or its id, and use it from now on."""
    current = state(context)
    token_or_id = token_or_id.rpartition(LINK)[2]
    if token_or_id.startswith("inv_"):
        joined = current.api.post(f"/v1/me/invitations/{token_or_id}/accept")
    else:
        joined = current.api.post("/v1/invitations/accept", {"token": token_or_id})
    current.api.for_organization(joined["organization"])
    current.say(f"you are {joined['role']} of {joined['organization']} now, and it is in use", joined)


@invitations.command("decline")
def decline(context: typer.Context, invitation_id: str) -> None:
    """Say no to an invitation of yours."""
    current = state(context)
    current.api.post(f"/v1/me/invitations/{invitation_id}/decline")
    current.say("declined")


def _resource(thing_id: str | None) -> dict[str, str] | None:
    if thing_id is None:
        return None
    kinds = {"srv": "server", "nod": "node", "tpl": "template"}
    found = re.match(r"([a-z]{3})_", thing_id)
    if found is None or found[1] not in kinds:
        raise CliError(f"{thing_id!r} is no id of a server, node or template")
    return {"kind": kinds[found[1]], "id": thing_id}
