"""From a handler's answer to bytes."""

from __future__ import annotations

from pydantic import BaseModel


def encode(body: BaseModel | bytes | None) -> bytes:
    """The bytes of an answer: a model as JSON, bytes as they are."""
    if isinstance(body, BaseModel):
        return body.__pydantic_serializer__.to_json(body, by_alias=True)
    return body or b""
