"""The host's own addresses: its status and functions, the durable APIs, each behind its key."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from local.functions_host.http import Answer, Request, route_of
from local.functions_host.keys import DURABLE_SYSTEM_KEY

if TYPE_CHECKING:
    from local.functions_host.host import Host

_JSON = [(b"content-type", b"application/json; charset=utf-8")]
_DURABLE_PREFIX = "runtime/webhooks/durabletask"


def json_answer(status: int, value: object) -> Answer:
    """An answer of JSON."""
    return Answer(status, json.dumps(value).encode(), list(_JSON))


class Management:
    """Answers /admin/* (as the real host does) and /runtime/webhooks/durabletask."""

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
            return await self._run(unquote(path.removeprefix("admin/functions/")), request)
        return Answer(404)

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

    async def _run(self, name: str, request: Request) -> Answer:
        """Run a function that is not HTTP by hand: 202 at once, as in Azure; `{"input": text}` is its input."""
        try:
            text = json.loads(request.body or b"{}").get("input", "")
        except (ValueError, AttributeError):
            return json_answer(400, {"message": 'the body must be JSON: {"input": "..."}'})
        return Answer(202) if self._host.run_by_hand(name, str(text)) else Answer(404)
