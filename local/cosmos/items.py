"""HTTP for single items and batches."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from local.cosmos import batch, documents, shape
from local.cosmos.charges import Operation
from local.cosmos.documents import Condition, Outcome
from local.cosmos.engine import Engine
from local.cosmos.errors import bad_request
from local.cosmos.http import Done, Request, Response
from local.cosmos.model import Container
from local.cosmos.partition import PartitionKey
from local.cosmos.patch import patch

KEY_HEADER = "x-ms-documentdb-partitionkey"
RANGE_HEADER = "x-ms-documentdb-partitionkeyrangeid"


def locate(engine: Engine, request: Request) -> tuple[Container, PartitionKey]:
    """The container and the partition of a request on an item.

    Raises:
        CosmosError: 400, 404.
    """
    container = engine.storage.container(request.segments[1], request.segments[3])
    header = request.headers.find(KEY_HEADER)
    if header is None:
        raise bad_request("The request needs a partition key header, x-ms-documentdb-partitionkey.")
    return container, container.key.of_header(header)


def _condition(request: Request) -> Condition:
    return Condition(request.headers.find("if-match"), request.headers.find("if-none-match"))


def answer(
    engine: Engine,
    request: Request,
    container: Container,
    key: PartitionKey,
    outcome: Outcome,
    operation: Operation,
    item_id: str,
) -> Response:
    """The response to an operation on one item."""
    headers = item_headers(engine, container, key.epk)
    if outcome.etag is not None:
        headers["etag"] = outcome.etag
    minimal = operation is not Operation.READ and request.headers.get("prefer").lower() == "return=minimal"
    done = [Done(operation.value, item_id, outcome.charge)]
    return Response(outcome.status, None if minimal else outcome.body, headers, outcome.charge, operation, done=done)


def item_headers(engine: Engine, container: Container, epk: str) -> dict[str, str]:
    """What every answer about items carries; `epk` is the place on the ring that it comes from.

    Without the content path the SDK keeps no session token. Without a range that it knows it believes that the range was
    split: it forgets the ranges of all containers, and asks for them twice more before the next read.
    """
    return {
        "x-ms-session-token": engine.session_token(container),
        "x-ms-alt-content-path": container.header_link,
        RANGE_HEADER: engine.range_at(epk),
    }


def read_item(engine: Engine, request: Request) -> Response:
    """`GET .../docs/{id}`."""
    container, key = locate(engine, request)
    outcome = documents.read(
        engine.storage.reader, container, key, request.segments[5], _condition(request), request.second
    )
    return answer(engine, request, container, key, outcome, Operation.READ, request.segments[5])


async def _write(
    engine: Engine,
    request: Request,
    container: Container,
    key: PartitionKey,
    operation: Operation,
    item_id: str,
    work: Callable[[sqlite3.Connection], Outcome],
) -> Response:
    with engine.storage.committer.unit() as db:
        outcome = work(db)
    await engine.storage.committer.committed()
    return answer(engine, request, container, key, outcome, operation, item_id)


async def create_item(engine: Engine, request: Request) -> Response:
    """`POST .../docs`: create, or upsert."""
    container, key = locate(engine, request)
    document = shape.parse(request.body)
    documents.check_key(container, key, document)
    if request.flag("x-ms-documentdb-is-upsert"):
        condition = _condition(request)
        return await _write(
            engine,
            request,
            container,
            key,
            Operation.UPSERT,
            str(document.get("id")),
            lambda db: documents.upsert(db, container, key, document, condition, request.second),
        )
    return await _write(
        engine,
        request,
        container,
        key,
        Operation.CREATE,
        str(document.get("id")),
        lambda db: documents.create(db, container, key, document, request.second),
    )


async def replace_item(engine: Engine, request: Request) -> Response:
    """`PUT .../docs/{id}`."""
    container, key = locate(engine, request)
    document = shape.parse(request.body)
    documents.check_key(container, key, document)
    return await _write(
        engine,
        request,
        container,
        key,
        Operation.REPLACE,
        request.segments[5],
        lambda db: documents.replace(
            db, container, key, request.segments[5], document, _condition(request), request.second
        ),
    )


async def delete_item(engine: Engine, request: Request) -> Response:
    """`DELETE .../docs/{id}`."""
    container, key = locate(engine, request)
    return await _write(
        engine,
        request,
        container,
        key,
        Operation.DELETE,
        request.segments[5],
        lambda db: documents.delete(db, container, key, request.segments[5], _condition(request), request.second),
    )


async def patch_item(engine: Engine, request: Request) -> Response:
    """`PATCH .../docs/{id}`."""
    container, key = locate(engine, request)
    body = shape.parse(request.body)
    return await _write(
        engine,
        request,
        container,
        key,
        Operation.PATCH,
        request.segments[5],
        lambda db: patch(db, container, key, request.segments[5], body, _condition(request), request.second),
    )


async def run_batch(engine: Engine, request: Request) -> Response:
    """`POST .../docs` with the batch header."""
    container, key = locate(engine, request)
    if not request.flag("x-ms-cosmos-batch-atomic") or request.flag("x-ms-cosmos-batch-continue-on-error"):
        raise bad_request("Only atomic batches are supported.")
    operations = batch.parse(request.body)
    try:
        with engine.storage.committer.unit() as db:
            body, charge, done = batch.run(db, container, key, operations, request.second)
    except batch.BatchFailed as failure:
        return Response(207, failure.body, item_headers(engine, container, key.epk), failure.charge, Operation.BATCH)
    await engine.storage.committer.committed()
    headers = item_headers(engine, container, key.epk)
    return Response(200, body, headers, charge, Operation.BATCH, done=done)
