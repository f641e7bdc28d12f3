"""Answers: what a function returned, as the real host would send it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote

import azure.functions

from local.functions_host.server import Send

RawHeaders = list[tuple[bytes, bytes]]

# Headers of a function's answer that the server makes itself.
_OWN = frozenset(("content-length", "transfer-encoding", "connection", "date", "keep-alive"))
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_LEAST_STATUS, _MOST_STATUS = 200, 599
_BODILESS = frozenset((204, 304))
_JSON = (b"content-type", b"application/json; charset=utf-8")


@dataclass(slots=True)
class Answer:
    """An answer, ready to send."""

    status: int
    body: bytes = b""
    headers: RawHeaders = field(default_factory=list)


def json_answer(status: int, value: object) -> Answer:
    """An answer of JSON."""
    return Answer(status, json.dumps(value).encode(), [_JSON])


def to_answer(result: Any) -> Answer:
    """What a function returned, as an answer.

    Raises:
        TypeError: it returned something else than a `str` or an `HttpResponse`, or a header that HTTP does not allow.
    """
    if isinstance(result, str):
        return Answer(200, result.encode(), [(b"content-type", b"text/plain; charset=utf-8")])
    if not isinstance(result, azure.functions.HttpResponse):
        raise TypeError(
            f"unable to encode outgoing TypedData: unsupported type for an HTTP answer: {type(result).__name__}"
        )
    if not _LEAST_STATUS <= result.status_code <= _MOST_STATUS:
        raise TypeError(f"{result.status_code} is not a status of an HTTP answer ({_LEAST_STATUS} to {_MOST_STATUS})")
    named: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in result.headers:
        lower = name.lower()
        if lower == "set-cookie":
            cookies.append(value)
        elif lower not in _OWN:
            named[lower] = value  # one value a name, the last: the worker's protocol has no more
    if "content-type" not in named:
        mimetype = result.mimetype
        named["content-type"] = f"{mimetype}; charset={result.charset}" if mimetype.startswith("text/") else mimetype
    headers = [(_name(name), _value(value)) for name, value in named.items()]
    for cookie in cookies:
        headers.extend((b"set-cookie", _value(text)) for text in _cookie_texts(cookie))
    return Answer(result.status_code, result.get_body(), headers)


@lru_cache(maxsize=512)
def _name(name: str) -> bytes:
    if _NAME.fullmatch(name) is None:
        raise TypeError(f"the header name {name!r} holds a character that HTTP does not allow")
    return name.encode("ascii")


def _value(value: str) -> bytes:
    if "\n" in value or "\r" in value or "\0" in value:
        raise TypeError(f"the header value {value!r} holds a character that HTTP does not allow")
    return value.encode("latin-1", "replace")


def _cookie_texts(text: str) -> list[str]:
    """A Set-Cookie value as it leaves the real host, which parses it and writes it anew (values percent-encoded)."""
    try:
        jar = SimpleCookie(text)
    except CookieError:
        return []
    found = []
    for morsel in jar.values():
        morsel.set(morsel.key, morsel.value, quote(morsel.value, safe="-_.~"))
        found.append(morsel.OutputString())
    return found


async def send_answer(send: Send, method: str, answer: Answer) -> None:
    """Send it by ASGI, with its length."""
    body = answer.body
    if answer.status in _BODILESS:
        headers, body = answer.headers, b""
    else:
        headers = [*answer.headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


def home_page() -> Answer:
    """What the real host shows at "/" if no function answers there."""
    text = b"<!doctype html><title>Functions host</title><p>Your Functions app is up and running.\n"
    return Answer(200, text, [(b"content-type", b"text/html; charset=utf-8")])
