"""What is asked of an agent about servers, and what it reports. Both sides import this file.

Commands and reports travel in the signed envelopes; these are their contents.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from shared.messaging.server_install import require
from shared.messaging.server_spec import ServerSpec

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")  # all but the tabulator
_LATEST: Final = 32_503_680_000.0  # the year 3000, in seconds since the epoch: calendars end, and readers must not


def _require_times(of: object, *names: str) -> None:
    """Times that every reader can show."""
    for name in names:
        at = getattr(of, name)
        require(at is None or 0 <= at < _LATEST, f"{name}: {at} is no time between 1970 and 3000")


@dataclass(frozen=True, slots=True)
class ApplyServer:
    """Command `server.apply`: bring the server to this spec; `task_id` names the operation that the reports belong to."""

    spec: ServerSpec
    task_id: str | None = None


#: Code of the outcome when a server that shall be removed is not there.
ALREADY_REMOVED = "already_removed"


@dataclass(frozen=True, slots=True)
class RemoveServer:
    """Command `server.remove`: stop it and delete its files. A server that is not there is removed already."""

    server_id: str
    revision: int
    task_id: str | None = None


@dataclass(frozen=True, slots=True)
class KillServer:
    """Command `server.kill`: SIGKILL now; the desired power is off from this revision on."""

    server_id: str
    revision: int
    task_id: str | None = None


@dataclass(frozen=True, slots=True)
class SendLine:
    """Command `server.console`: one line to the game's standard input."""

    server_id: str
    line: str

    def __post_init__(self) -> None:
        require(0 < len(self.line) <= 2000, "line: 1 to 2000 characters")
        # A terminal (games in containers have one) takes control characters for keys: Ctrl-C would end the game.
        require(_CONTROL.search(self.line) is None, "line: one line, without control characters")


@dataclass(frozen=True, slots=True)
class WatchConsole:
    """Command `server.watch`: upload console lines above `since` for so many seconds; asked again, it is prolonged."""

    server_id: str
    seconds: int = 60
    since: int = 0

    def __post_init__(self) -> None:
        require(1 <= self.seconds <= 300, f"seconds: {self.seconds} is not between 1 and 300")


@dataclass(frozen=True, slots=True)
class CancelInstall:
    """Command `server.cancel`: end what is being installed for this task; what was installed before stays."""

    server_id: str
    task_id: str


COMMANDS: dict[str, type] = {
    "server.apply": ApplyServer,
    "server.remove": RemoveServer,
    "server.kill": KillServer,
    "server.console": SendLine,
    "server.watch": WatchConsole,
    "server.cancel": CancelInstall,
}

# Where a server's process stands, as its node sees it.
ProcessState = Literal[
    "absent",
    "installing",
    "stopped",
    "starting",
    "running",
    "stopping",
    "backing_off",
    "crash_loop",
    "install_failed",
    "removed",
]
StepName = Literal["prepare", "install", "configure", "start", "ready", "stop", "remove"]


@dataclass(frozen=True, slots=True)
class TakenPort:
    """A port that could not be had because something else has it; `by` is who, as `name (process 42)`, where that is seen."""

    protocol: Literal["tcp", "udp"]
    address: str
    port: int
    by: str = ""

    def __post_init__(self) -> None:
        require(0 < self.port < 65536, f"port: {self.port} is not between 1 and 65535")
        require(len(self.address) <= 64 and len(self.by) <= 100, "taken port: address or holder is too long")


@dataclass(frozen=True, slots=True)
class StepReport:
    """One step of an operation. `percent` is that of the step; `error` is a sentence, `code` its stable name.

    `taken` goes with the code `port_taken`.
    """

    name: StepName
    state: Literal["running", "done", "failed", "skipped"]
    started_at: float  # seconds since the epoch, by the node's clock
    seconds: float = 0.0
    percent: int = 0
    detail: str = ""
    code: str = ""
    error: str = ""
    retryable: bool = False
    output: tuple[str, ...] = ()  # the last lines of what ran
    taken: tuple[TakenPort, ...] | None = None

    def __post_init__(self) -> None:
        _require_times(self, "started_at")


@dataclass(frozen=True, slots=True)
class Players:
    """What the game's own query says."""

    online: int
    maximum: int
    names: tuple[str, ...] = ()
    version: str = ""
    map: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """How a server is. `bound` are the ports that its processes really listen on."""

    server_id: str
    revision: int  # the newest that the node has accepted
    state: ProcessState
    at: float
    pid: int | None = None
    started_at: float | None = None
    ready_at: float | None = None
    exit_code: int | None = None
    crashes: int = 0
    next_start_at: float | None = None  # while backing off
    generation: int = 0  # the installed one
    restarts: int = 0
    cpu_percent: float = 0.0  # of one core
    memory_mib: float = 0.0
    disk_mib: float = 0.0
    players: Players | None = None
    bound: tuple[str, ...] = ()  # "tcp/25565"
    last_lines: tuple[str, ...] = ()  # after a crash
    reason: str = ""

    def __post_init__(self) -> None:
        _require_times(self, "at", "started_at", "ready_at", "next_start_at")


@dataclass(frozen=True, slots=True)
class Sample:
    """One minute of a running server. `at` is its end, in seconds since the epoch."""

    at: float
    cpu_percent: float = 0.0
    memory_mib: float = 0.0
    players: int | None = None

    def __post_init__(self) -> None:
        _require_times(self, "at")


@dataclass(frozen=True, slots=True)
class ServerReport:
    """Report `server.report`: how the server is, and how far the operation has come (its steps so far, whole list)."""

    observed: Observed
    task_id: str | None = None
    steps: tuple[StepReport, ...] = ()
    outcome: Literal["", "done", "failed", "cancelled"] = ""  # set by the last report of an operation
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class ConsoleLines:
    """Report `server.console`: lines with growing numbers; `dropped` is how many the ring lost before the first."""

    server_id: str
    first: int
    lines: tuple[str, ...]
    dropped: int = 0
