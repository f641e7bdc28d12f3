"""The answers of a route as the OpenAPI document lists them: success, and every refusal that its declaration implies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel

from shared.http import problems
from shared.http.errors import (
    BodyTooDeep,
    BodyTooLarge,
    IdempotencyKeyInUse,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    IfMatchRequired,
    NoOrganization,
    UnsupportedMediaType,
)
from shared.http.principal import Auth
from shared.http.rates import RATE_CLASSES
from shared.http.route import Route
from shared.platform.errors import (
    Fault,
    Forbidden,
    Internal,
    Invalid,
    NotFound,
    PreconditionFailed,
    RateLimited,
    Unauthenticated,
)
from shared.store.errors import BadCursor, StoreUnavailable

Schema = dict[str, Any]
REF: Final = "#/components/schemas/{model}"


def is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def responses_of(route: Route, references: Any) -> Schema:
    responses: Schema = {str(_success(route)): _answer(route, references)}
    if (
        route.method == "GET"
        and not route.if_match
        and route.response is not None
        and route.media_type == "application/json"
    ):
        responses["304"] = {"description": "As If-None-Match says it is."}
    by_status: dict[int, list[type[Fault]]] = {}
    for fault in _faults(route):
        by_status.setdefault(problems.status_of(fault), []).append(fault)
    for status, faults in sorted(by_status.items()):
        if str(status) not in responses:
            responses[str(status)] = problem_response(faults)
    for status, model in route.answers:
        schema = {"schema": references[(model, "serialization")]}
        answer = responses.setdefault(str(status), {"description": "Refused.", "content": {}})
        answer["content"] = {**answer["content"], "application/json": schema}
    if RATE_CLASSES[route.rate].limits():
        own = by_status.get(429, [])  # a limit of the route's own, beside that of its rate class
        responses["429"] = limited_response(own) if own else {"$ref": "#/components/responses/RateLimited"}
    if route.auth is Auth.ADMIN:
        responses["401"] = {"description": "No key, or not the master key. The platform says so, without a body."}
    if route.body is not None:
        responses["411"] = {"description": "A chunked body: send Content-Length. The platform says so, without a body."}
    return dict(sorted(responses.items()))


def _success(route: Route) -> int:
    return (
        204
        if route.response is None and route.media_type == "application/json" and route.status == 200
        else route.status
    )


def _answer(route: Route, references: Any) -> Schema:
    answer: Schema = {"description": _STATUS_TEXT.get(_success(route), "Done."), "headers": {}}
    names = ["X-Request-Id"]
    names += ["ETag"] if route.response is not None and (route.if_match or route.resource) else []
    names += ["Location"] if route.status in (201, 202) else []
    answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    if is_model(route.response):
        answer["content"] = {route.media_type: {"schema": references[(route.response, "serialization")]}}
    elif route.media_type != "application/json":
        answer["content"] = {route.media_type: {"schema": {"type": "string"}}}
    elif route.response is not None:
        answer["content"] = {route.media_type: {"schema": {"type": "object"}}}
    return answer


_STATUS_TEXT: Final = {
    200: "Done.",
    201: "Created.",
    202: "Begun; the task says how it goes.",
    204: "Done, nothing to say.",
}


def _faults(route: Route) -> list[type[Fault]]:
    """Every refusal that the declaration implies, and the route's own."""
    found: list[type[Fault]] = [Invalid, Internal, StoreUnavailable]
    if route.query is not None and "cursor" in route.query.model_fields:
        found.append(BadCursor)
    if route.body is not None:
        found += [BodyTooLarge, BodyTooDeep, UnsupportedMediaType]
    else:
        found.append(BodyTooLarge)
    if route.auth in (Auth.USER, Auth.AGENT):
        found += [Unauthenticated, Forbidden]
    if route.organization:
        found.append(NoOrganization)
    if route.path_model is not None:
        found.append(NotFound)
    if route.if_match:
        found += [IfMatchRequired, PreconditionFailed]
    if route.idempotent:
        found += [IdempotencyKeyRequired, IdempotencyKeyReused, IdempotencyKeyInUse]
    return found + [fault for fault in route.problems if fault not in found]


def limited_response(own: Sequence[type[Fault]] = ()) -> Schema:
    return problem_response([RateLimited, *own], headers=("Retry-After", "RateLimit"))


def problem_response(faults: Sequence[type[Fault]], *, headers: Sequence[str] = ()) -> Schema:
    codes = "; ".join(f"`{fault.code}`: {fault.title}" for fault in faults)
    response: Schema = {
        "description": codes + ".",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}},
    }
    if headers:
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return response
