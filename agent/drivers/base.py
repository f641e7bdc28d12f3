"""The contract of a driver. `tests/contract/agent` holds each driver to it."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agent.console import Console
from agent.owners import GameUser
from shared.messaging.server_messages import TakenPort
from shared.messaging.server_spec import Launch, Limits, Port, Stop


class DriverError(Exception):
    """The driver cannot do it. `code` is stable, the text is a sentence with the figures; `taken` are ports others have."""

    def __init__(self, code: str, reason: str, *, taken: tuple[TakenPort, ...] = ()) -> None:
        super().__init__(reason)
        self.code, self.reason, self.taken = code, reason, taken


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is needed to start one server: which, where its files are, and what to run.

    `launch` is ready to run: placeholders are filled in. `image` is for containers alone.
    """

    server_id: str
    folder: Path
    launch: Launch
    limits: Limits = field(default_factory=Limits)
    ports: tuple[Port, ...] = ()
    user: GameUser | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class Handle:
    """What finds a running server again after the agent was restarted; kept on disk, opaque to everyone else."""

    server_id: str
    token: str
    started_at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Exit:
    """How it ended. `code` is None when nobody saw it (the machine was restarted, say); -9 means killed by signal 9.

    `killed` is a sentence, if the kernel killed some of it for want of memory.
    """

    code: int | None
    at: float
    killed: str = ""

    @property
    def clean(self) -> bool:
        """Whether the game ended by its own will and was content."""
        return self.code == 0

    @property
    def how(self) -> str:
        """What goes after "ended": the code, and what the kernel did."""
        code = "an unknown code" if self.code is None else f"code {self.code}"
        return f"with {code}" if self.clean or not self.killed else f"with {code} ({self.killed})"


@dataclass(frozen=True, slots=True)
class Usage:
    """What the server's processes use together. `cpu_seconds` only grows while the server runs."""

    cpu_seconds: float
    memory_mib: float
    processes: int


class Running(Protocol):
    """A running server."""

    @property
    def handle(self) -> Handle:
        """What to keep on disk."""

    @property
    def pid(self) -> int | None:
        """The game's own process id, where there is one on this machine."""

    @property
    def console(self) -> Console:
        """Its output."""

    @property
    def limits_applied(self) -> tuple[str, ...]:
        """Which limits are in force: `memory`, `cpu`, `processes`."""

    def wait(self) -> Awaitable[Exit]:
        """Return when it has ended. May be asked many times, by many."""

    def write(self, line: str) -> None:
        """One line to its standard input.

        Raises:
            DriverError: `not_running`, or `input_full`: the game does not read what it is sent.
        """

    async def stop(self, stop: Stop) -> Exit:
        """Ask it to end, wait `stop.timeout_seconds`, then kill whatever is left of it."""

    async def kill(self) -> Exit:
        """End all of its processes now."""

    def usage(self) -> Usage | None:
        """What it uses, or None when it has ended."""

    def bound_ports(self) -> tuple[str, ...]:
        """The ports its processes listen on, as `tcp/25565`. Reads much; ask when it matters, not each second."""


class Driver(Protocol):
    """Starts servers, and finds those that it started before."""

    @property
    def name(self) -> str:
        """`process` or `container`."""

    def root(self, folder: Path) -> str:
        """The server's folder as its game sees it."""

    async def fetch(self, image: str) -> None:
        """Bring what a server runs in, before its files are; "" is nothing.

        Raises:
            DriverError: `image_missing`.
        """

    async def start(self, plan: Plan) -> Running:
        """Start it.

        Raises:
            DriverError: `port_taken`, `path_escapes`, `no_such_program`, `start_failed`.
        """

    async def adopt(self, plan: Plan, handle: Handle) -> Running | None:
        """The server of a handle, if the very same processes still run; else None."""

    async def find(self, server_id: str) -> Handle | None:
        """A server that runs although its handle was lost: the agent died before it wrote it down, or its disk was restored."""

    async def end(self, server_id: str) -> None:
        """Kill what runs of a server of which nothing but its id is known. Nothing there is no fault."""

    async def last_exit(self, handle: Handle) -> Exit:
        """How a server ended while the agent was away."""

    async def close(self) -> None:
        """Let go of everything; the servers run on."""
