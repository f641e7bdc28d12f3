"""One-time tokens with which machines join: made, listed, revoked."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from shared.audit.models import Actor, Target
from shared.nodes.errors import EnrolmentNotFound
from shared.nodes.models import (
    Enrolment,
    EnrolmentHash,
)
from shared.platform.errors import NotFound
from shared.platform.ids import NodeId, OrgId
from shared.store.query import Slice

if TYPE_CHECKING:
    from shared.composition import Services

TOKEN_PREFIX: Final = "mce_"  # noqa: S105  # so that a leaked one can be found by scanners
TOKEN_PATTERN: Final = re.compile(r"mce_[A-Za-z0-9_-]{43}")
KEPT_AFTER_SECONDS: Final = 30 * 86_400


class Enrolments:
    """See the module."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def create(
        self,
        org: OrgId,
        enrolment_id: str,
        *,
        life: timedelta,
        note: str,
        labels: Mapping[str, str],
        node_id: NodeId | None,
        by: Actor,
    ) -> tuple[Enrolment, str]:
        """A new token; the second of the pair is shown once and never again.

        Raises:
            NodeNotFound: `node_id` names a node to bring new papers to, and there is none.
        """
        services = self._services
        if node_id is not None:
            await services.nodes.get(org, node_id)
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = services.clock.now()
        made = Enrolment(
            id=enrolment_id,
            org_id=org,
            note=note,
            created_by=by.id,
            expires_at=now + life,
            node_id=node_id or NodeId(services.ids.new("nod")),
            labels=dict(labels),
            again=node_id is not None,
            ttl=int(life.total_seconds()) + KEPT_AFTER_SECONDS,
        )
        await services.directory.create(
            EnrolmentHash(
                id=EnrolmentHash.id_of(token),
                org_id=org,
                enrolment_id=made.id,
                node_id=made.node_id,
                expires_at=made.expires_at,
                ttl=int(life.total_seconds()) + 3600,
            )
        )
        target = Target(kind="enrolment", id=made.id)
        entry = services.audit.entry(org, by, "enrolment.created", target, after={"note": note, "node": node_id})
        stored = await services.store.batch(org).create(made).create(entry).commit()
        assert isinstance(stored[0], Enrolment)
        return stored[0], token

    async def page(self, org: OrgId, *, limit: int, cursor: str | None) -> Slice[Enrolment]:
        """Tokens, newest first, without the tokens."""
        return await self._services.store.page(org, Enrolment, limit=limit, cursor=cursor)

    async def revoke(self, org: OrgId, enrolment_id: str, *, by: Actor) -> None:
        """A token that is not to be used. One that is spent or expired already stays as it is.

        Raises:
            EnrolmentNotFound: no such token.
        """
        services = self._services
        try:
            found = await services.store.get(org, Enrolment, enrolment_id)
        except NotFound:
            raise EnrolmentNotFound(f"there is no enrolment token {enrolment_id}") from None
        if found.used_at or found.revoked_at:
            return
        entry = services.audit.entry(org, by, "enrolment.revoked", Target(kind="enrolment", id=enrolment_id))
        revoked = found.having(revoked_at=services.clock.now())
        await services.store.batch(org).replace(revoked).create(entry).commit()
