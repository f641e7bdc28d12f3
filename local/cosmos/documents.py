"""Items: create, read, replace, upsert, delete. Each function runs inside a unit of work of its caller."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from local.cosmos import charges, shape
from local.cosmos.errors import CosmosError, Substatus, bad_request
from local.cosmos.model import Container
from local.cosmos.partition import PartitionKey
from local.cosmos.ttl import expiry
from local.cosmos.uniqueness import claim_unique, release_unique

LIVE = "(expires IS NULL OR expires > ?)"


class Row(NamedTuple):
    """A stored item."""

    rid: int
    lsn: int
    ts: int
    body: str


@dataclass(frozen=True, slots=True)
class Condition:
    """`If-Match` and `If-None-Match` of a request."""

    match: str | None = None
    none_match: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an operation on one item."""

    status: int
    charge: float
    body: bytes | None = None
    etag: str | None = None


def find(db: sqlite3.Connection, container: Container, key: PartitionKey, item_id: str, now: int) -> Row | None:
    """The live item, if there is one."""
    found = db.execute(
        f"SELECT rid, lsn, ts, body FROM {container.table} WHERE pk=? AND id=? AND {LIVE}",
        (key.text, item_id, now),
    ).fetchone()
    return None if found is None else Row(*found)


def require(db: sqlite3.Connection, container: Container, key: PartitionKey, item_id: str, now: int) -> Row:
    """The live item.

    Raises:
        CosmosError: 404.
    """
    found = find(db, container, key, item_id, now)
    if found is None:
        raise _missing(key, item_id)
    return found


def read(
    db: sqlite3.Connection, container: Container, key: PartitionKey, item_id: str, condition: Condition, now: int
) -> Outcome:
    """A point read; 304 when `If-None-Match` names the present version."""
    found = db.execute(
        f"SELECT lsn, CAST(body AS BLOB) FROM {container.table} WHERE pk=? AND id=? AND {LIVE}",
        (key.text, item_id, now),
    ).fetchone()
    if found is None:
        raise _missing(key, item_id)
    etag, body = container.etag(found[0]), found[1]
    if condition.none_match is not None and condition.none_match in (etag, "*"):
        return Outcome(304, charges.READ_BASE, None, etag)
    return Outcome(200, charges.read(len(body)), body, etag)


def _missing(key: PartitionKey, item_id: str) -> CosmosError:
    return CosmosError(404, f"Entity with the id '{item_id}' does not exist in partition {key.text}.")


def create(
    db: sqlite3.Connection, container: Container, key: PartitionKey, document: dict[str, Any], now: int
) -> Outcome:
    """Store a new item.

    Raises:
        CosmosError: 400, 409, 413.
    """
    item_id = shape.check_id(document.get("id"))
    if find(db, container, key, item_id, now) is not None:
        raise CosmosError(409, f"Entity with the id '{item_id}' already exists in partition {key.text}.")
    return _insert(db, container, key, document, now)


def upsert(
    db: sqlite3.Connection,
    container: Container,
    key: PartitionKey,
    document: dict[str, Any],
    condition: Condition,
    now: int,
) -> Outcome:
    """Store an item, new or not.

    Raises:
        CosmosError: 400, 409 on a unique key, 412, 413.
    """
    item_id = shape.check_id(document.get("id"))
    row = find(db, container, key, item_id, now)
    if row is None:
        if condition.match is not None:
            raise CosmosError(412, "One of the specified pre-condition is not met: the item does not exist.")
        return _insert(db, container, key, document, now)
    check_condition(container, row, condition)
    return overwrite(db, container, key, row, document, now)


def replace(
    db: sqlite3.Connection,
    container: Container,
    key: PartitionKey,
    item_id: str,
    document: dict[str, Any],
    condition: Condition,
    now: int,
) -> Outcome:
    """Store a new version of an item.

    Raises:
        CosmosError: 400, 404, 409 on a unique key, 412, 413.
    """
    row = require(db, container, key, item_id, now)
    if document.get("id") != item_id:
        raise bad_request(f"The id in the body, {document.get('id')!r}, is not the item's id '{item_id}'.")
    check_condition(container, row, condition)
    return overwrite(db, container, key, row, document, now)


def delete(
    db: sqlite3.Connection, container: Container, key: PartitionKey, item_id: str, condition: Condition, now: int
) -> Outcome:
    """Remove an item.

    Raises:
        CosmosError: 404, 412.
    """
    row = require(db, container, key, item_id, now)
    check_condition(container, row, condition)
    remove(db, container, row.rid)
    _keep_lsn(db, container, container.next_lsn())
    return Outcome(204, charges.delete(len(row.body), container.terms.count(orjson.loads(row.body))))


