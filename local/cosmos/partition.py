"""Partition keys: their value in an item, in the request header, their canonical text and their place in the hash ring."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from local.cosmos.errors import CosmosError, Substatus, bad_request
from local.cosmos.jsonvalue import UNDEFINED, Value, is_number, number
from local.cosmos.murmur import murmur3_128

MAX_LEVELS = 3  # https://learn.microsoft.com/azure/cosmos-db/hierarchical-partition-keys
MAX_KEY_BYTES = 2048  # https://learn.microsoft.com/azure/cosmos-db/concepts-limits
EPK_END = "FF"
_STEP = re.compile(r'/(?:"((?:[^"\\]|\\.)*)"|([^/"]+))')


@dataclass(frozen=True, slots=True)
class PartitionKey:
    """The key of one logical partition."""

    text: str  # canonical JSON array; `{}` stands for undefined
    epk: str  # effective partition key: hexadecimal, ordered as the ring is


@dataclass(frozen=True, slots=True)
class KeyDefinition:
    """The partition key paths of a container."""

    paths: tuple[tuple[str, ...], ...]
    hierarchical: bool

    @classmethod
    def parse(cls, body: Any) -> KeyDefinition:
        """Read `partitionKey` of a container's definition.

        Raises:
            CosmosError: 400, the definition is missing or not supported.
        """
        if not isinstance(body, dict) or not isinstance(body.get("paths"), list) or not body["paths"]:
            raise bad_request("The container needs a partition key definition with one to three paths.")
        kind, version = body.get("kind", "Hash"), body.get("version", 2)
        limit = {"Hash": 1, "MultiHash": MAX_LEVELS}.get(kind)
        if limit is None:
            raise bad_request(f"Partition key kind {kind!r} is not known; it is Hash or MultiHash.")
        if version != 2:
            raise bad_request(f"Partition key version {version!r} is not supported; use version 2.")
        if len(body["paths"]) > limit:
            raise bad_request(
                f"A partition key of kind {kind} takes at most {limit} path(s), {len(body['paths'])} given."
            )
        return cls(tuple(parse_path(path) for path in body["paths"]), kind == "MultiHash")

    def of_document(self, document: dict[str, Any]) -> PartitionKey:
        """The key under which an item belongs."""
        return self.of_values([_follow(document, path) for path in self.paths])

    def of_header(self, header: str) -> PartitionKey:
        """The key named by `x-ms-documentdb-partitionkey`.

        Raises:
            CosmosError: 400, the header is no JSON array of as many simple values as the container has paths.
        """
        values = parse_header(header)
        if len(values) > len(self.paths) or (len(values) < len(self.paths) and values):
            raise bad_request(
                f"Partition key provided either doesn't correspond to definition in the collection: "
                f"{len(values)} value(s) given, {len(self.paths)} path(s) defined.",
                substatus=Substatus.PARTITION_KEY_MISMATCH,
            )
        return self.of_values(list(values) or [UNDEFINED] * len(self.paths))

    def of_values(self, values: Sequence[Value]) -> PartitionKey:
        """The key of the given values; an absent level of a hierarchical key counts as null, as the SDKs send it."""
        if self.hierarchical:
            values = [None if value is UNDEFINED else value for value in values]
        return _key(key_text(values), self.hierarchical)


@lru_cache(maxsize=65536)
def _key(text: str, hierarchical: bool) -> PartitionKey:
    if len(text.encode()) > MAX_KEY_BYTES:
        raise bad_request(f"The partition key has {len(text.encode())} bytes; the limit is {MAX_KEY_BYTES}.")
    return PartitionKey(text, effective_key(orjson.loads(text), hierarchical))


@lru_cache(maxsize=8192)
def parse_header(header: str) -> tuple[Value, ...]:
    """The values in a partition key header; `{}` is undefined."""
    try:
        values = orjson.loads(header)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"The partition key header is not JSON: {error}.") from error
    if not isinstance(values, list):
        raise bad_request("The partition key header must be a JSON array.")
    return tuple(_component(value) for value in values)


def _component(value: Value) -> Value:
    if value == {}:
        return UNDEFINED
    if isinstance(value, (list, dict)):
        raise bad_request("A partition key value is a string, a number, a boolean or null.")
    return value


def key_text(values: Sequence[Value]) -> str:
    """The canonical text: 42.0 and 42 are one key."""
    plain = [{} if value is UNDEFINED else number(value) if is_number(value) else value for value in values]
    return orjson.dumps(plain).decode()


def effective_key(values: Sequence[Value], hierarchical: bool) -> str:
    """Where a key lies in the hash ring, exactly as the SDKs compute it (version 2)."""
    parts = [_encode(value) for value in values]
    if hierarchical:
        return "".join(_ring_place(part) for part in parts)
    return _ring_place(b"".join(parts))


def prefix_range(values: Sequence[Value]) -> tuple[str, str]:
    """The half-open ring range that holds all keys starting with the given levels."""
    start = effective_key([{} if value is UNDEFINED else value for value in values], hierarchical=True)
    return start, start + EPK_END


def _ring_place(data: bytes) -> str:
    low, high = murmur3_128(data)
    place = bytearray(high.to_bytes(8, "big") + low.to_bytes(8, "big"))
    place[0] &= 0x3F  # keeps every key below FF, the exclusive end of the ring
    return place.hex().upper()


def _encode(value: Value) -> bytes:
    if value is True:
        return b"\x03"
    if value is False:
        return b"\x02"
    if value is None:
        return b"\x01"
    if isinstance(value, str):
        return b"\x08" + value.encode() + b"\xff"
    if is_number(value):
        return b"\x05" + struct.pack("<d", float(value))
    return b"\x00"


def parse_path(path: Any) -> tuple[str, ...]:
    """The steps of a path such as `/address/city` or `/"a b"/c`.

    Raises:
        CosmosError: 400, not a path.
    """
    if not isinstance(path, str):
        raise bad_request("A path must be a string such as /tenant.")
    steps, at = [], 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            break
        steps.append(found[1] if found[1] is not None else found[2])
        at = found.end()
    if not steps or at != len(path):
        raise bad_request(f"{path!r} is not a path; it starts with '/' and names a property, as /tenant.")
    return tuple(steps)


def _follow(document: dict[str, Any], path: tuple[str, ...]) -> Value:
    value: Value = document
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return UNDEFINED
        value = value[step]
    if isinstance(value, dict):
        return UNDEFINED
    if isinstance(value, list):
        raise CosmosError(400, f"The partition key path /{'/'.join(path)} holds an array; it must be a simple value.")
    return value


def follow(document: Value, path: Sequence[str]) -> Value:
    """The value at a path of property names, or undefined."""
    value = document
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return UNDEFINED
        value = value[step]
    return value
