"""The only module that reaches the store without an organization.

What is looked up before the tenant is known lives here, and nothing else: users by (issuer, subject), hashes of
enrolment tokens and API keys, certificate thumbprints, nonces, idempotency records, rate windows; and the shards of the
fleet's liveness, which hold ids and times only. A test lists who imports this module; joining that list is a decision.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeVar

from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists, NotFound, PreconditionFailed
from shared.store.batch import CONFLICT_ATTEMPTS
from shared.store.client import Database
from shared.store.documents import UNSTAMPED, Stored
from shared.store.writing import Operation, check_id, if_match, read, write

E = TypeVar("E", bound="Unscoped")


class Unscoped(Stored):
    """A document outside every organization; its id is its partition key."""

    partition_field: ClassVar[str]


class DirectoryEntry(Unscoped):
    """A document of the directory. Subclasses give `type` a literal; make ids with `directory_id`."""

    container: ClassVar[str] = "directory"
    partition_field: ClassVar[str] = "key"


class FleetShard(Unscoped):
    """One shard of the fleet's liveness: ids and times of many nodes."""

    container: ClassVar[str] = "fleet"
    partition_field: ClassVar[str] = "shard"


class Burnt(DirectoryEntry):
    """Something that may be used once, and was (a token id, a proof's id)."""

    type: Literal["burnt"] = "burnt"


def directory_id(kind: str, *parts: str) -> str:
    """The id of a directory entry: the kind, and a SHA-256 of the parts, so that no secret and no address is stored.

    The parts are joined unambiguously: ("a", "bc") and ("ab", "c") give different ids.
    """
    digest = hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()
    return f"{kind}-{digest}"


class Directory:
    """Point access by id. There is no list and no query: nobody can walk the tenants from here."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    async def get(self, model: type[E], id: str) -> E:
        """Read one entry.

        Raises:
            NotFound: there is none.
        """
        raw = await read(self._database, model.container, id, id, f"{model.__name__} {id}")
        return model.from_wire(raw)

    async def find(self, model: type[E], id: str) -> E | None:
        """As `get`, but None when there is none."""
        try:
            return await self.get(model, id)
        except NotFound:
            return None

    async def create(self, entry: E) -> E:
        """Store a new entry.

        Raises:
            AlreadyExists: the id is taken. That this is decided by the store, and not by a read before the write, is
                what makes an entry usable as a lock and a nonce usable once.
        """
        now = self._clock.now()
        return await self._write("create", entry.model_copy(update={"created_at": now, "updated_at": now}))

    async def replace(self, entry: E) -> E:
        """Store a changed entry if it is still as it was read.

        Raises:
            PreconditionFailed: somebody changed it since.
        """
        if entry.etag is None:
            raise ValueError(f"{entry.id} was never read: a replace needs the ETag")
        return await self._write("replace", entry.model_copy(update={"updated_at": self._clock.now()}))

    async def upsert(self, entry: E) -> E:
        """Store it whatever is there."""
        now = self._clock.now()
        created = now if entry.created_at == UNSTAMPED else entry.created_at
        return await self._write("upsert", entry.model_copy(update={"created_at": created, "updated_at": now}))

    async def update(self, model: type[E], id: str, change: Callable[[E], E]) -> E:
        """Read, change, replace; from the start after a conflict; what was stored comes back.

        Raises:
            NotFound: there is no such entry.
            PreconditionFailed: 8 attempts each met another writer.
        """
        for attempt in range(CONFLICT_ATTEMPTS):
            current = await self.get(model, id)
            changed = change(current)
            if changed is current:
                return current
            try:
                return await self.replace(changed)
            except PreconditionFailed:
                if attempt == CONFLICT_ATTEMPTS - 1:
                    raise
            await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - spreads writers, no secret
        raise AssertionError("unreachable")

    async def delete(self, model: type[E], id: str, *, etag: str | None = None) -> None:
        """Delete one entry; with an ETag only if unchanged.

        Raises:
            NotFound: there is none.
        """
        check_id(id, model.__name__)
        await self._database.call(
            "delete",
            model.container,
            f"{model.__name__} {id}",
            lambda c, hook: c.delete_item(id, id, response_hook=hook, **if_match(etag)),
        )

    async def add(self, model: type[E], id: str, amounts: dict[str, int], ttl: int) -> dict[str, Any]:
        """Add to counters that need not be exact (rate windows): made with `ttl` seconds to live when absent.

        A retried write may count twice, so nothing that is billed or limited to the unit is counted here.
        """
        operations = [{"op": "incr", "path": f"/{name}", "value": amount} for name, amount in amounts.items()]

        def patch(container: Any, hook: Any) -> Any:
            return container.patch_item(id, id, operations, response_hook=hook)

        try:
            return dict(await self._database.call("count", model.container, id, patch))
        except NotFound:
            now = self._clock.now()
            entry = model.model_validate({"id": id, "ttl": ttl, "created_at": now, "updated_at": now, **amounts})
            try:
                await self._write("create", entry)
            except AlreadyExists:  # another instance made it between the two
                return dict(await self._database.call("count", model.container, id, patch))
            return dict(amounts)

    async def burn(self, kind: str, *parts: str, ttl: int) -> bool:
        """Use something up: True for the first caller, False for every later one within `ttl` seconds.

        The store's refusal of a second create is the guard; with 20 callers at once exactly one gets True.
        """
        try:
            await self.create(Burnt(id=directory_id(kind, *parts), ttl=max(1, ttl)))
        except AlreadyExists:
            return False
        return True

    async def _write(self, operation: Operation, entry: E) -> E:
        raw = await write(
            self._database,
            operation,
            entry.container,
            entry.id,
            {**entry.to_wire(), entry.partition_field: entry.id},
            what=f"{type(entry).__name__} {entry.id}",
            etag=entry.etag if operation == "replace" else None,
        )
        return entry.model_copy(update={"etag": raw["_etag"]})
