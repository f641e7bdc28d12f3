"""What is stored about nodes."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.platform.clock import Timestamp
from shared.platform.ids import NodeId, OrgId
from shared.store.documents import Document
from shared.store.unscoped import DirectoryEntry, directory_id

DEFAULT_NAMESPACE = "default"
ENROLMENT_LIFE = timedelta(minutes=60)  # of a token, unless its maker says otherwise
LONGEST_ENROLMENT_LIFE = timedelta(days=7)


class NodeState(StrEnum):
    """What the owner wants of the node; whether it answers is another matter (`Presence`)."""

    ACTIVE = "active"
    DRAINED = "drained"  # runs what it has, takes nothing new
    MAINTENANCE = "maintenance"  # takes nothing new, and its owner works on it: stopping its servers is theirs to ask
    DECOMMISSIONED = "decommissioned"


class Presence(StrEnum):
    """Whether the node answers."""

    WAITING = "waiting"  # enrolled, never heard of since
    ONLINE = "online"
    SILENT = "silent"
    LOST = "lost"


class PortRange(BaseModel):
    """Ports that servers of this node may get, both ends included."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    first: int = Field(ge=1, le=65_535)
    last: int = Field(ge=1, le=65_535)


class Node(Document):
    """A machine of an organization. `queue` is where its commands wait, in the namespace of that name."""

    indexed: ClassVar[tuple[str, ...]] = ("name", "state", "labels", "enrolled_at")
    type: Literal["node"] = "node"
    name: str = Field(min_length=1, max_length=100)
    state: NodeState = NodeState.ACTIVE
    state_reason: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    namespace: str = DEFAULT_NAMESPACE
    queue: str = ""
    shard: int = 0
    place: int = 0
    inventory: dict[str, Any] = Field(default_factory=dict)  # {"platform": ..., "hardware": ...}, as the agent told it
    agent_version: str = ""
    protocol: int = 1
    drivers: tuple[str, ...] = ("process",)
    enrolled_at: Timestamp
    decommissioned_at: Timestamp | None = None
    overcommit_memory: float = Field(default=1.0, ge=0.1, le=10)
    overcommit_cpu: float = Field(default=1.0, ge=0.1, le=100)
    overcommit_disk: float = Field(default=1.0, ge=0.1, le=10)
    reserve_memory_mib: int = Field(default=0, ge=0)
    address: str = "0.0.0.0"  # noqa: S104  # what its games bind unless the owner names one
    public_host: str = Field(default="", max_length=253)  # how players reach it, e.g. through a router
    port_ranges: tuple[PortRange, ...] = (PortRange(first=25_000, last=29_999),)
    maximum_servers: int = Field(default=100, ge=0, le=500)

    @property
    def join_host(self) -> str:
        """What players type: what the owner says, else the address that games bind, else the machine's first own one."""
        if self.public_host or self.address not in ("0.0.0.0", "::"):  # noqa: S104  # the two that are no one's address
            return self.public_host or self.address
        own = self.inventory.get("hardware", {}).get("addresses", ())
        return next((found for found in own if ":" not in found), "localhost")


class NodeName(Document):
    """Holds a name for one node of the organization: the id is made of the name, so a second create fails."""

    type: Literal["node_name"] = "node_name"
    node_id: NodeId

    @staticmethod
    def id_of(name: str) -> str:
        """The id of the document that holds this name."""
        return f"nodename_{hashlib.sha256(name.casefold().encode()).hexdigest()[:40]}"


class NodeObserved(Document):
    """What the node said last that is worth keeping: written on a real change, not with each beat."""

    type: Literal["node_observed"] = "node_observed"
    node_id: NodeId
    observed_at: Timestamp
    agent_version: str = ""
    protocol: int = 1
    boot_id: str = ""
    cpu_percent: float = 0.0
    memory_used_mib: int = 0
    disk_free_mib: int = 0
    disks: tuple[dict[str, Any], ...] = ()  # as `agent_api.Disk`
    received_kib_s: float = 0.0
    sent_kib_s: float = 0.0
    journal_depth: int = 0
    reports_dropped: int = 0
    link: str = "up"
    clock_skew_seconds: float = 0.0
    issues: tuple[str, ...] = ()

    @staticmethod
    def id_of(node_id: str) -> str:
        """The id of a node's document."""
        return f"observed_{node_id}"


