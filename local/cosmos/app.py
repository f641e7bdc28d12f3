"""The application: authentication, budget, routing, errors, booking. Called by the protocol, or by any ASGI server."""

from __future__ import annotations

import logging
import sqlite3
import uuid
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import unquote

from local.cosmos.charges import Operation
from local.cosmos.engine import Engine
from local.cosmos.errors import CosmosError, Substatus, not_found
from local.cosmos.explorer import explorer_file
from local.cosmos.headers import check_headers
from local.cosmos.http import Answer, Done, Headers, Request, Response
from local.cosmos.local_api import serve_local
from local.cosmos.model import Container
from local.cosmos.routes import match, signed_resource
from local.cosmos.shape import MAX_ITEM_BYTES

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY_BYTES = MAX_ITEM_BYTES + 64 * 1024  # an item at its limit, and the envelope of a batch around it
log = logging.getLogger("cosmos")


class App:
    """One account."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._series = str(uuid.uuid4())[:24].encode()
        self._count = 0

    def respond(self, method: str, url: bytes, headers: Headers, body: bytes, client: str) -> Answer:
        """Answer a request: at once where nothing has to be waited for.

        Args:
            url: the request's target as sent, percent-encoded.
            client: the address of the peer.
        """
        raw = url.split(b"?", 1)[0].decode("latin-1")
        words = [word for word in raw.split("/") if word]
        request = Request(
            method=method,
            segments=tuple([unquote(word) for word in words] if "%" in raw else words),
            headers=headers,
            body=body,
            origin=f"http://{headers.get('host')}",
            now=self.engine.clock(),
        )
        try:
            found = self._serve(request, client)
        except Exception as error:  # noqa: BLE001 - the last line of defence; see _failure
            return self._failure(request, error)
        return found if isinstance(found, Response) else self._later(request, found)

    def activity(self, headers: dict[bytes, bytes]) -> bytes:
        """The id of a request; one that brought none gets the next of a series which is random once."""
        given = headers.get(b"x-ms-activity-id")
        if given is not None:
            return given
        self._count += 1
        return self._series + b"%012x" % self._count

    def _serve(self, request: Request, client: str) -> Answer:
        if request.segments[:1] == ("_local",):
            return serve_local(self.engine, request, client)
        if "authorization" not in request.headers and (file := explorer_file(request)) is not None:
            return file
        handlers = match(request.segments)
        kind, link = signed_resource(request.segments)
        headers, engine = request.headers, self.engine
        engine.key.check(
            headers.get("authorization"), request.method, kind, link, headers.get("x-ms-date"), request.now
        )
        handler = handlers.get(request.method)
        if handler is None:
            raise CosmosError(405, f"{request.method} is not defined for /{'/'.join(request.segments)}.")
        check_headers(headers)
        container = self._container(request)
        if container is not None:
            _check_rid(container, request)
            self._admit(container.rid, request.now)
        if engine.faults.orders:
            engine.faults.strike(request, after=False)
        found = handler(engine, request)
        return self._booked(request, found) if isinstance(found, Response) else found

    async def _later(self, request: Request, found: Awaitable[Response]) -> Response:
        try:
            return self._booked(request, await found)
        except Exception as error:  # noqa: BLE001 - the last line of defence; see _failure
            return self._failure(request, error)

    def _failure(self, request: Request, error: Exception) -> Response:
        """A refusal as the client gets it; anything unforeseen is a 500 to the client, and the whole story in the log."""
        if isinstance(error, sqlite3.OperationalError) and "no such table" in str(error):
            # The container was dropped after the request had found it, or is not committed yet.
            error = not_found("The container does not exist.", substatus=Substatus.OWNER_NOT_FOUND)
        if not isinstance(error, CosmosError):
            log.error("%s /%s failed", request.method, "/".join(request.segments), exc_info=error)
            error = CosmosError(500, "The endpoint failed; its log says why.")
        if error.status != 429:
            done = [Done("refused", request.segments[5], error.charge)] if len(request.segments) > 5 else []
            self._book(request, Operation.METADATA, error.charge, done)
        return Response(
            error.status, error.body(), {"x-ms-substatus": str(error.substatus), **error.headers}, error.charge
        )

    def _container(self, request: Request) -> Container | None:
        segments = request.segments
        return self.engine.storage.containers.get((segments[1], segments[3])) if len(segments) > 3 else None

    def _admit(self, container: int, now: float) -> None:
        if self.engine.budget is None:
            return
        try:
            self.engine.budget.admit(container, now)
        except CosmosError:
            self.engine.meter.throttled += 1
            raise

    def _booked(self, request: Request, response: Response) -> Response:
        self._book(request, response.operation, response.charge, response.done)
        if self.engine.faults.orders:
            self.engine.faults.strike(request, after=True)
        return response

    def _book(self, request: Request, operation: Operation, charge: float, done: Sequence[Done] = ()) -> None:
        container = self._container(request)
        database, name = ("", "") if container is None else (container.database.id, container.id)
        self.engine.meter.record(database, name, operation, charge, done)
        if self.engine.budget is not None and container is not None:
            self.engine.budget.charge(container.rid, request.now, charge)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, for whoever runs this within a server of their own."""
        if scope["type"] != "http":
            return
        headers = Headers(dict(scope["headers"]))
        body = await _body(receive)
        client = (scope.get("client") or ("",))[0]
        found = too_large() if body is None else self.respond(scope["method"], scope["raw_path"], headers, body, client)
        response = found if isinstance(found, Response) else await found
        sent = {"x-ms-request-charge": f"{response.charge:g}", "x-ms-version": "2020-07-15", **response.headers}
        if response.body is not None:
            sent["content-type"] = response.content_type
        raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in sent.items()]
        raw.append((b"x-ms-activity-id", self.activity(headers.raw)))
        await send({"type": "http.response.start", "status": response.status, "headers": raw})
        await send({"type": "http.response.body", "body": response.body or b""})


def too_large() -> Response:
    """The answer to a body that was not read to its end."""
    error = CosmosError(413, f"The request is over {MAX_BODY_BYTES} bytes.")
    return Response(413, error.body(), {"x-ms-substatus": "0"})


def _check_rid(container: Container, request: Request) -> None:
    """A client that still thinks of a container of that name which was dropped must refresh its cache."""
    wanted = request.headers.find("x-ms-cosmos-intended-collection-rid")
    if wanted is not None and wanted != container.resource_id:
        raise CosmosError(
            400,
            f"The container was made anew: its resource id is {container.resource_id}, not {wanted}.",
            substatus=Substatus.CONTAINER_RECREATED,
        )


async def _body(receive: Receive) -> bytes | None:
    """The request's body, or None if it is too large."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > MAX_BODY_BYTES:
            return None
    return b"".join(parts)
