"""The ASGI application: routing, authentication, headers, errors."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from local.cosmos import changefeed, feeds, items, offers, resources
from local.cosmos.charges import Operation
from local.cosmos.engine import Engine
from local.cosmos.errors import CosmosError, Substatus, not_found
from local.cosmos.headers import check_headers
from local.cosmos.http import Headers, Request, Response
from local.cosmos.local_api import serve_local
from local.cosmos.model import Container
from local.cosmos.shape import MAX_ITEM_BYTES

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Handler = Callable[[Engine, Request], Awaitable[Response]]

MAX_BODY_BYTES = MAX_ITEM_BYTES + 64 * 1024  # an item at its limit, and the envelope of a batch around it
log = logging.getLogger("cosmos")


async def _post_items(engine: Engine, request: Request) -> Response:
    """One address for create, upsert, query and batch: headers tell them apart."""
    if request.flag("x-ms-cosmos-is-batch-request"):
        return await items.run_batch(engine, request)
    if request.is_query or request.flag("x-ms-cosmos-is-query-plan-request"):
        return await feeds.query_items(engine, request)
    return await items.create_item(engine, request)


async def _get_items(engine: Engine, request: Request) -> Response:
    if "a-im" in request.headers:
        return await changefeed.read_changes(engine, request)
    return await feeds.read_all(engine, request)


async def _post_databases(engine: Engine, request: Request) -> Response:
    query = resources.query_databases if request.is_query else resources.create_database
    return await query(engine, request)


async def _post_containers(engine: Engine, request: Request) -> Response:
    query = resources.query_containers if request.is_query else resources.create_container
    return await query(engine, request)


# Path shapes: fixed words, with `*` for a name. Method -> handler.
SHAPES: dict[tuple[str, ...], dict[str, Handler]] = {
    (): {"GET": resources.read_account},
    ("dbs",): {"GET": resources.list_databases, "POST": _post_databases},
    ("dbs", "*"): {"GET": resources.read_database, "DELETE": resources.delete_database},
    ("dbs", "*", "colls"): {"GET": resources.list_containers, "POST": _post_containers},
    ("dbs", "*", "colls", "*"): {
        "GET": resources.read_container,
        "PUT": resources.replace_container,
        "DELETE": resources.delete_container,
    },
    ("dbs", "*", "colls", "*", "pkranges"): {"GET": resources.list_ranges},
    ("offers",): {"GET": offers.list_offers, "POST": offers.query_offers},
    ("offers", "*"): {"GET": offers.read_offer, "PUT": offers.replace_offer},
    ("dbs", "*", "colls", "*", "operations", "*"): {"POST": feeds.delete_partition},
    ("dbs", "*", "colls", "*", "docs"): {"GET": _get_items, "POST": _post_items},
    ("dbs", "*", "colls", "*", "docs", "*"): {
        "GET": items.read_item,
        "PUT": items.replace_item,
        "DELETE": items.delete_item,
        "PATCH": items.patch_item,
    },
}


# The same by fixed words and length: every second word is a name.
ROUTES = {(shape[::2], len(shape)): handlers for shape, handlers in SHAPES.items()}


def signed_resource(segments: tuple[str, ...]) -> tuple[str, str]:
    """The resource type and link that a request's signature covers."""
    if not segments:
        return "", ""
    if segments[0] == "offers":
        return "offers", segments[1].lower() if len(segments) > 1 else ""
    if segments[-2:] == ("operations", "partitionkeydelete"):
        return "colls", "/".join(segments[:-2])
    if len(segments) % 2:
        return segments[-1], "/".join(segments[:-1])
    return segments[-2], "/".join(segments)


def match(segments: tuple[str, ...]) -> dict[str, Handler]:
    """The handlers of a path.

    Raises:
        CosmosError: 404.
    """
    found = ROUTES.get((segments[::2], len(segments)))
    if found is None or (segments[4:5] == ("operations",) and segments[5] != "partitionkeydelete"):
        raise not_found(f"There is no resource at /{'/'.join(segments)}.")
    return found


