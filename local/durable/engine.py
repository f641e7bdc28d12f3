"""The durable engine as a functions host uses it."""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from pathlib import Path
from urllib.parse import quote

from local.common.database import open_database
from local.durable.activities import ActivityCaller
from local.durable.api import DurableApi, wait_for_end
from local.durable.core.core import Core
from local.durable.core.schema import APPLICATION_ID, MIGRATIONS
from local.durable.core.store import InstanceRow
from local.durable.options import DurableOptions
from local.durable.outofproc.decider import OutOfProcDeciders
from local.durable.outofproc.entities import EntityCaller
from local.durable.ports import Functions
from local.durable.web import ApiRequest, ApiResponse

WEBHOOK_PATH = "/runtime/webhooks/durabletask/"
_ORDERS = {
    "sendEventPostUri": "/raiseEvent/{eventName}",
    "terminatePostUri": "/terminate?reason={text}",
    "rewindPostUri": "/rewind?reason={text}",
    "purgeHistoryDeleteUri": "",
    "restartPostUri": "/restart",
    "suspendPostUri": "/suspend?reason={text}",
    "resumePostUri": "/resume?reason={text}",
}


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
        self.options = options or DurableOptions()
        self._connection: sqlite3.Connection = open_database(
            folder / "durable.db",
            application_id=APPLICATION_ID,
            migrations=MIGRATIONS,
            synchronous=self.options.synchronous,
        )
        self._core = Core(
            self._connection,
            OutOfProcDeciders(functions, self.options),
            ActivityCaller(functions, self.options),
            EntityCaller(functions, self.options.on_invocation),
            self.options,
        )
        self._secret = secrets.token_urlsafe(32)
        self._system_key = ""
        self._client = DurableApi(self._core, self._links)
        self._management = DurableApi(self._core, self._links)

    async def start(self) -> None:
        """Take up every unfinished instance, timer and message, and begin to work."""
        self._core.start()

    async def stop(self) -> None:
        """Stop cleanly: running activities are abandoned (they run again at the next start), what was done is on disk."""
        await self._core.stop()
        self._connection.close()

    @property
    def broken(self) -> str | None:
        """Why the engine cannot write at the moment; None: it can."""
        return self._core.broken

    def health(self) -> dict[str, float]:
        """Seconds since each loop last finished a turn: "timers" (promised: 5) and "retention" (promised: 60); and "writes",
        seconds for which nothing could be written (promised: 0)."""
        now = time.monotonic()
        ages = {
            "timers": now - self._core.timers.last_turn,
            "writes": 0.0 if self._core.broken is None else now - self._core.broken_since,
        }
        if self.options.retention_seconds is not None:
            ages["retention"] = now - self._core.retention.last_turn
        return ages

    def counters(self) -> dict[str, int]:
        """Totals since the start: "actions" (as the Durable Task Scheduler bills), "history_events", "history_bytes",
        "episodes", "replayed_events", "activities", "entity_operations", "started", "completed", "purged", "commits".
        """
        return {**self._core.kernel.counters.totals(), "commits": self._core.kernel.committer.commits}

    # -- for the host and for tests

    async def start_instance(self, name: str, input_json: str | None = None, instance_id: str | None = None) -> str:
        """Start an orchestration as a client would; its id, once it is on disk.

        Args:
            name: the orchestrator function.
            input_json: JSON text of the input.
            instance_id: its id; a new one by default.

        Raises:
            Refused: an instance of that id is running.
        """
        return await self._core.start_instance(
            name, instance_id, None if input_json is None else json.dumps(input_json)
        )

    async def wait(self, instance_id: str, seconds: float) -> InstanceRow | None:
        """The instance once it has finished; None: it has not in that time, or does not exist."""
        return await wait_for_end(self._core, instance_id, seconds)

    # -- HTTP

    @property
    def loopback_path(self) -> str:
        """Mount point of the client API ("/durabletask/<random>/"), new at each start; below it no key is asked for."""
        return f"/durabletask/{self._secret}/"

    async def client_api(self, request: ApiRequest) -> ApiResponse:
        """The API that `DurableOrchestrationClient` calls, mounted at `loopback_path` for loopback callers only."""
        return await self._client.handle(request)

    async def management_api(self, request: ApiRequest) -> ApiResponse:
        """The public API, mounted at /runtime/webhooks/durabletask/; the host has checked the system key before."""
        return await self._management.handle(request)

    def client_binding(self, base_url: str, system_key: str = "") -> str:
        """The JSON text of a `durableClient` binding; `base_url` ("http://127.0.0.1:7071") is where the host listens."""
        self._system_key = system_key
        base = base_url.rstrip("/")
        links = self._links(base, "INSTANCEID") | {"id": "INSTANCEID"}
        create = f"{base}{WEBHOOK_PATH}orchestrators/{{functionName}}[/{{instanceId}}]?{self._parameters()}"
        return json.dumps(
            {
                "taskHubName": self.options.task_hub,
                "creationUrls": {
                    "createNewInstancePostUri": create,
                    "createAndWaitOnNewInstancePostUri": create + "&timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}",
                },
                "managementUrls": links,
                "baseUrl": f"{base}{WEBHOOK_PATH}",
                "requiredQueryStringParameters": self._parameters(),
                "rpcBaseUrl": f"{base}{self.loopback_path}",
            }
        )  # fmt: skip

    def _parameters(self) -> str:
        return f"taskHub={quote(self.options.task_hub)}&connection=Storage&code={quote(self._system_key)}"

    def _links(self, base_url: str, instance_id: str) -> dict[str, str]:
        base = f"{base_url.rstrip('/')}{WEBHOOK_PATH}instances/{quote(instance_id, safe='')}"
        links = {"id": instance_id, "statusQueryGetUri": f"{base}?{self._parameters()}"}
        for name, path in _ORDERS.items():
            links[name] = f"{base}{path}{'&' if '?' in path else '?'}{self._parameters()}"
        return links