def remove(db: sqlite3.Connection, container: Container, rid: int) -> None:
    """Take an item out of the table and free its unique values."""
    if container.unique_paths:
        release_unique(db, container, rid)
    db.execute(f"DELETE FROM {container.table} WHERE rid=?", (rid,))


def check_condition(container: Container, row: Row, condition: Condition) -> None:
    """Hold a write's preconditions against the present version.

    Raises:
        CosmosError: 412.
    """
    etag = container.etag(row.lsn)
    if condition.match is not None and condition.match not in (etag, "*"):
        raise CosmosError(
            412, f"One of the specified pre-condition is not met: the item's ETag is {etag}, not {condition.match}."
        )
    if condition.none_match is not None and condition.none_match in (etag, "*"):
        raise CosmosError(412, "One of the specified pre-condition is not met: the item exists.")


def check_key(container: Container, key: PartitionKey, document: dict[str, Any]) -> None:
    """The partition key of the request must be the one in the body.

    Raises:
        CosmosError: 400 with substatus 1001.
    """
    own = container.key.of_document(document)
    if own.text != key.text:
        raise bad_request(
            f"PartitionKey extracted from document doesn't match the one specified in the header: "
            f"the body says {own.text}, the header {key.text}.",
            substatus=Substatus.PARTITION_KEY_MISMATCH,
        )


def _insert(
    db: sqlite3.Connection, container: Container, key: PartitionKey, document: dict[str, Any], now: int
) -> Outcome:
    item_id = document["id"]
    expires = expiry(container.default_ttl, shape.check_ttl(document), now)
    if container.default_ttl is not None:
        _drop_expired(db, container, key, item_id)
    lsn = container.next_lsn()
    body = _complete(db, container, document, lsn, lsn, now)
    if container.unique_paths:
        claim_unique(db, container, key, document, lsn, now)
    db.execute(
        f"INSERT INTO {container.table} (rid, pk, id, epk, lsn, ts, expires, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (lsn, key.text, item_id, key.epk, lsn, now, expires, body.decode()),
    )
    _keep_lsn(db, container, lsn)
    charge = charges.insert(len(body), container.terms.count(document))
    return Outcome(201, charge, body, container.etag(lsn))


def overwrite(
    db: sqlite3.Connection, container: Container, key: PartitionKey, row: Row, document: dict[str, Any], now: int
) -> Outcome:
    """Put a new version in an item's place; its `_rid` stays."""
    expires = expiry(container.default_ttl, shape.check_ttl(document), now)
    lsn = container.next_lsn()
    body = _complete(db, container, document, row.rid, lsn, now)
    if container.unique_paths:
        release_unique(db, container, row.rid)
        claim_unique(db, container, key, document, row.rid, now)
    db.execute(
        f"UPDATE {container.table} SET lsn=?, ts=?, expires=?, body=? WHERE rid=?",
        (lsn, now, expires, body.decode(), row.rid),
    )
    _keep_lsn(db, container, lsn)
    charge = charges.replace(len(body), container.terms.count(document))
    return Outcome(200, charge, body, container.etag(lsn))


def _complete(
    db: sqlite3.Connection, container: Container, document: dict[str, Any], rid: int, lsn: int, now: int
) -> bytes:
    text, exact = shape.encode(document)
    if not exact and not container.scan_only:
        container.scan_only = True
        db.execute("UPDATE containers SET scan_only=1 WHERE rid=?", (container.rid,))
    resource_id = container.item_rid(rid)
    system = {
        "_rid": resource_id,
        "_self": f"{container.self_link}docs/{resource_id}/",
        "_etag": container.etag(lsn),
        "_attachments": "attachments/",
        "_ts": now,
    }
    return text[:-1] + b"," + orjson.dumps(system)[1:]


def _drop_expired(db: sqlite3.Connection, container: Container, key: PartitionKey, item_id: str) -> None:
    # An expired item is invisible, yet its row may still hold the id.
    found = db.execute(f"SELECT rid FROM {container.table} WHERE pk=? AND id=?", (key.text, item_id)).fetchone()
    if found is not None:
        remove(db, container, found[0])


def _keep_lsn(db: sqlite3.Connection, container: Container, lsn: int) -> None:
    db.execute("UPDATE containers SET lsn=? WHERE rid=?", (lsn, container.rid))