class NodeCertificate(Document):
    """A certificate that was issued to a node."""

    indexed: ClassVar[tuple[str, ...]] = ("node_id",)
    type: Literal["node_certificate"] = "node_certificate"
    node_id: NodeId
    thumbprint: str
    serial: str
    issuer: str
    not_before: Timestamp
    not_after: Timestamp
    revoked_at: Timestamp | None = None
    revoked_reason: str = ""


class NodeCommand(Document):
    """A command that somebody sent to a node itself, and what came of it. Its id is the orchestration's."""

    type: Literal["node_command"] = "node_command"
    node_id: NodeId
    command: str
    payload: dict[str, Any] = Field(default_factory=dict)
    asked_again_at: Timestamp | None = None  # its door died with it, and the same request came once more after its end
    state: Literal["sent", "succeeded", "failed", "rejected", "cancelled", "timed_out"] = "sent"
    outcome: dict[str, Any] = Field(default_factory=dict)


class Enrolment(Document):
    """A one-time token, without the token: who made it, for what, and what became of it."""

    type: Literal["enrolment"] = "enrolment"
    note: str = ""
    created_by: str
    expires_at: Timestamp
    node_id: NodeId  # the node that it makes, or brings new papers to
    labels: dict[str, str] = Field(default_factory=dict)
    again: bool = False  # for a node that exists: its key was lost
    revoked_at: Timestamp | None = None
    used_at: Timestamp | None = None


class EnrolmentHash(DirectoryEntry):
    """Finds the organization of a token by the token's hash. `used_by` is the digest of the key it was spent for."""

    type: Literal["enrolment_hash"] = "enrolment_hash"
    org_id: OrgId
    enrolment_id: str
    node_id: NodeId
    expires_at: Timestamp
    used_by: str | None = None
    revoked: bool = False

    @staticmethod
    def id_of(token: str) -> str:
        """The id of the entry of a token."""
        return directory_id("enrolment", token)


class CertificateEntry(DirectoryEntry):
    """Finds the node of a certificate by its thumbprint, with all that a proof needs: one point read."""

    type: Literal["certificate_entry"] = "certificate_entry"
    org_id: OrgId
    node_id: NodeId
    certificate_id: str
    public_key: str  # base64 of the DER SubjectPublicKeyInfo
    shard: int = 0
    place: int = 0
    not_after: Timestamp
    revoked: bool = False

    @staticmethod
    def id_of(thumbprint: str) -> str:
        """The id of the entry of a certificate."""
        return directory_id("certificate", thumbprint)


def queue_of(node_id: str) -> str:
    """The first queue of a node: all names are of one length, so none is a prefix of another."""
    return f"node-{node_id.lower().replace('_', '-')}-0000"


def next_queue(queue: str) -> str:
    """The name after this one, for when everything that opens the queue shall be worth nothing."""
    found = re.fullmatch(r"(.+)-(\d{4})", queue)
    base, turn = found.groups() if found else (queue, "0")  # a queue that was made before they had turns
    return f"{base}-{(int(turn) + 1) % 10_000:04d}"


REPORTS_QUEUE = "reports"


class Revocation(BaseModel):
    """A revoked certificate."""

    model_config = ConfigDict(frozen=True, defer_build=True)
    serial: str
    at: int
    until: int  # when the certificate would have ended anyway


class Revocations(DirectoryEntry):
    """All certificates that are revoked and would still be valid, by thumbprint."""

    type: Literal["revocations"] = "revocations"
    revoked: dict[str, Revocation] = Field(default_factory=dict)


REVOCATIONS_ID = "revocations"
