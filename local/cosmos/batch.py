"""Transactional batch: up to 100 operations in one logical partition, all or none.

https://learn.microsoft.com/azure/cosmos-db/transactional-batch
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import orjson

from local.cosmos import documents, shape
from local.cosmos.documents import Condition, Outcome
from local.cosmos.errors import CosmosError, bad_request
from local.cosmos.http import Done
from local.cosmos.model import Container
from local.cosmos.partition import PartitionKey
from local.cosmos.patch import patch

MAX_OPERATIONS = 100
FAILED_DEPENDENCY = 424


class BatchFailed(Exception):
    """One operation failed, so none happened."""

    def __init__(self, body: bytes, charge: float) -> None:
        super().__init__("an operation of the batch failed")
        self.body = body
        self.charge = charge


def parse(raw: bytes) -> list[dict[str, Any]]:
    """Read a batch.

    Raises:
        CosmosError: 400 malformed or too many operations, 413 too large.
    """
    if len(raw) > shape.MAX_ITEM_BYTES:
        raise CosmosError(413, f"The batch has {len(raw)} bytes; the limit is {shape.MAX_ITEM_BYTES}.")
    try:
        operations = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"The batch is not valid JSON: {error}.") from error
    if not isinstance(operations, list) or not operations:
        raise bad_request("A batch is a non-empty JSON array of operations.")
    if len(operations) > MAX_OPERATIONS:
        raise bad_request(f"A batch takes at most {MAX_OPERATIONS} operations, {len(operations)} given.")
    for operation in operations:
        if not isinstance(operation, dict) or operation.get("operationType") not in _RUN:
            raise bad_request(f"A batch operation has an operationType out of {', '.join(_RUN)}.")
    return operations


def run(
    db: sqlite3.Connection, container: Container, key: PartitionKey, operations: list[dict[str, Any]], now: int
) -> tuple[bytes, float, list[Done]]:
    """Carry out all operations within the caller's unit of work; the answer's body, the charge, and what it is made of.

    Raises:
        BatchFailed: the unit must be undone; carries the answer for the client.
        CosmosError: 400, an operation belongs to another partition.
    """
    results: list[dict[str, Any]] = []
    done: list[Done] = []
    charge = 0.0
    for number, operation in enumerate(operations):
        try:
            outcome = _RUN[operation["operationType"]](db, container, key, operation, now)
        except CosmosError as error:
            if error.substatus == 1001:
                raise
            raise BatchFailed(_failure(len(operations), number, error), charge + error.charge) from error
        charge += outcome.charge
        item_id = operation.get("id") or operation["resourceBody"]["id"]
        done.append(Done(operation["operationType"].lower(), item_id, outcome.charge))
        results.append(_result(outcome))
    return orjson.dumps(results), round(charge, 2), done


def _result(outcome: Outcome) -> dict[str, Any]:
    result: dict[str, Any] = {"statusCode": outcome.status, "requestCharge": outcome.charge}
    if outcome.etag is not None:
        result["eTag"] = outcome.etag
    if outcome.body is not None:
        result["resourceBody"] = orjson.Fragment(outcome.body)
    return result


def _failure(count: int, failed: int, error: CosmosError) -> bytes:
    results: list[dict[str, Any]] = [{"statusCode": FAILED_DEPENDENCY, "requestCharge": 0} for _ in range(count)]
    results[failed] = {"statusCode": error.status, "requestCharge": error.charge, "message": error.message}
    if error.substatus:
        results[failed]["subStatusCode"] = error.substatus
    return orjson.dumps(results)


def _body(container: Container, key: PartitionKey, operation: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("resourceBody")
    if not isinstance(body, dict):
        raise bad_request(f"Batch operation {operation['operationType']} needs a resourceBody that is an object.")
    if operation["operationType"] != "Patch":
        documents.check_key(container, key, body)
    return body


def _id(operation: dict[str, Any]) -> str:
    return shape.check_id(operation.get("id"))


def _condition(operation: dict[str, Any]) -> Condition:
    return Condition(operation.get("ifMatch"), operation.get("ifNoneMatch"))


Runner = Callable[[sqlite3.Connection, Container, PartitionKey, dict[str, Any], int], Outcome]

_RUN: dict[str, Runner] = {
    "Create": lambda db, c, key, o, now: documents.create(db, c, key, _body(c, key, o), now),
    "Upsert": lambda db, c, key, o, now: documents.upsert(db, c, key, _body(c, key, o), _condition(o), now),
    "Read": lambda db, c, key, o, now: documents.read(db, c, key, _id(o), _condition(o), now),
    "Replace": lambda db, c, key, o, now: documents.replace(db, c, key, _id(o), _body(c, key, o), _condition(o), now),
    "Delete": lambda db, c, key, o, now: documents.delete(db, c, key, _id(o), _condition(o), now),
    "Patch": lambda db, c, key, o, now: patch(db, c, key, _id(o), _body(c, key, o), _condition(o), now),
}
