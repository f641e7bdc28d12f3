"""Partial update: add, set, replace, remove, incr, move.

https://learn.microsoft.com/azure/cosmos-db/partial-document-update
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import orjson

from local.cosmos import documents
from local.cosmos.documents import Condition, Outcome
from local.cosmos.errors import CosmosError, Substatus, bad_request
from local.cosmos.jsonvalue import UNDEFINED, Value, is_number, number
from local.cosmos.model import Container
from local.cosmos.partition import PartitionKey
from local.cosmos.query.condition import holds
from local.cosmos.shape import SYSTEM_PROPERTIES

MAX_OPERATIONS = 10
Pointer = tuple[str, ...]


def patch(
    db: sqlite3.Connection,
    container: Container,
    key: PartitionKey,
    item_id: str,
    body: dict[str, Any],
    condition: Condition,
    now: int,
) -> Outcome:
    """Change parts of an item.

    Raises:
        CosmosError: 400, 404, 409 on a unique key, 412 (substatus 1110 when the predicate is false), 413.
    """
    operations = _operations(container, body)
    row = documents.require(db, container, key, item_id, now)
    documents.check_condition(container, row, condition)
    document = orjson.loads(row.body)
    predicate = body.get("condition")
    if predicate is not None:
        if not isinstance(predicate, str):
            raise bad_request("The patch condition must be a string such as: from c where c.state = 'idle'.")
        if not holds(predicate, document):
            raise CosmosError(
                412, "The patch condition does not hold for this item.", substatus=Substatus.PATCH_PREDICATE_FALSE
            )
    for operation in operations:
        apply(document, operation)
    return documents.overwrite(db, container, key, row, document, now)


def _operations(container: Container, body: dict[str, Any]) -> list[dict[str, Any]]:
    operations = body.get("operations")
    if not isinstance(operations, list) or not operations:
        raise bad_request("A patch needs a non-empty array of 'operations'.")
    if len(operations) > MAX_OPERATIONS:
        raise bad_request(f"A patch takes at most {MAX_OPERATIONS} operations, {len(operations)} given.")
    for operation in operations:
        if not isinstance(operation, dict) or operation.get("op") not in _APPLY:
            named = operation.get("op") if isinstance(operation, dict) else operation
            raise bad_request(f"Patch operation {named!r} is not known; it is one of {', '.join(_APPLY)}.")
        for name in ("path", "from") if operation["op"] == "move" else ("path",):
            _check_target(container, pointer(operation.get(name)))
    return operations


def _check_target(container: Container, target: Pointer) -> None:
    if target[0] == "id" or target[0] in SYSTEM_PROPERTIES:
        raise bad_request(f"/{target[0]} cannot be patched: it is the item's id or a system property.")
    for path in container.key.paths:
        if path[: len(target)] == target or target[: len(path)] == path:
            raise bad_request(f"/{'/'.join(target)} cannot be patched: it is part of the partition key.")


def pointer(path: Any) -> Pointer:
    """The steps of a JSON pointer (RFC 6901).

    Raises:
        CosmosError: 400, not a pointer to a property.
    """
    if not isinstance(path, str) or not path.startswith("/") or path == "/":
        raise bad_request(f"{path!r} is not a patch path; it starts with '/' and names a property.")
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/"))


def apply(document: dict[str, Any], operation: dict[str, Any]) -> None:
    """Carry out one operation on an item.

    Raises:
        CosmosError: 400, its path does not lead anywhere, or the value does not fit.
    """
    if operation["op"] not in ("remove", "move") and "value" not in operation:
        raise bad_request(f"Patch operation {operation['op']} needs a 'value'.")
    _APPLY[operation["op"]](document, pointer(operation["path"]), operation)


def _parent(document: Value, target: Pointer) -> Any:
    node = document
    for step in target[:-1]:
        node = _child(node, step)
        if not isinstance(node, (dict, list)):
            raise bad_request(f"/{'/'.join(target)} leads nowhere: there is no object or array at '{step}'.")
    return node


def _child(node: Any, step: str) -> Value:
    if isinstance(node, dict):
        return node.get(step, UNDEFINED)
    if isinstance(node, list) and step.isdecimal() and int(step) < len(node):
        return node[int(step)]
    return UNDEFINED


def _index(array: list[Any], target: Pointer, limit: int) -> int:
    step = target[-1]
    if not step.isdecimal() or int(step) > limit:
        raise bad_request(f"/{'/'.join(target)}: '{step}' is no index of an array of {len(array)} elements.")
    return int(step)


def _missing(target: Pointer) -> CosmosError:
    return bad_request(f"/{'/'.join(target)} does not exist.")


def _add(document: Value, target: Pointer, operation: dict[str, Any]) -> None:
    node = _parent(document, target)
    if isinstance(node, dict):
        node[target[-1]] = operation["value"]
    elif target[-1] == "-":
        node.append(operation["value"])
    else:
        node.insert(_index(node, target, len(node)), operation["value"])


def _set(document: Value, target: Pointer, operation: dict[str, Any]) -> None:
    node = _parent(document, target)
    if isinstance(node, list) and target[-1] != "-":
        at = _index(node, target, len(node))
        node[at : at + 1] = [operation["value"]]
    else:
        _add(document, target, operation)


def _replace(document: Value, target: Pointer, operation: dict[str, Any]) -> None:
    node = _parent(document, target)
    if _child(node, target[-1]) is UNDEFINED:
        raise _missing(target)
    _set(document, target, operation)


def _remove(document: Value, target: Pointer, _operation: dict[str, Any]) -> None:
    node = _parent(document, target)
    if _child(node, target[-1]) is UNDEFINED:
        raise _missing(target)
    del node[target[-1] if isinstance(node, dict) else int(target[-1])]


def _increment(document: Value, target: Pointer, operation: dict[str, Any]) -> None:
    by = operation["value"]
    if not is_number(by):
        raise bad_request(f"incr needs a number, not {by!r}.")
    node = _parent(document, target)
    before = _child(node, target[-1])
    if before is UNDEFINED:
        _add(document, target, operation)
        return
    if not is_number(before):
        raise bad_request(f"/{'/'.join(target)} holds no number, so it cannot be incremented.")
    _set(document, target, {"value": number(before + by)})


def _move(document: Value, target: Pointer, operation: dict[str, Any]) -> None:
    source = pointer(operation["from"])
    if target[: len(source)] == source and target != source:
        raise bad_request("A value cannot be moved into itself.")
    value = _child(_parent(document, source), source[-1])
    if value is UNDEFINED:
        raise _missing(source)
    _remove(document, source, operation)
    _add(document, target, {"value": value})


_APPLY: dict[str, Callable[[Value, Pointer, dict[str, Any]], None]] = {
    "add": _add,
    "set": _set,
    "replace": _replace,
    "remove": _remove,
    "incr": _increment,
    "move": _move,
}
