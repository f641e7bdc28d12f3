"""What the running agent does, kept in a file for `meridian-agent status`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

STATUS_FILE: Final = "status.json"


@dataclass(frozen=True, slots=True)
class Status:
    """The agent at one moment. Times are seconds since the epoch."""

    pid: int
    version: str
    at: float
    node_id: str
    name: str
    org_id: str
    api_url: str
    link: str
    problem: str
    broker: list[str]  # where messages come from, as host:port; the first is tried first
    last_beat_at: float | None
    reports_waiting: int
    reports_dropped: int
    commands_at_work: int
    clock_skew_seconds: float
    certificate_ends: str
    servers: list[dict[str, Any]] = field(default_factory=list)


def write_status(folder: Path, status: Status) -> None:
    """Put it down, whole or not at all; not worth an fsync."""
    new = folder / f".{STATUS_FILE}.new"
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump(asdict(status), file)
    new.replace(folder / STATUS_FILE)


def read_status(folder: Path) -> Status | None:
    """What was put down last; None when no agent has run here.

    Raises:
        PermissionError: we may not look.
    """
    try:
        return Status(**json.loads((folder / STATUS_FILE).read_text()))
    except PermissionError:
        raise
    except (OSError, ValueError, TypeError):
        return None
