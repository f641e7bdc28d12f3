"""The durable engine as a functions host uses it."""

from __future__ import annotations

from pathlib import Path

from local.durable.options import DurableOptions
from local.durable.ports import Functions
from local.durable.web import ApiRequest, ApiResponse


class DurableEngine:
    """Orchestrations, activities, timers and entities of one app, kept in `<folder>/durable.db`.

    Everything runs on the event loop that called `start`; no method may be called from another thread. The folder must
    be locked by the caller (`local.common.DataFolder`): the engine takes it for its own.
    """

    def __init__(self, folder: Path, functions: Functions, options: DurableOptions | None = None) -> None:
        """Open the database.

        Raises:
            StartError: the file is damaged, foreign or newer than this program.
        """
        raise NotImplementedError

    async def start(self) -> None:
        """Take up every unfinished instance, timer and message, and begin to work."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop cleanly: running activities are abandoned (they run again at the next start), what was done is on disk."""
        raise NotImplementedError

    def health(self) -> dict[str, float]:
        """Seconds since each loop last finished a turn ("timers", "retention"), and "commit": age of the oldest write not on disk."""
        raise NotImplementedError

    def counters(self) -> dict[str, int]:
        """Totals since the start: "actions" (as the Durable Task Scheduler bills), "history_events", "history_bytes",
        "episodes", "replayed_events", "activities", "entity_operations", "started", "completed", "commits"."""
        raise NotImplementedError

    @property
    def loopback_path(self) -> str:
        """Mount point of the client API ("/durabletask/<random>/"), new at each start; below it no key is asked for."""
        raise NotImplementedError

    async def client_api(self, request: ApiRequest) -> ApiResponse:
        """The API that `DurableOrchestrationClient` calls, mounted at `loopback_path` for loopback callers only."""
        raise NotImplementedError

    async def management_api(self, request: ApiRequest) -> ApiResponse:
        """The public API, mounted at /runtime/webhooks/durabletask/; the host has checked the system key before."""
        raise NotImplementedError

    def client_binding(self, base_url: str, system_key: str = "") -> str:
        """The JSON text of a `durableClient` binding; `base_url` ("http://127.0.0.1:7071") is where the host listens."""
        raise NotImplementedError
