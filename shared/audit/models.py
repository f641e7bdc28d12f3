"""What an entry of the audit trail says."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.platform.clock import Timestamp
from shared.store.documents import Document

KEPT_DAYS: Final = 400


class Outcome(StrEnum):
    """How it ended."""

    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class Actor(BaseModel):
    """Who did it and from where. `kind` is user, api_key, agent, admin or system."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    kind: str
    id: str
    client: str = ""
    address: str = ""
    request_id: str = ""
    trace_id: str = ""


class Target(BaseModel):
    """What it was done to."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    kind: str
    id: str
    name: str | None = None


class Entry(BaseModel):
    """The content of an entry, wherever it lies."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    at: Timestamp
    action: str = Field(pattern=r"^[a-z_]+(\.[a-z_]+)+$", max_length=80)  # `kind.what_happened`, in the past tense
    outcome: Outcome
    actor: Actor
    target: Target
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    reason: str | None = None


class AuditEvent(Document):
    """One entry of the trail, in the partition of its organization: there it shares the batch of the change."""

    indexed: ClassVar[tuple[str, ...]] = ("entry.actor.id", "entry.actor.request_id", "entry.target.id")
    id_prefix: ClassVar[str] = "aud_"
    type: Literal["audit_event"] = "audit_event"
    ttl: int | None = KEPT_DAYS * 86_400
    entry: Entry


SYSTEM = Actor(kind="system", id="system")
