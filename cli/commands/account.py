"""`meridian login`, `logout`, `whoami`, `orgs`: who is at the keyboard, and for which organization."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli import output
from cli.browser import sign_in_by_browser
from cli.errors import CliError
from cli.sign_in import sign_in
from cli.state import state

orgs = typer.Typer(help="Organizations that you belong to.", no_args_is_help=True)


def login(
    context: typer.Context,
    email: Annotated[
        str | None, typer.Option(help="Sign in with e-mail and password here, not in the browser.")
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    sign_up: Annotated[str | None, typer.Option(metavar="NAME", help="Make the account first, with this name.")] = None,
    auth: Annotated[str | None, typer.Option(help="Address of the sign-in site.")] = None,
    open_page: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the sign-in page, or only tell it.")
    ] = True,
) -> None:
    """Sign in, and stay signed in on this machine."""
    current = state(context)
    profile = current.profile
    profile.auth = (auth or profile.auth).rstrip("/")
    if email is None:
        sign_in_by_browser(profile, output.err.print, open_page=open_page)
    else:
        password = sys.stdin.readline().rstrip("\n") if password_stdin else typer.prompt("Password", hide_input=True)
        sign_in(profile, email, password, name=sign_up)
    where = profile.org_id or "no organization yet: `meridian orgs create NAME`"
    current.say(f"signed in ({where})", {"organization": profile.org_id or None})


def logout(context: typer.Context) -> None:
    """Sign out: the tokens on this machine are ended and forgotten."""
    current = state(context)
    if current.profile.access_token:
        current.api.post("/v1/auth/sign-out")
    current.profile.forget_tokens()
    current.say("signed out")


def whoami(context: typer.Context) -> None:
    """Who is signed in, and for which organization."""
    current = state(context)
    me = current.api.get("/v1/me")
    if me.get("organization"):
        me["organization_name"] = current.api.get("/v1/organization")["name"]
    rows = (
        ("Name", "name"),
        ("E-mail", "email"),
        ("User", "id"),
        ("Organization", "organization_name"),
        ("", "organization"),
    )
    current.show(me, rows)


@orgs.command("list")
def list_orgs(context: typer.Context) -> None:
    """Your organizations; the one in use is marked."""
    current = state(context)
    items = current.api.get("/v1/me/organizations")["items"]
    for item in items:
        item["in_use"] = item["id"] == current.profile.org_id
    current.show_list(
        items, (("NAME", "name"), ("ROLE", "role"), ("IN USE", "in_use"), ("ID", "id")), "you belong to none yet"
    )


@orgs.command("create")
def create_org(context: typer.Context, name: str) -> None:
    """Found an organization, and use it from now on."""
    current = state(context)
    made = current.api.post("/v1/organizations", {"name": name})
    current.api.for_organization(made["id"])
    current.say(f"{made['name']} is founded ({made['id']}), and in use", made)


@orgs.command("use")
def use_org(context: typer.Context, name_or_id: str) -> None:
    """Use another of your organizations from now on."""
    current = state(context)
    items = current.api.get("/v1/me/organizations")["items"]
    found = [item for item in items if name_or_id in (item["id"], item["name"])]
    if len(found) != 1:
        known = ", ".join(item["name"] for item in items) or "none"
        raise CliError(f"{name_or_id!r} names {len(found)} of your organizations; you belong to: {known}")
    current.api.for_organization(found[0]["id"])
    current.say(f"{found[0]['name']} is in use", found[0])
