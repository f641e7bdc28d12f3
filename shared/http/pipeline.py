"""What happens between a request and its handler, and from the handler's answer to the reply.

The order: size, who calls, how often, may they, is it well formed, has it happened before, and only then the handler.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import azure.functions as func
from pydantic import BaseModel, ValidationError

from shared.http import bodies, headers, problems
from shared.http.call import Call
from shared.http.errors import IfMatchRequired, MethodNotAllowed, NoOrganization
from shared.http.models import Reply
from shared.http.principal import ADMINISTRATOR, NOBODY, Auth, Principal
from shared.http.replies import encode
from shared.http.request import Request
from shared.http.route import LITERALS, Route
from shared.http.wire import Response, check_value, request_of
from shared.platform import telemetry, tracing
from shared.platform.errors import Fault, FieldError, Internal, Invalid, Kind, Unauthenticated, Unavailable
from shared.platform.settings import SettingsError
from shared.store.charge import Charge
from shared.store.charge import current as charge_current

if TYPE_CHECKING:
    from shared.composition import Services
    from shared.http.fallback import Fallback
    from shared.http.ports import Backing

_NOTHING: Final[dict[str, str]] = {}
_ONE_ETAG: Final = re.compile(r'^(?:W/)?"[\x21\x23-\x7e]*"$')
_CHALLENGES: Final = {Auth.USER: "Bearer", Auth.AGENT: "Meridian-Proof", Auth.ADMIN: None, Auth.ANONYMOUS: None}
_log = telemetry.log("http")


class Pipeline:
    """Runs the routes of one registry over what the composition root gives."""

    def __init__(self, backing: Callable[[], Backing]) -> None:
        self._source = backing
        self._backing: Backing | None = None
        self._standing: dict[str, str] = {}
        self._cors: dict[str, dict[str, str]] = {}
        self._development = False

    def trigger(self, route: Route) -> Callable[..., Any]:
        """The function that the platform calls for a route: parameters are exactly its bindings, as the worker demands."""
        serve = self.serve

        if route.durable:

            async def durable_trigger(req: func.HttpRequest, client: str) -> func.HttpResponse:
                return await serve(route, req, client)

            return durable_trigger

        async def trigger(req: func.HttpRequest) -> func.HttpResponse:
            return await serve(route, req, None)

        return trigger

    def fallback_trigger(self, fallback: Fallback) -> Callable[..., Any]:
        """The function that the platform calls for what no route takes."""

        async def trigger(req: func.HttpRequest) -> func.HttpResponse:
            request = request_of(req.method, req)
            extra: dict[str, str] = {}
            try:
                backing = self.backing()
                if request.path == "/" and request.method == "GET":
                    return self._response(request, Reply(status=302, location="/docs"), 302, extra)
                await backing.rate_limiter.count("open", NOBODY, request, extra)
                return self._response(request, fallback.answer(request, backing.settings.cors_origins), 204, extra)
            except SettingsError as error:
                return self._misconfigured(error, request)
            except Fault as fault:
                return self._response(request, _refusal(fault, request, extra), 404, extra)

        return trigger

    def backing(self) -> Backing:
        """The services behind, asked for at the first request: nothing is read or connected at import."""
        if self._backing is None:
            backing = self._source()
            self._standing = headers.standing(backing.settings)
            self._cors = headers.cors(backing.settings)
            self._development = backing.settings.development
            self._backing = backing
        return self._backing

    async def serve(self, route: Route, raw: func.HttpRequest, client: str | None) -> func.HttpResponse:
        """Answer one request."""
        request = request_of(route.method, raw)
        extra: dict[str, str] = {}
        try:
            backing = self._backing or self.backing()
        except SettingsError as error:
            return self._misconfigured(error, request)
        charge = Charge()
        token, charged = tracing.current.set(request.trace), charge_current.set(charge)
        try:
            if telemetry.active():
                reply = await self._traced(route, backing, request, client, extra)
            else:
                reply = await self._answer(route, backing, request, client, extra)
        except Fault as fault:
            reply = _refusal(fault, request, extra, _CHALLENGES[route.auth])
        except Exception as error:  # noqa: BLE001 - the last line of defence: a mistake of ours is a 500 with an id, never a bare one
            _log.error("unhandled", exc_info=error, extra={"route": route.name, "request_id": request.id})
            reply = _refusal(Internal(str(error)), request, extra)
        finally:
            tracing.current.reset(token)
            charge_current.reset(charged)
        if charge.calls and self._development:
            extra["X-Request-Charge"] = f"{charge.units:.2f}"
        return self._response(request, reply, route.status, extra)

    async def _traced(
        self, route: Route, backing: Backing, request: Request, client: str | None, extra: dict[str, str]
    ) -> Reply:
        """As `_answer`, within a span and with its time measured; only where somebody receives them."""
        begun, code = backing.clock.monotonic(), "ok"
        attributes = {"http.request.method": route.method, "http.route": route.path, "meridian.request_id": request.id}
        try:
            tracing.current.set(tracing.extract(request.headers))  # the span itself becomes the caller's child
            with telemetry.span(f"{route.method} {route.path}", attributes, server=True):
                request.trace = tracing.current.get() or request.trace
                return await self._answer(route, backing, request, client, extra)
        except Fault as fault:
            code = fault.code
            raise
        except BaseException:
            code = "internal"
            raise
        finally:
            took = backing.clock.monotonic() - begun
            telemetry.histogram("http.server.duration").record(took, {"route": route.name, "code": code})

    async def _answer(
        self, route: Route, backing: Backing, request: Request, client: str | None, extra: dict[str, str]
    ) -> Reply:
        bodies.check_size(request.body, route.body_limit or backing.settings.body_limit_bytes)
        principal = await self._principal(route, backing, request, extra)
        call = Call(request, principal, route, cast("Services", backing))
        call._durable = client
        await backing.rate_limiter.check(call, extra)
        if route.organization and principal.org is None:
            raise NoOrganization("this token is for no organization")
        if route.permission is not None:
            resource = request.route_params[route.resource] if route.resource else None
            await backing.authorizer.authorise(call, route.permission, resource)
        arguments = _arguments(route, request)
        if route.if_match:
            call.if_match = _if_match(request)
        if route.idempotent:
            return await backing.idempotency.run(call, lambda: self._handle(route, backing, call, arguments))
        return await self._handle(route, backing, call, arguments)

    async def _principal(self, route: Route, backing: Backing, request: Request, extra: dict[str, str]) -> Principal:
        if route.auth is Auth.ANONYMOUS:
            return NOBODY
        if route.auth is Auth.ADMIN:
            return ADMINISTRATOR
        backing.rate_limiter.refused_before(request, extra)
        try:
            return await backing.authenticator(route.auth).authenticate(request)
        except Unauthenticated:
            await backing.rate_limiter.count("refused", NOBODY, request, extra)
            raise

    async def _handle(self, route: Route, backing: Backing, call: Call, arguments: dict[str, Any]) -> Reply:
        try:
            result = await route.handler(call, **arguments)
        except Fault as fault:
            if route.auth is Auth.USER:
                await backing.authorizer.note(call, fault)
            raise
        if isinstance(result, Reply):
            return result
        return Reply(result, status=204 if result is None else route.status)

    def _misconfigured(self, error: SettingsError, request: Request) -> func.HttpResponse:
        """The app cannot run at all: its log says which settings are missing, a caller only that it is so."""
        _log.critical(str(error), extra={"request_id": request.id})
        fault = Unavailable("the settings of this app are not complete; its log names them", retry_after=60)
        extra: dict[str, str] = {}
        return self._response(request, _refusal(fault, request, extra), 503, extra)

    def _response(self, request: Request, reply: Reply, usual: int, extra: dict[str, str]) -> func.HttpResponse:
        out = {**self._standing, **extra}
        out["X-Request-Id"] = request.id
        sent = request.headers
        origin = sent.get("origin")
        if origin is not None:
            out.update(self._cors.get(origin, _NOTHING))
        if reply.location:
            out["Location"] = check_value(reply.location)
        status = reply.status or (204 if reply.body is None else usual)
        if reply.etag:
            out["ETag"] = check_value(reply.etag)
            if request.method == "GET" and _has(sent.get("if-none-match"), reply.etag):
                return Response(b"", 304, out)
        out["Content-Type"] = reply.content_type
        for name, value in reply.headers.items():
            out[name] = check_value(value)
        return Response(encode(reply.body), status, out)


def _has(listed: str | None, etag: str) -> bool:
    """Whether an `If-None-Match` names the version (RFC 9110, 13.1.2: weak comparison)."""
    return listed is not None and (
        listed in (etag, "*") or etag in [each.strip().removeprefix("W/") for each in listed.split(",")]
    )


def _arguments(route: Route, request: Request) -> dict[str, Any]:
    """The handler's arguments, validated: path, then query, then body."""
    arguments: dict[str, Any] = {}
    if route.path_model is not None:
        try:
            arguments = route.path_model.model_validate(dict(request.route_params)).__dict__.copy()
        except ValidationError as error:
            if other := LITERALS.get(request.path):  # `/v1/things/recount` with a method that only things have
                names = ", ".join(sorted(other))
                raise MethodNotAllowed(f"{request.method} is not taken here, only {names}", allow=names) from None
            raise problems.from_validation(error, "path") from None
    if route.query is not None:
        arguments["query"] = _query(route, route.query, request)
    elif request.query and route.auth is not Auth.ADMIN:
        name = next(iter(request.query))[:100]
        raise Invalid(
            f"query.{name} is not known here", errors=[FieldError(f"query.{name}", "unknown", "unknown_field")]
        )
    if route.body is not None and (route.body_required or request.body):
        read = bodies.read_form if route.form else bodies.read_json
        arguments["body"] = read(route.body, request.body, request.headers.get("content-type", ""))
    elif route.body is None and request.body:
        raise Invalid("this route takes no body", errors=[FieldError("body", "not taken here", "unknown_field")])
    return arguments


