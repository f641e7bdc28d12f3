"""Databases and containers as they are held in memory, and the ids they carry on the wire."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from local.cosmos.partition import KeyDefinition, parse_path
from local.cosmos.schema import items_table
from local.cosmos.terms import Terms


@dataclass(slots=True)
class Database:
    """A database."""

    rid: int
    id: str
    ts: int

    @property
    def resource_id(self) -> str:
        """`_rid` as the service shapes it."""
        return encode_rid(struct.pack(">I", self.rid))

    @property
    def self_link(self) -> str:
        """`_self`."""
        return f"dbs/{self.resource_id}/"

    def body(self) -> dict[str, Any]:
        """The resource on the wire."""
        return {
            "id": self.id,
            "_rid": self.resource_id,
            "_self": self.self_link,
            "_etag": etag(self.rid, 1),
            "_colls": "colls/",
            "_users": "users/",
            "_ts": self.ts,
        }


@dataclass(slots=True)
class Container:
    """A container, with what each request needs of its definition worked out once."""

    rid: int
    database: Database
    id: str
    definition: dict[str, Any]
    ts: int
    version: int
    lsn: int
    scan_only: bool
    key: KeyDefinition = field(init=False)
    table: str = field(init=False)
    resource_id: str = field(init=False)
    self_link: str = field(init=False)
    link: str = field(init=False)
    header_link: str = field(init=False)
    unique_paths: list[list[tuple[str, ...]]] = field(init=False)
    terms: Terms = field(init=False)
    indexes: set[str] = field(default_factory=set)
    served_orders: dict[str, int] = field(default_factory=dict)  # query text -> version that serves its ORDER BY

    def __post_init__(self) -> None:
        self.table = items_table(self.rid)
        self.resource_id = encode_rid(struct.pack(">II", self.database.rid, self.rid | 0x80000000))
        self.self_link = f"{self.database.self_link}colls/{self.resource_id}/"
        self.link = f"dbs/{self.database.id}/colls/{self.id}"
        self.header_link = quote(self.link, safe="/ !$&'()*+,;=:@")
        self.adopt(self.definition)

    def adopt(self, definition: dict[str, Any]) -> None:
        """Take a new definition."""
        self.definition = definition
        self.key = KeyDefinition.parse(definition.get("partitionKey"))
        keys = (definition.get("uniqueKeyPolicy") or {}).get("uniqueKeys") or []
        self.unique_paths = [[parse_path(path) for path in key["paths"]] for key in keys]
        self.terms = Terms(definition.get("indexingPolicy") or {})

    @property
    def default_ttl(self) -> int | None:
        """Seconds an item lives unless it says otherwise; -1: for ever unless it says so; None: time to live is off."""
        ttl: int | None = self.definition.get("defaultTtl")
        return ttl

    def next_lsn(self) -> int:
        """A number for the next write; numbers of writes that failed are left out."""
        self.lsn += 1
        return self.lsn

    def etag(self, lsn: int) -> str:
        """The ETag of the item version that the write `lsn` made."""
        return etag(self.rid, lsn)

    def item_rid(self, rid: int) -> str:
        """`_rid` of an item."""
        return encode_rid(struct.pack(">IIQ", self.database.rid, self.rid | 0x80000000, rid))

    def body(self) -> dict[str, Any]:
        """The resource on the wire."""
        return {
            **self.definition,
            "id": self.id,
            "_rid": self.resource_id,
            "_ts": self.ts,
            "_self": self.self_link,
            "_etag": etag(self.rid, self.version),
            "_docs": "docs/",
            "_sprocs": "sprocs/",
            "_triggers": "triggers/",
            "_udfs": "udfs/",
            "_conflicts": "conflicts/",
        }


def encode_rid(raw: bytes) -> str:
    """Base64 with `-` for `/`, as the service writes resource ids."""
    return base64.b64encode(raw).decode().replace("/", "-")


def etag(owner: int, version: int) -> str:
    """A quoted ETag, different for every version of every resource."""
    return f'"{owner:08x}-0000-0000-0000-{version:012x}"'
