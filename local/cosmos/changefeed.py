"""The change feed, latest version mode: each item once, in the order of its last write.

https://learn.microsoft.com/azure/cosmos-db/change-feed
"""

from __future__ import annotations

import sqlite3
from email.utils import parsedate_to_datetime

from local.cosmos import charges
from local.cosmos.charges import Operation
from local.cosmos.engine import Engine
from local.cosmos.errors import bad_request
from local.cosmos.feeds import page_size, scope_of
from local.cosmos.http import Request, Response
from local.cosmos.items import item_headers
from local.cosmos.query.execution import Target

FROM_NOW = "*"


def read_changes(engine: Engine, request: Request) -> Response:
    """`GET .../docs` with `A-IM`.

    The continuation is an ETag that holds a log sequence number; 304 tells that there is nothing new.
    """
    container = engine.storage.container(request.segments[1], request.segments[3])
    mode = request.headers.get("a-im")
    if mode.lower() != "incremental feed":
        raise bad_request(f"Change feed mode {mode!r} is not supported; only the latest version mode is.")
    target = scope_of(engine, request, container)
    size = page_size(request)
    since, continuation = request.headers.find("if-modified-since"), request.headers.find("if-none-match")
    rows, end = _read(engine.storage.reader, container.rid, target, size, continuation, since)
    headers = item_headers(engine, container, target.start)
    headers["etag"] = f'"{end}"'
    if not rows:
        return Response(304, None, headers, charges.READ_BASE, Operation.CHANGE_FEED)
    items = [b'%s,"_lsn":%d}' % (body[:-1].encode(), lsn) for lsn, body in rows]
    body = b'{"_rid":"%s","Documents":[%s],"_count":%d}' % (
        container.resource_id.encode(),
        b",".join(items),
        len(items),
    )
    headers["x-ms-item-count"] = str(len(items))
    loaded = sum(len(item) for item in items)
    return Response(200, body, headers, charges.query(len(items), loaded, len(body)), Operation.CHANGE_FEED)


def _read(
    db: sqlite3.Connection, container: int, target: Target, size: int, continuation: str | None, since: str | None
) -> tuple[list[tuple[int, str]], int]:
    # One snapshot: a write between the two statements would otherwise be passed over for ever.
    db.execute("BEGIN")
    try:
        newest = db.execute("SELECT lsn FROM containers WHERE rid=?", (container,)).fetchone()[0]
        if continuation == FROM_NOW:
            return [], newest
        start = _number(continuation) if continuation else 0
        clause, binds = "", target.binds
        if since is not None and continuation is None:
            clause, binds = " AND ts>=?", (*binds, _moment(since))
        rows = db.execute(
            f"SELECT lsn, body FROM {target.table} WHERE {target.where}{clause} AND lsn>? ORDER BY lsn LIMIT ?",
            (*binds, start, size + 1),
        ).fetchall()
    finally:
        db.execute("COMMIT")
    if len(rows) > size:
        return rows[:size], rows[size - 1][0]
    return rows, max(newest, start)


def _number(continuation: str) -> int:
    text = continuation.strip('"')
    if not text.isdecimal() or len(text) > 18:
        raise bad_request(f"{continuation!r} is no continuation of a change feed.")
    return int(text)


def _moment(date: str) -> int:
    try:
        return int(parsedate_to_datetime(date).timestamp())
    except (TypeError, ValueError):
        raise bad_request(f"If-Modified-Since is {date!r}; it must be an RFC 1123 date.") from None
