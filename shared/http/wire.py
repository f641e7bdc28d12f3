"""Between the platform's request and response types and ours. The platform's types go no further in than this."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

import azure.functions as func
from azure.functions._http import HttpResponseHeaders

from shared.http.request import Request
from shared.platform import tracing

_REQUEST_ID: Final = re.compile(r"^[\w.:-]{8,64}$", re.ASCII)
_EMPTY_VALUE: Final = re.compile(r"=(?:&|$)|(?:^|[?&])[^=&]+(?:&|$)")
_BAD_HEADER_VALUE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def request_of(method: str, raw: func.HttpRequest) -> Request:
    """Our request from the platform's."""
    sent: Mapping[str, str] = getattr(raw.headers, "__http_headers__", raw.headers)  # the plain dict inside, if there
    given = sent.get("x-request-id")
    random = os.urandom(36).hex()  # one system call for all three ids
    parent = tracing.parse(sent.get("traceparent"))
    if parent is None:
        trace = tracing.TraceContext(random[:32], random[32:48])
    else:
        trace = tracing.TraceContext(parent.trace_id, random[32:48], parent.sampled)
    return Request(
        method,
        path_of(raw.url),
        sent,
        query_of(raw),
        raw.route_params,
        raw.get_body(),
        given if given and _REQUEST_ID.match(given) else f"req-{random[48:]}",
        trace,
    )


def query_of(raw: func.HttpRequest) -> Mapping[str, str]:
    """The query as the platform gives it, and the parameters with empty values, which it leaves out."""
    url = raw.url
    start = url.find("?") + 1
    if not start or not _EMPTY_VALUE.search(url, start):
        return raw.params  # type: ignore[no-any-return]
    query: dict[str, str] = {}
    for name, value in parse_qsl(url[start:], keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    return query


def path_of(url: str) -> str:
    """The path of an absolute URL."""
    start = url.find("/", url.find("://") + 3)
    end = url.find("?", start)
    return url[start:] if end < 0 else url[start:end]


class Response(func.HttpResponse):
    """The platform's response, made from what is already bytes and text.

    Its own constructor checks and copies each of our dozen constant headers through three layers for each answer, which
    costs as much as validating the request. Here the list is filled at once; only values that a handler chose are checked.
    """

    def __init__(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        self._body, self._status = body, status
        self._headers = HttpResponseHeaders()
        self._headers._list = list(headers.items())

    @property
    def status_code(self) -> int:
        """The status."""
        return self._status

    @property
    def headers(self) -> HttpResponseHeaders:
        """The headers."""
        return self._headers

    @property
    def mimetype(self) -> str:
        """The content type, without which the platform would add `text/plain`."""
        return str(self._headers.get("content-type", "application/json"))

    @property
    def charset(self) -> str:
        """The encoding of text."""
        return "utf-8"

    def get_body(self) -> bytes:
        """The bytes."""
        return self._body


def check_value(value: str) -> str:
    """A header value that did not come from our own constants.

    Raises:
        ValueError: it holds a line break or another control character, which would start a new header.
    """
    if _BAD_HEADER_VALUE.search(value):
        raise ValueError("a header value with a control character")
    return value