class App:
    """One account as an ASGI application."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._series = str(uuid.uuid4())[:24].encode()
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = self._request(scope)
        try:
            request.body = await _body(receive)
            client = scope.get("client") or ("", 0)
            response = await self._serve(request, client[0])
        except CosmosError as error:
            headers = {"x-ms-substatus": str(error.substatus), **error.headers}
            response = Response(error.status, error.body(), headers, error.charge)
        except Exception:
            log.exception("%s %s failed", request.method, scope["path"])
            response = Response(500, CosmosError(500, "The endpoint failed; its log says why.").body())
        await self._send(send, request, response)

    async def _serve(self, request: Request, client: str) -> Response:
        if request.segments[:1] == ("_local",):
            return serve_local(self.engine, request, client)
        handlers = match(request.segments)
        kind, link = signed_resource(request.segments)
        headers = request.headers
        self.engine.key.check(
            headers.get("authorization"), request.method, kind, link, headers.get("x-ms-date"), request.now
        )
        handler = handlers.get(request.method)
        if handler is None:
            raise CosmosError(405, f"{request.method} is not defined for /{'/'.join(request.segments)}.")
        check_headers(headers)
        return await self._metered(handler, request)

    async def _metered(self, handler: Handler, request: Request) -> Response:
        """Run a handler within the container's budget, and book what it cost."""
        engine = self.engine
        database, name = (*request.segments[1:4:2], "", "")[:2]
        container = engine.storage.containers.get((database, name))
        if container is not None:
            _check_rid(container, request)
            if engine.budget is not None:
                self._admit(container.rid, request.now)
        if engine.faults.orders:
            engine.faults.strike(request, after=False)
        try:
            response = await handler(engine, request)
        except CosmosError as error:
            self._book(database, name, container, Operation.METADATA, error.charge, request.now)
            raise
        self._book(database, name, container, response.operation, response.charge, request.now)
        if engine.faults.orders:
            engine.faults.strike(request, after=True)
        return response

    def _admit(self, container: int, now: float) -> None:
        assert self.engine.budget is not None
        try:
            self.engine.budget.admit(container, now)
        except CosmosError:
            self.engine.meter.throttled += 1
            raise

    def _book(
        self, database: str, name: str, container: Container | None, operation: Operation, charge: float, now: float
    ) -> None:
        self.engine.meter.record(database, name if container else "", operation, charge)
        if self.engine.budget is not None and container is not None:
            self.engine.budget.charge(container.rid, now, charge)

    def _request(self, scope: Scope) -> Request:
        raw = scope["raw_path"].split(b"?", 1)[0].decode("latin-1")
        words = [word for word in raw.split("/") if word]
        headers = Headers(dict(scope["headers"]))
        return Request(
            method=scope["method"],
            segments=tuple([unquote(word) for word in words] if "%" in raw else words),
            headers=headers,
            body=b"",
            origin=f"{scope['scheme']}://{headers.get('host')}",
            now=self.engine.clock(),
        )

    async def _send(self, send: Send, request: Request, response: Response) -> None:
        activity = request.headers.raw.get(b"x-ms-activity-id") or self._activity()
        headers = [
            (b"x-ms-request-charge", f"{response.charge:g}".encode()),
            (b"x-ms-activity-id", activity),
            (b"x-ms-version", b"2020-07-15"),
        ]
        headers += [(name.encode(), value.encode("latin-1", "replace")) for name, value in response.headers.items()]
        body = response.body or b""
        if response.body is not None:
            headers.append((b"content-type", response.content_type.encode()))
        if response.status not in (204, 304):
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _activity(self) -> bytes:
        """An id of the UUID shape for a request that brought none; random once, then counted."""
        self._count += 1
        return self._series + b"%012x" % self._count


def _check_rid(container: Container, request: Request) -> None:
    """A client that still thinks of a container of that name which was dropped must refresh its cache."""
    wanted = request.headers.find("x-ms-cosmos-intended-collection-rid")
    if wanted is not None and wanted != container.resource_id:
        raise CosmosError(
            400,
            f"The container was made anew: its resource id is {container.resource_id}, not {wanted}.",
            substatus=Substatus.CONTAINER_RECREATED,
        )


async def _body(receive: Receive) -> bytes:
    message = await receive()
    if not message.get("more_body"):
        body: bytes = message.get("body", b"")
        return _bounded(body)
    parts = [message.get("body", b"")]
    size = len(parts[0])
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            raise CosmosError(413, f"The request is over {MAX_BODY_BYTES} bytes.")
    return b"".join(parts)


def _bounded(body: bytes) -> bytes:
    if len(body) > MAX_BODY_BYTES:
        raise CosmosError(413, f"The request is over {MAX_BODY_BYTES} bytes.")
    return body
