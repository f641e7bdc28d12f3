"""Refusals as problem details (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.platform.errors import Fault, FieldError, Invalid, Kind

if TYPE_CHECKING:
    from shared.http.request import Request

MEDIA_TYPE: Final = "application/problem+json"
MAX_ERRORS: Final = 50

STATUS: Final[dict[Kind, int]] = {
    Kind.INVALID: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.METHOD_NOT_ALLOWED: 405,
    Kind.CONFLICT: 409,
    Kind.GONE: 410,
    Kind.PRECONDITION_FAILED: 412,
    Kind.TOO_LARGE: 413,
    Kind.UNSUPPORTED_MEDIA: 415,
    Kind.UNPROCESSABLE: 422,
    Kind.PRECONDITION_REQUIRED: 428,
    Kind.RATE_LIMITED: 429,
    Kind.QUOTA: 403,
    Kind.INTERNAL: 500,
    Kind.UNAVAILABLE: 503,
}


class ProblemError(BaseModel):
    """One wrong place in the request."""

    model_config = ConfigDict(defer_build=True)

    field: str = Field(description="Where: `body.ports.0`, `query.limit`, `header.if-match`.")
    message: str
    code: str


class Problem(BaseModel):
    """A refusal, as RFC 9457 describes it, with our own stable `code`. Figures of the refusal stand beside as members."""

    model_config = ConfigDict(extra="allow", defer_build=True)

    type: str = Field(description="A URI that is stable for the code.")
    title: str
    status: int
    detail: str = Field(description="Why, with the figures that decided.")
    instance: str = Field(description="The path that was called.")
    code: str = Field(description="Stable; made for programs.")
    request_id: str
    errors: list[ProblemError] = []


def type_uri(code: str) -> str:
    """The problem type's URI: the page about the code in our documentation, relative to the API."""
    return f"/docs/problems#{code}"


def status_of(fault: Fault | type[Fault]) -> int:
    """The HTTP status of a refusal."""
    return STATUS[fault.kind]


def body_of(fault: Fault, request: Request) -> bytes:
    """The problem document. The reason of an internal fault stays in our log."""
    problem: dict[str, Any] = {
        "type": type_uri(fault.code),
        "title": fault.title,
        "status": status_of(fault),
        "detail": "the log has the cause under this request id" if fault.kind is Kind.INTERNAL else fault.reason,
        "instance": request.path,
        "code": fault.code,
        "request_id": request.id,
        "errors": [{"field": e.field, "message": e.message, "code": e.code} for e in fault.errors],
    }
    if fault.kind is not Kind.INTERNAL:
        problem |= {name: value for name, value in fault.figures.items() if name not in problem}
    return json.dumps(problem, ensure_ascii=False).encode("utf-8", "replace")


def from_validation(error: ValidationError, place: str) -> Invalid:
    """The refusal for what pydantic found wrong in the body, the query or the path; never repeats what was sent."""
    problems: Sequence[Any] = error.errors(include_url=False, include_input=False, include_context=False)
    errors = [
        FieldError(".".join((place, *map(str, problem["loc"])))[:200], _message(problem), _code(problem["type"]))
        for problem in problems[:MAX_ERRORS]
    ]
    count = len(problems)
    what = f"{errors[0].field}: {errors[0].message}" if count == 1 else f"{count} places are wrong"
    return Invalid(what, errors=errors)


def _message(problem: Any) -> str:
    return str(problem["msg"]).removeprefix("Value error, ")[:500]


def _code(kind: str) -> str:
    return {"extra_forbidden": "unknown_field", "value_error": "invalid", "json_invalid": "malformed_json"}.get(
        kind, kind
    )
