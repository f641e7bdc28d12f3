"""HTTP for queries and for reading all items."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import orjson

from local.cosmos import charges, shape
from local.cosmos.charges import Operation
from local.cosmos.documents import LIVE
from local.cosmos.engine import Engine
from local.cosmos.errors import CosmosError, Substatus, bad_request
from local.cosmos.http import Answer, Request, Response
from local.cosmos.items import KEY_HEADER, RANGE_HEADER, item_headers, locate
from local.cosmos.jsonvalue import Value
from local.cosmos.model import Container
from local.cosmos.partition import PartitionKey, parse_header, prefix_range
from local.cosmos.query.crosspartition import needs_plan, query_plan
from local.cosmos.query.execution import Page, QueryRun, Target
from local.cosmos.query.parser import parse
from local.cosmos.query.plan import make_plan, parameters_of
from local.cosmos.query.routing import Pinned, pinned
from local.cosmos.query.rules import check_order
from local.cosmos.runner import run_query

DEFAULT_PAGE, MAX_PAGE = 100, 1000
MAX_KNOWN_ORDERS = 1000
MAX_TOKEN_BYTES = 32 * 1024  # it goes through headers
ALL_ITEMS = "SELECT * FROM c"
MERGE_HEADER = "x-local-merge"
_SCOPED = (KEY_HEADER, RANGE_HEADER, "x-ms-start-epk")


def _scoped(request: Request) -> bool:
    """Whether the request names a partition or a part of the hash ring."""
    return any(name in request.headers for name in _SCOPED)


def read_all(engine: Engine, request: Request) -> Answer:
    """`GET .../docs`: every item of a container or partition."""
    container = engine.storage.container(request.segments[1], request.segments[3])
    return _answer(engine, request, container, ALL_ITEMS, {}, Operation.FEED)


def query_items(engine: Engine, request: Request) -> Answer:
    """`POST .../docs` with a query."""
    container = engine.storage.container(request.segments[1], request.segments[3])
    body = shape.parse(request.body)
    text = body.get("query")
    if not isinstance(text, str):
        raise bad_request("The body of a query needs a string 'query'.")
    parameters = parameters_of(body)
    if request.flag("x-ms-cosmos-is-query-plan-request"):
        return Response(200, orjson.dumps(query_plan(text, parameters)), operation=Operation.QUERY)
    if not _scoped(request) and not request.flag("x-ms-documentdb-query-enablecrosspartition"):
        raise bad_request(
            "Cross partition query is required but disabled. Please set x-ms-documentdb-query-enablecrosspartition to "
            "true, specify x-ms-documentdb-partitionkey, or revise your query to avoid this exception."
        )
    # The explorer page merges nothing itself: over all partitions of this one process the answer is at hand.
    merged_here = not engine.options.strict or request.flag(MERGE_HEADER)
    if not merged_here and not _scoped(request) and needs_plan(parse(text)):
        plan = orjson.dumps(query_plan(text, parameters)).decode()
        raise CosmosError(
            400,
            "The provided cross partition query can not be directly served by the gateway. "
            "This is a first chance (internal) exception that all newer clients will know how to handle gracefully.",
            substatus=Substatus.CROSS_PARTITION_QUERY_NOT_SERVABLE,
            extra={"additionalErrorInfo": plan},
        )
    return _answer(engine, request, container, text, parameters, Operation.QUERY)


def _answer(
    engine: Engine,
    request: Request,
    container: Container,
    text: str,
    parameters: dict[str, Any],
    operation: Operation,
) -> Answer:
    plan = make_plan(text, parameters, push_down=engine.options.push_down and not container.scan_only)
    if plan.query.order_by and container.served_orders.get(text) != container.version:
        check_order(plan.query, container.definition)
        if len(container.served_orders) > MAX_KNOWN_ORDERS:
            container.served_orders.clear()
        container.served_orders[text] = container.version
    places = None if KEY_HEADER in request.headers else pinned(plan.query, parameters, container.key)
    target = scope_of(engine, request, container, places)
    size = page_size(request)
    token = request.headers.find("x-ms-continuation")
    state = engine.tokens.read(_binding(container, target, text, parameters), token) if token else None

    def response(page: Page) -> Response:
        body = b'{"_rid":"%s","Documents":[%s],"_count":%d}' % (
            container.resource_id.encode(),
            b",".join(page.rows),
            len(page.rows),
        )
        headers = item_headers(engine, container, target.start)
        headers["x-ms-item-count"] = str(len(page.rows))
        if request.flag("x-ms-documentdb-populatequerymetrics"):
            headers["x-ms-documentdb-query-metrics"] = (
                f"retrievedDocumentCount={page.loaded};retrievedDocumentSize={page.loaded_bytes};"
                f"outputDocumentCount={len(page.rows)};outputDocumentSize={len(body)}"
            )
        if page.state is not None:
            headers["x-ms-continuation"] = _token(engine, _binding(container, target, text, parameters), page.state)
        return Response(200, body, headers, charges.query(page.loaded, page.loaded_bytes, len(body)), operation)

    async def later(page: Awaitable[Page]) -> Response:
        return response(await page)

    page = run_query(engine, container, QueryRun(plan, target, parameters, size, state))
    return response(page) if isinstance(page, Page) else later(page)


def _token(engine: Engine, binding: bytes, state: dict[str, Any]) -> str:
    token = engine.tokens.make(binding, state)
    if len(token) > MAX_TOKEN_BYTES:
        raise bad_request(
            f"A continuation token of {len(token)} bytes would be needed: ORDER BY values that long cannot be paged."
        )
    return token


def _binding(container: Container, target: Target, text: str, parameters: dict[str, Any]) -> bytes:
    """What a continuation token is good for. The first bound value is the time, which goes on."""
    return orjson.dumps([container.rid, target.where, target.binds[1:], text, parameters])


def page_size(request: Request) -> int:
    """`x-ms-max-item-count`; -1 leaves it to the server."""
    size = request.number("x-ms-max-item-count", DEFAULT_PAGE)
    if size == -1:
        return DEFAULT_PAGE
    if size < 1:
        raise bad_request(f"x-ms-max-item-count is {size}; it must be -1 or at least 1.")
    return min(size, MAX_PAGE)


def scope_of(engine: Engine, request: Request, container: Container, places: Pinned | None = None) -> Target:
    """Which documents the request may see: a partition, a part of the hash ring, or all.

    Raises:
        CosmosError: 400 for a malformed header, 403 when the whole container is meant and that is switched off.
    """
    clauses: list[str] = [LIVE]
    binds: list[Value] = [request.second]
    header = request.headers.find(KEY_HEADER)
    if header is not None:
        values = parse_header(header)
        if container.key.hierarchical and 0 < len(values) < len(container.key.paths):
            start, end = prefix_range(values)
            return Target(container.table, f"{LIVE} AND epk>=? AND epk<?", (request.second, start, end), start)
        return partition_target(container, container.key.of_header(header), request.second)
    start_epk, end_epk = request.headers.find("x-ms-start-epk"), request.headers.find("x-ms-end-epk")
    low, high = _range(engine, request)
    if start_epk is None and places is None and engine.options.deny_cross_partition:
        raise CosmosError(
            403,
            "Cross-partition queries are switched off here (--deny-cross-partition): "
            "this request names no partition key, so it would see every tenant's items.",
        )
    low, high = max(low, start_epk or ""), min(high, end_epk or "FF")
    if low:
        clauses.append("epk>=?")
        binds.append(low)
    if high != "FF":
        clauses.append("epk<?")
        binds.append(high)
    if places is not None:
        sql, values = _places(places)
        clauses.append(sql)
        binds.extend(values)
    return Target(container.table, " AND ".join(clauses), tuple(binds), low)


def _places(places: Pinned) -> tuple[str, tuple[str, ...]]:
    if places.items is not None:
        marks = ",".join(["(?,?)"] * len(places.items))
        return f"(pk,id) IN (VALUES {marks})" if marks else "0", tuple(text for pair in places.items for text in pair)
    return f"pk IN ({','.join('?' * len(places.keys))})", places.keys


def partition_target(container: Container, key: PartitionKey, now: int) -> Target:
    """One logical partition. The ring place is indexed; the key itself decides."""
    return Target(container.table, f"{LIVE} AND epk=? AND +pk=?", (now, key.epk, key.text), key.epk)


def _range(engine: Engine, request: Request) -> tuple[str, str]:
    number = request.headers.find(RANGE_HEADER)
    if number is None:
        return "", "FF"
    bounds = engine.range_bounds()
    if not number.isdecimal() or int(number) >= len(bounds):
        raise CosmosError(410, f"The partition key range {number!r} does not exist.", substatus=1002)
    return bounds[int(number)]


async def delete_partition(engine: Engine, request: Request) -> Response:
    """`POST .../operations/partitionkeydelete`: every item of one logical partition."""
    container, key = locate(engine, request)
    with engine.storage.committer.unit() as db:
        gone = db.execute(
            f"DELETE FROM {container.table} WHERE epk=? AND +pk=? RETURNING CAST(body AS BLOB)", (key.epk, key.text)
        ).fetchall()
        db.execute("DELETE FROM unique_values WHERE container=? AND pk=?", (container.rid, key.text))
    await engine.storage.committer.committed()
    charge = round(sum(charges.delete(len(body), container.terms.count(orjson.loads(body))) for (body,) in gone), 2)
    return Response(200, None, item_headers(engine, container, key.epk), charge, Operation.DELETE)
