"""`meridian login`, `logout`, `whoami`: who is at the keyboard, and for which organization."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Annotated

import typer

from cli import output
from cli.browser import sign_in_by_browser
from cli.errors import ApiError, CliError
from cli.sign_in import sign_in
from cli.state import state


def login(
    context: typer.Context,
    email: Annotated[
        str | None, typer.Option(help="Sign in with e-mail and password here, not in the browser.")
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    sign_up: Annotated[str | None, typer.Option(metavar="NAME", help="Make the account first, with this name.")] = None,
    auth: Annotated[str | None, typer.Option(envvar="MERIDIAN_AUTH", help="Address of the sign-in site.")] = None,
    open_page: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the sign-in page, or only tell it.")
    ] = True,
) -> None:
    """Sign in, and stay signed in on this machine."""
    current = state(context)
    profile = current.profile
    profile.auth = (auth or profile.auth).rstrip("/")
    if email is None:
        if sign_up is not None or password_stdin:
            raise CliError("--sign-up and --password-stdin go with --email; in the browser the page asks for both")
        sign_in_by_browser(profile, output.err.print, open_page=open_page)
    else:
        password = sys.stdin.readline().rstrip("\n") if password_stdin else typer.prompt("Password", hide_input=True)
        sign_in(profile, email, password, name=sign_up)
    where = profile.org_id or "no organization yet: `meridian orgs create NAME`"
    current.say(f"signed in ({where})", {"organization": profile.org_id or None})


def logout(context: typer.Context) -> None:
    """Sign out: the tokens on this machine are ended and forgotten."""
    current = state(context)
    try:
        if current.profile.access_token:
            current.api.post("/v1/auth/sign-out")
    except ApiError as error:
        if error.status != 401:  # over already is as good
            raise
    finally:
        current.profile.forget_tokens()
    current.say("signed out")


def whoami(context: typer.Context) -> None:
    """Who is signed in, and for which organization."""
    current = state(context)
    me = current.api.get("/v1/me")
    if me.get("organization"):
        me["role"] = current.api.get("/v1/me/permissions")["role"]
        with suppress(ApiError):  # a key, or a role that may not see it
            me["organization_name"] = current.api.get("/v1/organization")["name"]
    me["api"] = current.profile.api
    rows = (
        ("Name", "name"),
        ("E-mail", "email"),
        ("User", "id"),
        ("Organization", "organization_name"),
        ("", "organization"),
        ("Role", "role"),
        ("API", "api"),
    )
    current.show(me, rows)