def _query(route: Route, model: type[BaseModel], request: Request) -> BaseModel:
    values: dict[str, Any] = dict(request.query)
    if route.auth is Auth.ADMIN:
        values.pop("code", None)  # the platform's key
    for name in route.query_lists & values.keys():
        values[name] = values[name].split(",")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise problems.from_validation(error, "query") from None


def _if_match(request: Request) -> str | None:
    given = request.headers.get("if-match", "").strip()
    if not given:
        raise IfMatchRequired("send the ETag that you read, as If-Match")
    if given == "*":
        return None
    if not _ONE_ETAG.match(given):  # RFC 9110 has lists too; a change is of the one version that was read
        raise Invalid("If-Match names one ETag, or *", errors=[FieldError("header.if-match", "not one ETag")])
    return given


def _refusal(fault: Fault, request: Request, extra: dict[str, str], challenge: str | None = None) -> Reply:
    status = problems.status_of(fault)
    if isinstance(fault, MethodNotAllowed):
        extra["Allow"] = str(fault.figures["allow"])
    if fault.retry_after is not None:
        extra["Retry-After"] = str(max(1, math.ceil(fault.retry_after)))
    if status == 401 and challenge is not None:
        extra["WWW-Authenticate"] = challenge
    if fault.kind is Kind.INTERNAL:
        _log.error("internal", exc_info=fault, extra={"request_id": request.id, "code": fault.code})
    return Reply(problems.body_of(fault, request), status=status, content_type=problems.MEDIA_TYPE)
