"""The HTTP API: what `DurableOrchestrationClient` calls on the loopback, and what the management links point to.

Source: https://learn.microsoft.com/azure/azure-functions/durable/durable-functions-http-api. Both doors answer the same;
only the links in an answer differ.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from local.durable.core import statuses
from local.durable.core.core import Core, Refused
from local.durable.core.ids import why_bad
from local.durable.core.store import InstanceRow
from local.durable.instances_api import InstancesApi
from local.durable.outofproc.entities import client_signal, entity_id
from local.durable.status import status_json
from local.durable.web import ApiRequest, ApiResponse, answer

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_WAIT_SECONDS = 230.0  # the front of Azure Functions closes a request after that long

Handler = Callable[[ApiRequest, re.Match[str]], Awaitable[ApiResponse]]
Links = Callable[[str, str], dict[str, str]]


class DurableApi:
    """Routes a request below the mount point of either door."""

    def __init__(self, core: Core, links: Links) -> None:
        self._core, self._links = core, links
        instances = InstancesApi(core, links)
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = [
            ("POST", re.compile(r"orchestrators/(?P<name>[^/]+)(?:/(?P<id>[^/]+))?"), self._start),
            ("GET", re.compile(r"entities/(?P<name>[^/]+)/(?P<key>.+)"), self._read_entity),
            ("POST", re.compile(r"entities/(?P<name>[^/]+)/(?P<key>.+)"), self._signal_entity),
            *instances.routes,
        ]

    async def handle(self, request: ApiRequest) -> ApiResponse:
        """Answer a request; its caller has been let in already."""
        if len(request.body) > MAX_BODY_BYTES:
            return answer(413, {"Message": f"the body has {len(request.body)} bytes, {MAX_BODY_BYTES} are allowed"})
        path = request.path.strip("/")
        for method, pattern, handler in self._routes:
            match = pattern.fullmatch(path)
            if match and method == request.method:
                return await handler(request, match)
        return answer(404, {"Message": f"no route {request.method} {path}"})

    async def _start(self, request: ApiRequest, match: re.Match[str]) -> ApiResponse:
        name = match["name"]
        reason = why_bad(match["id"]) if match["id"] else None
        if reason is not None:
            return _bad(reason)
        if not self._core.deciders.has("orchestrator", name):
            return _bad(f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function.")
        try:
            text = body_json(request.body)
        except ValueError as error:
            return _bad(f"the input is not JSON: {error}")
        try:
            instance_id = await self._core.start_instance(name, match["id"], text, request.query.get("version"))
        except Refused as refusal:
            return answer(409, {"Message": str(refusal), "ExceptionMessage": str(refusal)})
        if "timeout" in request.query:
            return await self._wait(request, instance_id)
        return self._accepted(request, instance_id)

    def _accepted(self, request: ApiRequest, instance_id: str) -> ApiResponse:
        links = self._links(request.base_url, instance_id)
        return answer(202, links, Location=links["statusQueryGetUri"], Retry_After="10")

    async def _wait(self, request: ApiRequest, instance_id: str) -> ApiResponse:
        try:
            seconds = min(max(float(request.query["timeout"]), 0.0), MAX_WAIT_SECONDS)
        except ValueError:
            return _bad(f"timeout is {request.query['timeout']!r}, not a number of seconds")
        row = await wait_for_end(self._core, instance_id, seconds)
        if row is None:
            return self._accepted(request, instance_id)
        if row.status == statuses.COMPLETED:
            return ApiResponse(
                200, (row.output or "null").encode(), {"Content-Type": "application/json; charset=utf-8"}
            )
        body = status_json(row, self._core.store.started(row.key), None, outputs=False)
        code = 500 if row.status == statuses.FAILED else 200
        return ApiResponse(code, body.encode(), {"Content-Type": "application/json; charset=utf-8"})

    async def _read_entity(self, request: ApiRequest, match: re.Match[str]) -> ApiResponse:
        del request
        state = self._core.store.entity(entity_id(match["name"], match["key"]))
        if state is None:
            return answer(404)
        return ApiResponse(200, state.encode(), {"Content-Type": "application/json; charset=utf-8"})

    async def _signal_entity(self, request: ApiRequest, match: re.Match[str]) -> ApiResponse:
        name = match["name"]
        if not self._core.deciders.has("entity", name):
            return _bad(f"The function '{name}' doesn't exist, is disabled, or is not an entity function.")
        try:
            text = body_json(request.body)
        except ValueError as error:
            return _bad(f"the input is not JSON: {error}")
        operation = client_signal(request.query.get("op", ""), text)
        await self._core.signal_entity(entity_id(name, match["key"]), operation)
        return answer(202)


async def wait_for_end(core: Core, instance_id: str, seconds: float) -> InstanceRow | None:
    """The instance once it has finished; None: it has not in that time, or does not exist."""
    future = core.effects.watch(instance_id)
    try:
        if core.orchestrations.active.get(instance_id) is None:
            return core.store.find(instance_id)
        async with asyncio.timeout(seconds):
            return await future
    except TimeoutError:
        return None
    finally:
        core.effects.unwatch(instance_id, future)


def body_json(body: bytes) -> str | None:
    """The body as JSON text, checked; None if it is empty.

    Raises:
        ValueError: not JSON, or not UTF-8.
    """
    if not body.strip():
        return None
    text = body.decode("utf-8")
    json.loads(text)
    return text.strip()


def _bad(reason: str) -> ApiResponse:
    body: dict[str, Any] = {"Message": reason, "ExceptionMessage": reason}
    return answer(400, body)
