"""HTTP as the durable APIs see it: plain values, so that any server can carry them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A request to one of the durable APIs.

    Attributes:
        method: upper-case HTTP method.
        path: the path below the API's mount point, percent-decoded, without a leading slash ("instances/abc").
        query: decoded query parameters; of a repeated one, the last.
        body: the whole body.
        content_type: the media type without parameters, lower-case; empty if absent.
        base_url: scheme and authority the caller used ("http://127.0.0.1:7071"), for links in answers.
        headers: request headers with lower-case names.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = ""
    base_url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """The answer: `body` is JSON unless it is empty; `headers` has no Content-Length."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(status: int, value: object = None, **headers: str) -> ApiResponse:
    """A JSON answer; no value, no body. Header names are given with underscores (`Retry_After`)."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    if value is None:
        return ApiResponse(status, b"", named)
    return ApiResponse(status, orjson.dumps(value), {"Content-Type": "application/json; charset=utf-8", **named})
