"""One-time tokens that let machines join."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from shared.audit.actors import actor_of
from shared.composition import services
from shared.http import Call, In, ListQuery, Out, Page, Reply, Routes
from shared.identity.permissions import Permission
from shared.nodes.errors import EnrolmentNotFound, NodeNotFound
from shared.nodes.models import ENROLMENT_LIFE, LONGEST_ENROLMENT_LIFE, Enrolment
from shared.platform.clock import Timestamp
from shared.platform.ids import EnrolmentId, NodeId

routes = Routes("enrolment", services)
blueprint = routes.blueprint

Labels = dict[str, str]
_MINUTE = timedelta(minutes=1)


class EnrolmentCreate(In):
    """For a new machine; with `node_id`, for one that exists and has lost its key."""

    note: str = Field(default="", max_length=200)
    minutes: int = Field(default=ENROLMENT_LIFE // _MINUTE, ge=1, le=LONGEST_ENROLMENT_LIFE // _MINUTE)
    labels: Labels = Field(default_factory=dict, max_length=32)
    node_id: NodeId | None = Field(default=None, description="A node that gets new papers; its history stays.")


class EnrolmentView(Out):
    """A token, without the token."""

    id: str
    note: str
    state: Literal["open", "used", "expired", "revoked"]
    created_by: str
    created_at: Timestamp
    expires_at: Timestamp
    used_at: Timestamp | None
    node_id: str | None

    @classmethod
    def of(cls, found: Enrolment, now: Timestamp) -> EnrolmentView:
        """As shown to members."""
        state: Literal["open", "used", "expired", "revoked"] = (
            "revoked"
            if found.revoked_at
            else "used"
            if found.used_at
            else "expired"
            if found.expires_at <= now
            else "open"
        )
        shown = found.node_id if found.used_at or found.again else None
        return cls(
            id=found.id, note=found.note, state=state, created_by=found.created_by, created_at=found.created_at,
            expires_at=found.expires_at, used_at=found.used_at, node_id=shown,
        )  # fmt: skip


class EnrolmentCreated(EnrolmentView):
    """The token is shown this once."""

    token: str
    root_sha256: str = Field(description="Fingerprint of the authority that the agent will pin: `--root-sha256`.")
    command: str = Field(description="What to run on the machine.")


@routes.post(
    "/v1/enrolment-tokens", permission=Permission.ENROLMENT_MANAGE, idempotent=True, sealed=True, status=201,
    response=EnrolmentCreated, problems=[NodeNotFound],
)  # fmt: skip
async def create_enrolment_token(call: Call, body: EnrolmentCreate) -> Reply:
    """Make a one-time token for a machine to join with.

    It is in this reply and nowhere else; the same request again within a day gives it again.
    """
    made, token = await call.services.enrolments.create(
        call.org, call.new_id("enr"), life=timedelta(minutes=body.minutes), note=body.note, labels=body.labels,
        node_id=body.node_id, by=actor_of(call),
    )  # fmt: skip
    view = EnrolmentView.of(made, call.services.clock.now())
    url = call.services.settings.public_url
    fingerprint = await call.services.authority.root_fingerprint()
    command = f"meridian-agent enroll --api-url {url} --token {token} --root-sha256 {fingerprint}"
    return Reply(EnrolmentCreated(**dict(view), token=token, root_sha256=fingerprint, command=command), status=201)


@routes.get("/v1/enrolment-tokens", permission=Permission.ENROLMENT_READ)
async def list_enrolment_tokens(call: Call, query: ListQuery) -> Page[EnrolmentView]:
    """List tokens, newest first."""
    found = await call.services.enrolments.page(call.org, limit=query.limit, cursor=query.cursor)
    now = call.services.clock.now()
    return call.page(found, lambda one: EnrolmentView.of(one, now))


@routes.delete(
    "/v1/enrolment-tokens/{enrolment_id}", permission=Permission.ENROLMENT_MANAGE, if_match=False,
    status=204, problems=[EnrolmentNotFound],
)  # fmt: skip
async def revoke_enrolment_token(call: Call, enrolment_id: EnrolmentId) -> None:
    """Revoke a token that has not been used."""
    await call.services.enrolments.revoke(call.org, enrolment_id, by=actor_of(call))
