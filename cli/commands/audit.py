"""`meridian audit`: who did what, and who was refused."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.find import names_by_id
from cli.state import state

COLUMNS = (
    ("WHEN", "at"),
    ("WHO", "who"),
    ("WHAT", "action"),
    ("TO", "to"),
    ("OUTCOME", "outcome"),
    ("WHY", "reason"),
    ("ID", "id"),
)
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")]
Time = Annotated[str | None, typer.Option(metavar="TIME", help="Such as 2030-01-31T12:00:00Z.")]


def audit(
    context: typer.Context,
    action: Annotated[str | None, typer.Option(help="Such as server.create, or server.*")] = None,
    actor: Annotated[str | None, typer.Option(help="Id of a user, API key or node.")] = None,
    target: Annotated[str | None, typer.Option(help="Id of what it was done to.")] = None,
    outcome: Annotated[str | None, typer.Option(help="done, refused or failed.")] = None,
    request: Annotated[str | None, typer.Option(help="A request id, as a refusal tells it.")] = None,
    since: Time = None,
    until: Time = None,
    limit: Limit = 50,
) -> None:
    """Who did what, and who was refused; newest first."""
    current = state(context)
    query = {"action": action, "actor": actor, "target": target, "outcome": outcome, "request": request}
    rows = current.api.pages("/v1/audit", limit=limit, **query, since=since, until=until)
    people = {} if current.as_json else names_by_id(current.api, "/v1/members", "user_id")
    current.show_list(
        rows if current.as_json else (_readable(row, people) for row in rows), COLUMNS, "nothing of that kind"
    )


def _readable(row: dict[str, Any], people: dict[str, str]) -> dict[str, Any]:
    actor, target = row["actor"], row["target"]
    who = people.get(actor["id"]) or f"{actor['kind']} {actor['id']}"
    return {**row, "who": who, "to": target["name"] or f"{target['kind']} {target['id']}"}
