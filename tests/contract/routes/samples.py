"""Bodies that a route would take, made from its model; by hand where a pattern says more than a generator can know."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from shared.http.route import Route

#: Bodies that the generator cannot make, by handler name.
BY_HAND: dict[str, dict[str, Any]] = {
    "create_invitation": {"email": "matrix@example.com"},
    "create_invitations": {"emails": ["matrix@example.com"]},
    "create_api_key": {"name": "matrix", "scopes": ["org.read"]},
    "update_member": {"role": "viewer"},
    "update_members": {"member_ids": ["mem_01ARZ3NDEKTSV4RRFFQ69G5FAV"], "role": "viewer"},
    "remove_members": {"member_ids": ["mem_01ARZ3NDEKTSV4RRFFQ69G5FAV"]},
    "transfer_organization": {"member_id": "mem_01ARZ3NDEKTSV4RRFFQ69G5FAV"},
}


def body_for(route: Route) -> dict[str, Any] | None:
    """A valid body for a route, or None if it takes none.

    Raises:
        pydantic.ValidationError: the generator could not make one; then one belongs into `BY_HAND`.
    """
    if route.body is None:
        return None
    body = BY_HAND.get(route.name)
    if body is None:
        body = _minimal(route.body)
    route.body.model_validate(body)
    return body


def _minimal(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    made = _value(schema, schema.get("$defs", {}))
    assert isinstance(made, dict)
    return made


def _value(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """The smallest value that the schema names; patterns are not looked at."""
    if "$ref" in schema:
        return _value(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    for way in ("anyOf", "oneOf", "allOf"):
        if way in schema:
            return _value(schema[way][0], definitions)
    kind = schema.get("type")
    if kind == "object":
        required = schema.get("required", [])
        return {name: _value(schema["properties"][name], definitions) for name in required}
    if kind == "array":
        return [_value(schema["items"], definitions) for _ in range(schema.get("minItems", 0))]
    if kind in ("integer", "number"):
        return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    if kind in ("boolean", "null"):
        return False if kind == "boolean" else None
    return "matrix-sample"[: schema.get("maxLength", 20)].ljust(schema.get("minLength", 0), "x")
