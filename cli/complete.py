"""What the shell is told when somebody presses Tab. It never fails and never waits long: then there is no suggestion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import typer

from cli.api import Api
from cli.errors import CliError
from cli.find import names_of
from cli.profile import Profile

PATIENCE_SECONDS = 2.0
MOST = 100


def _names(path: str, **query: object) -> Callable[[typer.Context, str], list[str]]:
    def complete(context: typer.Context, incomplete: str) -> list[str]:
        chosen = context.find_root().params
        try:
            profile = Profile.load(str(chosen.get("profile") or "default"))
            api = Api(profile.at(str(chosen.get("api") or profile.api).rstrip("/")))
            api.for_seconds(PATIENCE_SECONDS)
            return list(islice(_matching(api, path, query, incomplete), MOST))
        except (CliError, KeyError, TypeError):
            return []

    return complete


def _matching(api: Api, path: str, query: dict[str, object], incomplete: str) -> Iterator[str]:
    rows = api.get(path)["items"] if path.startswith("/v1/me/") else api.pages(path, limit=500, **query)
    for row in rows:
        name = (names_of(row) or [row["id"]])[-1 if "email" in row else 0]
        if name.startswith(incomplete):
            yield name


server_names = _names("/v1/servers")
node_names = _names("/v1/nodes")
member_names = _names("/v1/members")
role_names = _names("/v1/roles")
key_names = _names("/v1/api-keys")
organization_names = _names("/v1/me/organizations")
task_ids = _names("/v1/tasks")
active_task_ids = _names("/v1/tasks", active="true")
_system, _own = _names("/v1/templates", scope="system"), _names("/v1/templates", scope="organization")


def template_names(context: typer.Context, incomplete: str) -> list[str]:
    """Keys of templates that come with it, and of the organization's own."""
    return _system(context, incomplete) + _own(context, incomplete)
