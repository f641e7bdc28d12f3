"""The tenant-scoped door to the store: no method lacks the organization, and it is the partition key of every call."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from shared.platform.clock import Clock, rfc3339
from shared.platform.errors import NotFound, PreconditionFailed
from shared.platform.ids import OrgId
from shared.store.batch import CONFLICT_ATTEMPTS, Batch, check_patch
from shared.store.client import Database
from shared.store.containers import CONTAINERS
from shared.store.cursors import Cursors
from shared.store.documents import UNSTAMPED, Document
from shared.store.query import Slice, Where, conditions, listing
from shared.store.writing import Operation, check_id, if_match, new_write_id, ours_or, read, write

D = TypeVar("D", bound=Document)
MAX_PAGE: Final = 100


class Store:
    """Typed documents of one organization at a time.

    Every method takes the organization first. For a model in a container with a hierarchical key, `sub` is the value
    of the second level (`store.get(org, MetricHour, id, sub="srv_..."`); lists may leave it out.
    """

    def __init__(self, database: Database, clock: Clock, cursors: Cursors) -> None:
        self._database, self._clock, self._cursors = database, clock, cursors

    async def get(self, org: OrgId, model: type[D], id: str, *, sub: str | None = None) -> D:
        """Read one document by its id (a point read).

        Raises:
            NotFound: there is none with that id and of that type in this organization.
        """
        key, what = _key(org, model, sub), f"{model.__name__} {id}"
        raw = await read(self._database, model.container, key, id, what)
        if raw.get("type") != model.type_name():
            raise NotFound(f"{what} does not exist")
        return model.from_wire(raw)

    async def find(self, org: OrgId, model: type[D], id: str, *, sub: str | None = None) -> D | None:
        """As `get`, but None when there is none."""
        try:
            return await self.get(org, model, id, sub=sub)
        except NotFound:
            return None

    async def page(
        self,
        org: OrgId,
        model: type[D],
        *,
        filters: Mapping[str, Any] | None = None,
        where: Sequence[Where] = (),
        sort: str = "-id",
        limit: int = 50,
        cursor: str | None = None,
        sub: str | None = None,
    ) -> Slice[D]:
        """One page of documents: `filters` are equalities (None values are skipped), `where` all other conditions.

        Raises:
            BadCursor: the cursor is not of this list with these filters in this organization.
        """
        key = _key(org, model, sub, prefix=True)
        equal = [Where(name, "=", value) for name, value in (filters or {}).items() if value is not None]
        sql, parameters = listing(model, [*equal, *where], sort)
        binding = "\x1f".join((*key, model.container, sql, repr(parameters)))
        token = self._cursors.open(binding, cursor) if cursor else None
        rows, token = await self._page(model, key, sql, parameters, min(max(limit, 1), MAX_PAGE), token)
        return Slice([model.from_wire(row) for row in rows], self._cursors.seal(binding, token) if token else None)

    async def count(
        self,
        org: OrgId,
        model: type[D],
        *,
        filters: Mapping[str, Any] | None = None,
        where: Sequence[Where] = (),
        sub: str | None = None,
    ) -> int:
        """How many documents match."""
        equal = [Where(name, "=", value) for name, value in (filters or {}).items() if value is not None]
        clause, parameters = conditions(model, [*equal, *where])
        rows = await self.select(org, model, f"SELECT VALUE COUNT(1) FROM c WHERE {clause}", parameters, sub=sub)  # noqa: S608 - field names are checked, values are parameters
        return int(rows[0]) if rows else 0

    async def select(
        self,
        org: OrgId,
        model: type[D],
        sql: str,
        parameters: Sequence[Mapping[str, Any]] = (),
        *,
        sub: str | None = None,
    ) -> list[Any]:
        """All rows of a query of our own over the model's container, inside the organization. For aggregates."""
        key = _key(org, model, sub, prefix=True)
        rows: list[Any] = []
        token: str | None = None
        while True:
            more, token = await self._page(model, key, sql, list(parameters), MAX_PAGE, token)
            rows += more
            if token is None:
                return rows

    async def create(self, org: OrgId, document: D) -> D:
        """Store a new document; the stored one, with its ETag and times.

        Raises:
            AlreadyExists: the id is taken.
        """
        now = self._clock.now()
        document = document.model_copy(update={"created_at": now, "updated_at": now})
        return await self._write("create", org, document)

    async def replace(self, org: OrgId, document: D) -> D:
        """Store a changed document if it is still as it was read (its ETag).

        Raises:
            PreconditionFailed: somebody changed it since.
            NotFound: somebody deleted it since.
        """
        if document.etag is None:
            raise ValueError(f"{document.id} was never read: a replace needs the ETag")
        return await self._write("replace", org, document.model_copy(update={"updated_at": self._clock.now()}))

    async def upsert(self, org: OrgId, document: D) -> D:
        """Store it whatever is there. Only for documents with a single writer, such as observed state."""
        now = self._clock.now()
        created = now if document.created_at == UNSTAMPED else document.created_at
        return await self._write("upsert", org, document.model_copy(update={"created_at": created, "updated_at": now}))

    async def patch(
        self,
        org: OrgId,
        model: type[D],
        id: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        etag: str | None = None,
        condition: str | None = None,
        sub: str | None = None,
    ) -> D:
        """Change some fields (`[{"op": "set", "path": "/state", "value": "ready"}]`, at most 8 operations).

        Never count with `incr` without an ETag here: a retried write would count twice. Use a batch.

        Raises:
            NotFound: there is no such document.
            PreconditionFailed: the ETag or the condition (`from c where c.free > 0`) does not hold.
        """
        if not etag and any(operation["op"] == "incr" for operation in operations):
            raise ValueError("incr may be applied twice when a write is retried: give the ETag, or use a batch")
        check_patch(model, operations)
        key = _key(org, model, sub)
        changes = [*map(dict, operations), {"op": "set", "path": "/updated_at", "value": rfc3339(self._clock.now())}]
        options = if_match(etag)
        if condition:
            options["filter_predicate"] = condition
        what, mark = f"{model.__name__} {id}", new_write_id()
        check_id(id, what)
        changes.append({"op": "set", "path": "/write_id", "value": mark})

        def act(container: Any, hook: Any) -> Any:
            return container.patch_item(id, key, changes, response_hook=hook, **options)

        try:
            raw = await self._database.call("patch", model.container, what, act, repeatable=True)
        except PreconditionFailed as refusal:
            raw = await ours_or(refusal, self._database, model.container, key, id, mark, what)
        return model.from_wire(raw)

    async def delete(
        self, org: OrgId, model: type[D], id: str, *, etag: str | None = None, sub: str | None = None
    ) -> None:
        """Delete one document; with an ETag only if unchanged.

        Raises:
            NotFound: there is no such document.
            PreconditionFailed: somebody changed it since.
        """
        key, what = _key(org, model, sub), f"{model.__name__} {id}"
        check_id(id, what)
        await self._database.call(
            "delete",
            model.container,
            what,
            lambda c, hook: c.delete_item(id, key, response_hook=hook, **if_match(etag)),
        )

    async def update(
        self,
        org: OrgId,
        model: type[D],
        id: str,
        change: Callable[[D], D],
        *,
        etag: str | None = None,
        sub: str | None = None,
    ) -> D:
        """Read, change, replace; after a conflict with another writer from the start, and give back what was stored.

        `change` is pure and may run several times; when it gives back the very document it got, nothing is written.
        With `etag` (a caller's If-Match) a document that is no longer the same is refused instead of tried again.

        Raises:
            PreconditionFailed: the ETag does not fit, or 8 attempts each met another writer.
        """
        for attempt in range(CONFLICT_ATTEMPTS):
            current = await self.get(org, model, id, sub=sub)
            if etag is not None and current.etag != etag:
                raise PreconditionFailed(f"{model.__name__} {id} was changed in the meantime")
            changed = change(current)
            if changed is current:
                return current
            try:
                return await self.replace(org, changed)
            except PreconditionFailed:
                if etag is not None or attempt == CONFLICT_ATTEMPTS - 1:
                    raise
            await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - spreads writers, no secret
        raise AssertionError("unreachable")

    def batch(self, org: OrgId, *, container: str = "tenants", sub: str | None = None) -> Batch:
        """A transactional batch in the organization's partition."""
        return Batch(self._database, self._clock, org, container, _partition(org, container, sub))

    async def _write(self, operation: Operation, org: OrgId, document: D) -> D:
        if document.org_id != org:
            raise ValueError(f"{document.id} is not of {org}")
        raw = await write(
            self._database,
            operation,
            document.container,
            _key(org, type(document), _sub_of(document)),
            document.to_wire(),
            what=f"{type(document).__name__} {document.id}",
            etag=document.etag if operation == "replace" else None,
        )
        return document.model_copy(update={"etag": raw["_etag"]})

    async def _page(
        self, model: type[D], key: list[str], sql: str, parameters: list[Any], limit: int, token: str | None
    ) -> tuple[list[Any], str | None]:
        """One page that has rows, or the last one. The continuation is read from the response of exactly this page."""

        async def act(container: Any, hook: Any) -> tuple[list[Any], str | None]:
            following: list[str | None] = [token]

            def noted(headers: Any, *rest: Any) -> None:
                following[0] = headers.get("x-ms-continuation")
                hook(headers, *rest)

            pages = container.query_items(
                sql, parameters=parameters, partition_key=key, max_item_count=limit, response_hook=noted
            ).by_page(token)
            async for page in pages:
                rows = [row async for row in page]
                if rows or following[0] is None:
                    return rows, following[0]
            return [], None

        return await self._database.call("query", model.container, model.__name__, act)


def _partition(org: OrgId, container: str, sub: str | None, *, prefix: bool = False) -> list[str]:
    """The partition key of a call. An empty organization is refused before the SDK could widen the query."""
    if not org:
        raise ValueError("a call to the store needs an organization")
    if CONTAINERS[container].sub_key is None:
        return [org]
    if sub:
        return [org, sub]
    if prefix:
        return [org]
    raise ValueError(f"{container} needs the second level of its key ({CONTAINERS[container].sub_key})")


def _key(org: OrgId, model: type[Document], sub: str | None, *, prefix: bool = False) -> list[str]:
    return _partition(org, model.container, sub, prefix=prefix)


def _sub_of(document: Document) -> str | None:
    field = CONTAINERS[document.container].sub_key
    return str(getattr(document, field)) if field else None
