"""Reading bodies within limits."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from shared.http.errors import BodyTooDeep, BodyTooLarge, UnsupportedMediaType
from shared.http.problems import from_validation
from shared.platform.errors import FieldError, Invalid

MAX_DEPTH: Final = 32
MAX_FORM_FIELDS: Final = 50
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)


def check_size(body: bytes, limit: int) -> None:
    """Refuse more bytes than the route takes.

    Raises:
        BodyTooLarge: with both figures.
    """
    if len(body) > limit:
        raise BodyTooLarge(f"the body has {len(body)} bytes, at most {limit} are read", limit_bytes=limit)


def check_depth(body: bytes) -> None:
    """Refuse JSON nested deeper than 32, before a parser follows it.

    Raises:
        BodyTooDeep: it is.
    """
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return  # it cannot be deeper than it has brackets
    depth = 0
    for token in _TOKENS.finditer(body):
        first = body[token.start()]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BodyTooDeep(f"the body is nested deeper than {MAX_DEPTH}", limit=MAX_DEPTH)
        elif first in b"]}":
            depth -= 1


def read_json(model: type[BaseModel], body: bytes, content_type: str) -> BaseModel:
    """The validated body of a JSON request.

    Raises:
        UnsupportedMediaType: it says that it is something else.
        Invalid: it is not what the model asks for; every wrong place is named.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise UnsupportedMediaType(f"the body must be application/json, not {media[:100] or 'without a content type'}")
    check_depth(body)
    try:
        return model.__pydantic_validator__.validate_json(body)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise from_validation(error, "body") from None


def read_form(model: type[BaseModel], body: bytes, content_type: str) -> BaseModel:
    """The validated body of a form (`application/x-www-form-urlencoded`); a field sent twice is refused.

    Raises:
        UnsupportedMediaType: it says that it is something else.
        Invalid: it is not what the model asks for.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("the body must be application/x-www-form-urlencoded")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS, errors="strict")
    except ValueError:
        raise Invalid("the body is not a form", errors=[FieldError("body", "not a form")]) from None
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise Invalid(f"body.{name[:100]} was sent twice", errors=[FieldError(f"body.{name[:100]}", "sent twice")])
        fields[name] = value
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise from_validation(error, "body") from None
