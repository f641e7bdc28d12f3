"""What an item must look like to be stored, and the text that is stored."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import orjson

from local.cosmos.errors import CosmosError, bad_request
from local.cosmos.jsonvalue import MAX_SAFE_INTEGER

# https://learn.microsoft.com/azure/cosmos-db/concepts-limits#per-item-limits
MAX_ITEM_BYTES = 2 * 1024 * 1024
MAX_ID_BYTES = 1023
MAX_DEPTH = 128
MAX_TTL = 2**31 - 1
SYSTEM_PROPERTIES = ("_rid", "_self", "_etag", "_attachments", "_ts", "_lsn")

# Whatever may hold a number with so many digits, or with an exponent, that two readers could differ; or a NUL.
_DELICATE = re.compile(rb"[0-9.]{16}|[0-9][eE]|\\u0000")


def parse(raw: bytes) -> dict[str, Any]:
    """Read a request body that must be one JSON object.

    Raises:
        CosmosError: 400 malformed, 413 too large.
    """
    if len(raw) > MAX_ITEM_BYTES:
        raise CosmosError(413, f"The request has {len(raw)} bytes; the limit of an item is {MAX_ITEM_BYTES}.")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"The request body is not valid JSON: {error}.") from error
    if not isinstance(body, dict):
        raise bad_request("The request body must be a JSON object.")
    return body


def check_id(value: Any, what: str = "item") -> str:
    """A legal id.

    Raises:
        CosmosError: 400 with the rule that it breaks.
    """
    if not isinstance(value, str) or not value:
        raise bad_request(f"The {what} needs an 'id' that is a non-empty string.")
    size = len(value.encode())
    limit = MAX_ID_BYTES if what == "item" else 255
    if size > limit:
        raise bad_request(f"The {what} id has {size} bytes; the limit is {limit}.")
    control = what != "item" and not value.isprintable()  # these names go into response headers
    if control or set(value) & set("/\\?#") or value in (".", ".."):
        raise bad_request(
            f"The {what} id {value!r} is not allowed: '/', '\\', '?', '#' and the ids '.' and '..' are not."
        )
    return value


def check_ttl(document: dict[str, Any]) -> int | None:
    """The item's own `ttl`: -1, seconds, or none.

    Raises:
        CosmosError: 400, anything else.
    """
    ttl = document.get("ttl")
    if ttl is None:
        return None
    if type(ttl) is not int or not (ttl == -1 or 0 < ttl <= MAX_TTL):
        raise bad_request(f"'ttl' is {ttl!r}; it must be -1 or a whole number of seconds from 1 to {MAX_TTL}.")
    return ttl


def encode(document: dict[str, Any]) -> tuple[bytes, bool]:
    """The item's own JSON without system properties, and whether SQLite reads every value in it exactly.

    Raises:
        CosmosError: 400 for an integer that a double cannot hold or for too deep nesting, 413 when too large.
    """
    for name in SYSTEM_PROPERTIES:
        document.pop(name, None)
    try:
        text = orjson.dumps(document)
    except orjson.JSONEncodeError as error:
        raise bad_request(f"The item cannot be stored: {error}.") from error
    if len(text) > MAX_ITEM_BYTES:
        raise CosmosError(413, f"The item has {len(text)} bytes; the limit is {MAX_ITEM_BYTES}.")
    delicate = _DELICATE.search(text) is not None
    if delicate or text.count(b"{") + text.count(b"[") > MAX_DEPTH:
        exact = _walk(document)
        return text, exact
    return text, True


def _walk(document: dict[str, Any]) -> bool:
    exact = True
    stack: list[tuple[Any, int]] = [(document, 1)]
    while stack:
        value, depth = stack.pop()
        if isinstance(value, (dict, list)):
            if depth > MAX_DEPTH:
                raise bad_request(f"The item is nested deeper than {MAX_DEPTH} levels.")
            stack.extend((item, depth + 1) for item in (value.values() if isinstance(value, dict) else value))
            if isinstance(value, dict):
                exact = exact and not any("\0" in key for key in value)
        elif not _exact(value):
            exact = False
    return exact


def _exact(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    if type(value) is int and abs(value) > MAX_SAFE_INTEGER:
        raise bad_request(
            f"The number {value} cannot be held exactly: whole numbers go up to 2^53 = {MAX_SAFE_INTEGER}."
        )
    return type(value) is not float or _read_by_sqlite(value) == value


_probe = sqlite3.connect(":memory:", check_same_thread=False)


def _read_by_sqlite(value: float) -> Any:
    # SQLite's reading of decimals is not always the nearest double (https://sqlite.org/floatingpoint.html).
    return _probe.execute("SELECT json_extract(?, '$[0]')", (f"[{orjson.dumps(value).decode()}]",)).fetchone()[0]
