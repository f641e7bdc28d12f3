"""The audit trail: read with filters, exported as NDJSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from pydantic import Field

from shared.audit.models import Actor, AuditEvent, Outcome, Target
from shared.composition import services
from shared.http import Call, In, ListQuery, Out, Page, Reply, Routes
from shared.identity.permissions import Permission
from shared.platform.clock import Timestamp
from shared.store.query import Where

routes = Routes("audit", services)
blueprint = routes.blueprint


class AuditFilters(In):
    """What to look for. An `action` may end in `*`: `member.*`."""

    action: str | None = Field(default=None, max_length=80, pattern=r"^[a-z_.]+\*?$")
    outcome: Outcome | None = None
    actor: str | None = Field(default=None, max_length=64, description="Id of a user, API key or node.")
    target: str | None = Field(default=None, max_length=100, description="Id of what it was done to.")
    request: str | None = Field(default=None, max_length=64, description="A request id.")
    since: Timestamp | None = None
    until: Timestamp | None = None


class AuditQuery(AuditFilters, ListQuery):
    """Filters and page of the audit list."""


class ExportQuery(AuditFilters):
    """Filters and size of an export."""

    limit: int = Field(default=1000, ge=1, le=5000)
    cursor: str | None = Field(default=None, max_length=8192, pattern=r"^[A-Za-z0-9_-]+$")


class AuditView(Out):
    """One entry of the trail. Of a change, `before` and `after` hold what differs."""

    id: str
    at: Timestamp
    action: str
    outcome: Outcome
    actor: Actor
    target: Target
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    reason: str | None


@routes.get("/v1/audit", permission=Permission.AUDIT_READ)
async def list_audit(call: Call, query: AuditQuery) -> Page[AuditView]:
    """Who did what, and who was refused; newest first. Kept for 400 days."""
    found = await call.services.audit.page(call.org, **_terms(query), limit=query.limit, cursor=query.cursor)
    return call.page(found, view_event)


@routes.get("/v1/audit/export", permission=Permission.AUDIT_EXPORT, rate="heavy", media_type="application/x-ndjson")
async def export_audit(call: Call, query: ExportQuery) -> Reply:
    """The same entries, one JSON object a line. The `Link` header names the next part if there is one."""
    terms = _terms(query)
    lines, cursor = await call.services.audit.lines(call.org, limit=query.limit, cursor=query.cursor, **terms)
    headers = {"Content-Disposition": 'attachment; filename="audit.ndjson"'}
    if cursor:
        kept = {name: value for name, value in call.request.query.items() if name != "cursor"}
        headers["Link"] = f'<{call.request.path}?{urlencode({**kept, "cursor": cursor})}>; rel="next"'
    return Reply(lines, content_type="application/x-ndjson", headers=headers)


def view_event(event: AuditEvent) -> AuditView:
    """An entry as callers see it."""
    return AuditView(id=event.id, **{name: getattr(event.entry, name) for name in type(event.entry).model_fields})


def _terms(filters: AuditFilters) -> dict[str, Any]:
    """The filters as the service takes them."""
    where: list[Where] = []
    equal = {"outcome": filters.outcome, "actor.id": filters.actor, "target.id": filters.target}
    for field, value in {**equal, "actor.request_id": filters.request}.items():
        if value is not None:
            where.append(Where(f"entry.{field}", "=", value))
    if filters.action is not None:
        prefix = filters.action.removesuffix("*")
        where.append(Where("entry.action", "starts" if filters.action.endswith("*") else "=", prefix))
    times: dict[str, datetime | None] = {"since": filters.since, "until": filters.until}
    return {"where": where, **times}
