"""The host's own addresses: its status and functions, the durable APIs, each behind its key."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from local.functions_host.answers import Answer, json_answer
from local.functions_host.http import Request, route_of
from local.functions_host.keys import DURABLE_SYSTEM_KEY

if TYPE_CHECKING:
    from local.functions_host.host import Host

_DURABLE_PREFIX = "runtime/webhooks/durabletask"


class Management:
    """Answers /admin/* (as the real host does), /runtime/webhooks/durabletask and /diagnostics/cost."""

    def __init__(self, host: Host) -> None:
        """Args: `host` is what it tells about."""
        self._host = host
        self._started = time.time()

    async def admin(self, request: Request) -> Answer:
        """`/admin/host/ping` for anyone; the rest with the master key."""
        path = request.path.strip("/").lower()
        if path == "admin/host/ping":
            return Answer(200)
        if not self._host.keys.is_master(request.key):
            return Answer(401)
        if path == "admin/host/status" and request.method == "GET":
            return json_answer(200, self._status())
        if path == "admin/functions" and request.method == "GET":
            return json_answer(200, [self._describe(function) for function in self._host.functions])
        if path.startswith("admin/functions/") and request.method == "POST":
            known = self._host.run_by_hand(unquote(path.removeprefix("admin/functions/")))
            return Answer(202 if known else 404)
        return Answer(404)

    async def cost(self, request: Request) -> Answer:
        """What Azure would bill, with the master key: a page for a browser, JSON for programs."""
        if not self._host.keys.is_master(request.key):
            return Answer(401)
        if request.method not in ("GET", "HEAD"):
            return Answer(404)
        report = await self._host.cost_report()
        if "text/html" in request.headers.get("accept", ""):
            from local.functions_host.meter.page import cost_page

            headers = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]
            return Answer(200, cost_page(report), headers)
        return json_answer(200, report)

    async def runtime(self, request: Request) -> Answer:
        """The durable management API, with the system key or the master key."""
        path = request.path.strip("/")
        engine = self._host.engine
        if engine is None or not path.lower().startswith(_DURABLE_PREFIX):
            return Answer(404)
        if not self._host.keys.opens_system(DURABLE_SYSTEM_KEY, request.key):
            return Answer(401)
        return await self.durable(request, path[len(_DURABLE_PREFIX) :], engine.management_api)

    async def loopback(self, request: Request) -> Answer:
        """The API that the durable client of the SDK calls: only from this machine, at a path that is not told to anyone else."""
        engine = self._host.engine
        if engine is None or request.client is None or request.client[0] not in ("127.0.0.1", "::1"):
            return Answer(404)
        if not request.path.startswith(engine.loopback_path):
            return Answer(404)
        return await self.durable(request, request.path[len(engine.loopback_path) :], engine.client_api)

    @staticmethod
    async def durable(request: Request, below: str, api: Any) -> Answer:
        """Hand a request to one of the engine's APIs."""
        from local.durable.web import ApiRequest

        response = await api(
            ApiRequest(
                method=request.method,
                path=unquote(below.lstrip("/")),
                query=request.query_values(),
                body=request.body,
                content_type=request.headers.get("content-type", "").split(";")[0].strip().lower(),
                base_url=request.base_url,
                headers=request.headers,
            )
        )
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers.items()
        ]
        return Answer(response.status, response.body, headers)

    def _status(self) -> dict[str, object]:
        """The fields of the real host's status that can be said here."""
        return {
            "id": f"local-{os.getpid()}",
            "state": "Running",
            "version": "4.0.0-local",
            "versionDetails": "a local host for the Python v2 model",
            "processUptime": int((time.time() - self._started) * 1000),
            "functionAppContentEditingState": "NotAllowed",
            "health": self._host.health(),
        }

    def _describe(self, function: Any) -> dict[str, object]:
        described: dict[str, object] = {
            "name": function.name,
            "script_href": function.source,
            "language": "python",
            "isDisabled": function.disabled,
            "config": {"bindings": list(function.bindings)},
        }
        if function.kind == "httpTrigger":
            described["invoke_url_template"] = (
                f"{self._host.address}/{route_of(function, self._host.host_json.route_prefix)}"
            )
        return described
