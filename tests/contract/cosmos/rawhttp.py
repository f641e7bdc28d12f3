"""Signed requests without an SDK, for what an SDK would never send."""

from __future__ import annotations

import http.client
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson

from local.cosmos.auth import MasterKey
from local.cosmos.routes import signed_resource
from tests.contract.cosmos.target import KEY


def date(moment: datetime | None = None) -> str:
    """An RFC 1123 date."""
    return (moment or datetime.now(UTC)).strftime("%a, %d %b %Y %H:%M:%S GMT")


def call(
    port: int,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
    *,
    key: str = KEY,
    when: datetime | None = None,
    sign: bool = True,
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of one request; `path` is percent-encoded here."""
    segments = tuple(word for word in path.split("/") if word)
    sent = {"x-ms-date": date(when), "x-ms-version": "2020-07-15", **(headers or {})}
    if sign:
        signature = MasterKey(key).signature(method, *signed_resource(segments), sent["x-ms-date"])
        sent.setdefault("authorization", quote(f"type=master&ver=1.0&sig={signature}", safe=""))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        raw = body if isinstance(body, (bytes, type(None))) else orjson.dumps(body)
        connection.request(method, quote(path), raw, sent)
        response = connection.getresponse()
        text = response.read()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, orjson.loads(text) if text and "json" in found.get("content-type", "") else text
    finally:
        connection.close()
