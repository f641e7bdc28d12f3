"""The OpenAPI 3.1 document, made from the routes' declarations.

`python -m shared.http.openapi` prints it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

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
from shared.http.route import PLACEHOLDER, Route
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
Mode = str
_REF: Final = "#/components/schemas/{model}"

SECURITY_SCHEMES: Final[Schema] = {
    "access_token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of this API (10 min), from `POST /v1/auth/token`, or an API key.",
    },
    "agent_proof": {
        "type": "apiKey",
        "in": "header",
        "name": "DPoP",
        "description": "A node's proof that it holds the key of its certificate; made anew for each call.",
    },
    "master_key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-functions-key",
        "description": "The function app's master key.",
    },
}
_SECURITY: Final = {Auth.USER: "access_token", Auth.AGENT: "agent_proof", Auth.ADMIN: "master_key"}


def document(routes: Sequence[Route], *, version: str = "1") -> Schema:
    """The document as data, in an order that depends on the declarations alone."""
    ordered = sorted(routes, key=lambda route: (route.path, route.method))
    references, definitions = models_json_schema(_models(ordered), ref_template=_REF)
    schemas: Schema = definitions.get("$defs", {})
    paths: Schema = {}
    for route in ordered:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, references, schemas)
    for model in {route.query for route in ordered} | {route.path_model for route in ordered}:
        if model is not None:
            schemas.pop(model.__name__, None)  # parameters are written out at each route
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Meridian Console",
            "version": version,
            "summary": "One console for people who run game servers on their own hardware",
            "description": _DESCRIPTION,
            "license": {"name": "Proprietary"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in sorted({route.tag for route in ordered})],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {"RateLimited": _problem_response([RateLimited], headers=("Retry-After", "RateLimit"))},
            "headers": _HEADERS,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def document_bytes(routes: Sequence[Route]) -> bytes:
    """The document as JSON text, the same for the same declarations."""
    return (json.dumps(document(routes), indent=2, ensure_ascii=False) + "\n").encode()


_DESCRIPTION: Final = (
    "JSON, snake_case, times in RFC 3339 UTC. A token is for one organization; no path carries an organization's id. "
    "Refusals are problem details (RFC 9457) with a stable `code` and the `request_id`. Lists are paged: "
    "`?limit=&cursor=`, with a `next` link. POSTs that create take `Idempotency-Key`; changes take `If-Match`. "
    "Long work answers 202 with `Location: /v1/tasks/{id}`."
)
_HEADERS: Final[Schema] = {
    "ETag": {
        "description": "The version of what was answered; send it as If-Match to change it.",
        "schema": {"type": "string"},
    },
    "Location": {"description": "Where the new thing, or the task, is.", "schema": {"type": "string"}},
    "RateLimit": {
        "description": 'What is left in the tightest window: `"user";r=41;t=17`.',
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "string"}},
    "X-Request-Id": {"description": "Under which our log knows the call.", "schema": {"type": "string"}},
}


def _models(routes: Sequence[Route]) -> list[tuple[type[BaseModel], Any]]:
    """Every model with the direction it goes; a model twice in the same direction counts once."""
    wanted: dict[tuple[type[BaseModel], Mode], None] = {(problems.Problem, "serialization"): None}
    for route in routes:
        for model in (route.body, route.query, route.path_model):
            if model is not None:
                wanted[(model, "validation")] = None
        if _is_model(route.response):
            wanted[(route.response, "serialization")] = None
    return list(wanted)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _operation(route: Route, references: Any, schemas: Schema) -> Schema:
    operation: Schema = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": _parameters(route, references, schemas),
        "responses": _responses(route, references),
        "security": [{_SECURITY[route.auth]: []}] if route.auth in _SECURITY else [],
        "x-rate-class": route.rate,
    }
    if route.description:
        operation["description"] = route.description
    if route.permission is not None:
        operation["x-permission"] = str(route.permission)
    if route.deprecated:
        operation["deprecated"] = True
    if route.body is not None:
        media = "application/x-www-form-urlencoded" if route.form else "application/json"
        schema = references[(route.body, "validation")]
        operation["requestBody"] = {"required": route.body_required, "content": {media: {"schema": schema}}}
    return operation


def _parameters(route: Route, references: Any, schemas: Schema) -> list[Schema]:
    found: list[Schema] = []
    if route.path_model is not None:
        properties = _expanded(references[(route.path_model, "validation")], schemas)["properties"]
        found += [
            {"name": name, "in": "path", "required": True, "schema": _untitled(properties[name])}
            for name in PLACEHOLDER.findall(route.path)
        ]
    if route.query is not None:
        model = _expanded(references[(route.query, "validation")], schemas)
        found += [_query_parameter(name, schema, model) for name, schema in model["properties"].items()]
    if route.idempotent:
        schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~]+$"}
        text = "New for each creation; the same key gives the same reply for 24 hours."
        found.append(
            {"name": "Idempotency-Key", "in": "header", "required": True, "description": text, "schema": schema}
        )
    if route.if_match:
        text = "The ETag that was read, or `*`."
        found.append(
            {"name": "If-Match", "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
        )
    return found


def _query_parameter(name: str, schema: Schema, model: Schema) -> Schema:
    plain = _without_null(_untitled(schema))
    parameter: Schema = {"name": name, "in": "query", "required": name in model.get("required", ()), "schema": plain}
    if "description" in plain:
        parameter["description"] = plain.pop("description")
    if plain.get("type") == "array":
        parameter |= {"style": "form", "explode": False}
    return parameter


def _without_null(schema: Schema) -> Schema:
    """An optional query parameter is absent, never null."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    if "anyOf" not in schema:
        return schema
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**options[0], **rest} if len(options) == 1 else {**rest, "anyOf": options}


def _untitled(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key != "title"}


def _expanded(reference: Schema, schemas: Schema) -> Schema:
    if "$ref" not in reference:
        return reference
    found: Schema = schemas[reference["$ref"].rpartition("/")[2]]
    return found


def _responses(route: Route, references: Any) -> Schema:
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
            responses[str(status)] = _problem_response(faults)
    if RATE_CLASSES[route.rate].limits():
        responses["429"] = {"$ref": "#/components/responses/RateLimited"}
    if route.auth is Auth.ADMIN:
        responses["401"] = {"description": "No key, or not the master key. The platform says so, without a body."}
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
    if _is_model(route.response):
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


def _problem_response(faults: Sequence[type[Fault]], *, headers: Sequence[str] = ()) -> Schema:
    codes = "; ".join(f"`{fault.code}`: {fault.title}" for fault in faults)
    response: Schema = {
        "description": codes + ".",
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="Problem")}}},
    }
    if headers:
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return response


def main() -> int:
    """Print the document of the whole API."""
    from importlib import import_module

    sys.stdout.buffer.write(document_bytes(import_module("functions").declared()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
