"""The part of the HTTP API below `instances/`."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable

from local.durable.core import clock, statuses
from local.durable.core.core import Core, Refused
from local.durable.core.events import EVENT_RAISED, EXECUTION_TERMINATED, RESUMED, SUSPENDED, Event
from local.durable.core.store import InstanceRow
from local.durable.status import status_json
from local.durable.web import ApiRequest, ApiResponse, answer

PAGE = 100
MAX_PAGE = 1_000
PURGE_BATCH = 200
TOKEN_HEADER = "x-ms-continuation-token"  # noqa: S105 - the name of a header
_JSON = {"Content-Type": "application/json; charset=utf-8"}

Handler = Callable[[ApiRequest, re.Match[str]], Awaitable[ApiResponse]]


class InstancesApi:
    """Status, lists, events, suspension, end, rewinding, restarting and purging of instances."""

    def __init__(self, core: Core, links: Callable[[str, str], dict[str, str]]) -> None:
        self._core, self._links = core, links
        one = r"instances/(?P<id>[^/]+)"
        self.routes: list[tuple[str, re.Pattern[str], Handler]] = [
            ("GET", re.compile(r"instances"), self._list),
            ("DELETE", re.compile(r"instances"), self._purge_many),
            ("GET", re.compile(one), self._status),
            ("DELETE", re.compile(one), self._purge),
            ("POST", re.compile(one + r"/raiseEvent/(?P<event>[^/]+)", re.IGNORECASE), self._raise),
            ("POST", re.compile(one + r"/(?P<order>terminate|suspend|resume)", re.IGNORECASE), self._order),
            ("POST", re.compile(one + r"/rewind", re.IGNORECASE), self._rewind),
            ("POST", re.compile(one + r"/restart", re.IGNORECASE), self._restart),
        ]

    # -- reading

    def _current(self, instance_id: str) -> InstanceRow | None:
        active = self._core.orchestrations.active.in_memory(instance_id)
        row = active.row if active is not None else self._core.store.find(instance_id)
        if active is None and row is not None and row.finished is None:
            row.updated = max(row.updated, self._core.store.episodes(row.key)[1])
        return row

    async def _status(self, request: ApiRequest, match: re.Match[str]) -> ApiResponse:
        row = self._current(match["id"])
        if row is None:
            return answer(404)
        query = request.query
        history = self._core.store.history(row.key) if _flag(query.get("showHistory")) else None
        started = self._core.store.started(row.key) if _flag(query.get("showInput"), absent=True) else None
        body = status_json(row, started, history, outputs=_flag(query.get("showHistoryOutput"))).encode()
        if row.finished is None:
            location = self._links(request.base_url, row.id)["statusQueryGetUri"]
            return ApiResponse(202, body, _JSON | {"Location": location, "Retry-After": "10"})
        failed = row.status == statuses.FAILED and _flag(query.get("returnInternalServerErrorOnFailure"))
        return ApiResponse(500 if failed else 200, body, _JSON)

    async def _list(self, request: ApiRequest, match: re.Match[str]) -> ApiResponse:
        del match
        try:
            limit = min(max(int(request.query.get("top", PAGE)), 1), MAX_PAGE)
            rows = self._select(request, after=_read_token(request), limit=limit)
        except ValueError as error:
            return answer(400, {"Message": str(error)})
        shown = _flag(request.query.get("showInput"), absent=True)
        texts = []
        for stored in rows:
            row = self._current(stored.id) or stored
            texts.append(status_json(row, self._core.store.started(row.key) if shown else None, None, outputs=False))
        headers = dict(_JSON)
        if len(rows) == limit:
            headers[TOKEN_HEADER] = _token(_position(request, rows[-1]))
        return ApiResponse(200, f"[{','.join(texts)}]".encode(), headers)

    def _select(self, request: ApiRequest, *, after: int | str | None, limit: int) -> list[InstanceRow]:
        query = request.query
        numbers = []
        for name in filter(None, query.get("runtimeStatus", "").split(",")):
            number = statuses.BY_NAME.get(name.strip().lower())
            if number is None:
                raise ValueError(f"runtimeStatus {name!r} is none of {', '.join(statuses.NAMES.values())}")
            numbers.append(number)
        return self._core.store.select(
            after=after,
            limit=limit,
            prefix=query.get("instanceIdPrefix", ""),
            created_from=_moment(query.get("createdTimeFrom")),
            created_to=_moment(query.get("createdTimeTo")),
            status=numbers,
        )

    # -- orders

    async def _raise(self, request: ApiRequest, match: re.Match[str]) -> ApiResponse:
        if request.content_type != "application/json":
            return answer(400, {"Message": "Only application/json request content is supported"})
        try:
            text = request.body.decode("utf-8").strip() or "null"
            json.loads(text)
        except ValueError as error:
            return answer(400, {"Message": f"the event's data is not JSON: {error}"})
        now = self._core.kernel.now()
        return await self._send(match["id"], Event(EVENT_RAISED, now, name=match["event"], data=text))

    async def _order(self, request: ApiRequest, match: re.Match[str]) -> ApiResponse:
        kinds = {"terminate": EXECUTION_TERMINATED, "suspend": SUSPENDED, "resume": RESUMED}
        kind = kinds[match["order"].lower()]
        reason = request.query.get("reason", "")
        event = Event(kind, self._core.kernel.now(), data=json.dumps(reason), ref=reason)
        return await self._send(match["id"], event)

    async def _send(self, instance_id: str, event: Event) -> ApiResponse:
        if await self._core.send(instance_id, event):
            return answer(202)
        return answer(404 if self._core.store.find(instance_id) is None else 410)

    async def _rewind(self, request: ApiRequest, match: re.Match[str]) -> ApiResponse:
        if self._core.store.find(match["id"]) is None:
            return answer(404)
        try:
            await self._core.rewind(match["id"], request.query.get("reason", ""))
        except Refused as refusal:
            return answer(410, {"Message": str(refusal)})
        return answer(202)

    async def _restart(self, request: ApiRequest, match: re.Match[str]) -> ApiResponse:
        row = self._core.store.find(match["id"])
        if row is None:
            return answer(404)
        fresh = _flag(request.query.get("restartWithNewInstanceId"), absent=True)
        if not fresh and row.finished is None:
            state = statuses.NAMES[row.status]
            return answer(
                400,
                {
                    "Message": f"Instance '{row.id}' cannot be restarted while it is in state '{state}'. Wait until it "
                    "has completed, or restart it with a new instance ID."
                },
            )
        started = self._core.store.started(row.key)
        chosen = None if fresh else row.id
        instance_id = await self._core.start_instance(row.name, chosen, started.data, row.version)
        links = self._links(request.base_url, instance_id)
        return answer(202, links, Location=links["statusQueryGetUri"], Retry_After="10")

    async def _purge(self, request: ApiRequest, match: re.Match[str]) -> ApiResponse:
        del request
        row = self._core.store.find(match["id"])
        if row is None:
            return answer(404)
        deleted = await self._core.purge([row.key]) if row.finished is not None else 0
        return answer(200, {"instancesDeleted": deleted})

    async def _purge_many(self, request: ApiRequest, match: re.Match[str]) -> ApiResponse:
        del match
        deleted, after = 0, None  # type: int, int | str | None
        try:
            while rows := self._select(request, after=after, limit=PURGE_BATCH):
                after = _position(request, rows[-1])
                deleted += await self._core.purge([row.key for row in rows if row.finished is not None])
        except ValueError as error:
            return answer(400, {"Message": str(error)})
        return answer(200, {"instancesDeleted": deleted}) if deleted else answer(404)


def _position(request: ApiRequest, row: InstanceRow) -> int | str:
    """Where a page ends: by id if a prefix is asked for, else by row number."""
    return row.id if request.query.get("instanceIdPrefix") else row.key


def _token(position: int | str) -> str:
    """A page's end as a header can carry it."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _read_token(request: ApiRequest) -> int | str | None:
    text = request.headers.get(TOKEN_HEADER)
    if not text:
        return None
    try:
        position = json.loads(base64.urlsafe_b64decode(text))
    except ValueError:
        position = None
    if not isinstance(position, str if request.query.get("instanceIdPrefix") else int):
        raise ValueError(f"{TOKEN_HEADER} is not one that this list gave")  # noqa: TRY004 - a caller's value is wrong
    return position


def _flag(text: str | None, *, absent: bool = False) -> bool:
    return absent if text is None else text.lower() == "true"


def _moment(text: str | None) -> int | None:
    if not text:
        return None
    try:
        return clock.parse(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time such as 2026-01-31T12:00:00Z") from None
