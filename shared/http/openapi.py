"""The OpenAPI 3.1 document, made from the routes' declarations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.http import problems
from shared.http.openapi_answers import REF, Schema, is_model, limited_response, responses_of
from shared.http.principal import Auth
from shared.http.route import PLACEHOLDER, Route

Mode = str

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
        "name": "Meridian-Proof",
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
    references, definitions = models_json_schema(_models(ordered), ref_template=REF)
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
            "responses": {"RateLimited": limited_response()},
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
        for _, model in route.answers:
            wanted[(model, "serialization")] = None
        if is_model(route.response):
            wanted[(route.response, "serialization")] = None
    return list(wanted)


def _operation(route: Route, references: Any, schemas: Schema) -> Schema:
    operation: Schema = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": _parameters(route, references, schemas),
        "responses": responses_of(route, references),
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
        schema = {"type": "string", "minLength": 1, "maxLength": 257, "pattern": '^"?[!#-~]{1,255}"?$'}
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
