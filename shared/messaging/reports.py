"""What an agent tells the control plane: signed by the node's key, numbered, safe to come twice or late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from shared.messaging import codec, jws
from shared.messaging.envelopes import seal, unseal
from shared.messaging.limits import MAX_ID_LENGTH, MAX_TEXT_LENGTH

REPORT_KIND: Final = "meridian-report+jws"


class ReportType(StrEnum):
    """What a report is about."""

    COMMAND_RESULT = "command.result"  # payload: Outcome
    SERVER_REPORT = "server.report"  # payload: server_messages.ServerReport
    SERVER_CONSOLE = "server.console"  # payload: server_messages.ConsoleLines
    NODE_EVENT = "node.event"  # payload: NodeEvent
    NODE_INVENTORY = "node.inventory"  # payload: agent_api.Hardware and Platform


class Status(StrEnum):
    """How a command ended. `REJECTED` means that nothing was done at all."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a command: a status, a stable code with its reason, and what the handler has to say."""

    status: Status
    code: str = "ok"
    detail: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: dict[str, Any] = field(default_factory=dict)
    output_tail: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.detail) > MAX_TEXT_LENGTH or len(self.code) > MAX_ID_LENGTH:
            raise codec.WireError(f"outcome: code or detail longer than {MAX_ID_LENGTH} / {MAX_TEXT_LENGTH} characters")


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """Something that the owner of the node should know: a refused command, lost reports, a restart."""

    code: str
    detail: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Report:
    """The signed content. `sequence` rises by one with each report that the node makes; gaps are counted losses."""

    id: str
    type: ReportType
    org_id: str
    node_id: str
    sequence: int
    created_at: datetime
    server_id: str | None = None
    command_id: str | None = None
    task_id: str | None = None
    traceparent: str | None = None
    payload: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("id", "org_id", "node_id", "server_id", "command_id", "task_id"):
            text = getattr(self, name)
            if text is not None and not 0 < len(text) <= MAX_ID_LENGTH:
                raise codec.WireError(f"report.{name}: {len(text)} characters, 1 to {MAX_ID_LENGTH} allowed")
        if self.sequence < 0:
            raise codec.WireError(f"report.sequence: {self.sequence} is below 0")


def seal_report(report: Report, key: jws.PrivateKey, thumbprint: str) -> str:
    """The signed envelope; the key id is the certificate's SHA-256 thumbprint.

    Raises:
        WireError: the content is larger than an envelope may be.
    """
    return seal(report, REPORT_KIND, key, thumbprint)


def open_report(envelope: str, find_key: Callable[[str], jws.PublicKey | None]) -> Report:
    """The report of an envelope whose signature fits.

    Raises:
        SignatureError: unsigned, foreign or changed.
        WireError: signed, but not of the form.
    """
    return unseal(Report, envelope, REPORT_KIND, find_key)
