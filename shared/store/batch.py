"""Transactional batch: up to 100 writes in one organization's partition, all or none."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from shared.platform.clock import Clock, rfc3339
from shared.platform.errors import AlreadyExists, Fault, NotFound, PreconditionFailed
from shared.platform.ids import OrgId
from shared.store.documents import Document
from shared.store.errors import BatchFailed, fault_for
from shared.store.writing import check_id, new_write_id, read

if TYPE_CHECKING:
    from shared.store.client import Database

T = TypeVar("T")
CONFLICT_ATTEMPTS: Final = 8
MAX_OPERATIONS: Final = 100
Operation = tuple[Any, ...]


async def again_on_conflict(act: Callable[[], Awaitable[T]]) -> T:
    """Do it; when another writer was faster, do it again from reading on. For batches of what was just read.

    Raises:
        PreconditionFailed: 8 attempts each met another writer.
    """
    for attempt in range(CONFLICT_ATTEMPTS - 1):
        try:
            return await act()
        except PreconditionFailed:
            await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - spreads writers, no secret
    return await act()


def check_patch(model: type[Document], operations: Sequence[Mapping[str, Any]]) -> None:
    """What is indexed stands in a document twice, so it is changed by replacing the document.

    Raises:
        ValueError: a patch touches an indexed field.
    """
    roots = {field.partition(".")[0] for field in model.indexed}
    for operation in operations:
        if str(operation["path"]).strip("/").split("/")[0] in roots:
            raise ValueError(f"{operation['path']} of {model.__name__} is indexed: replace the document")


class Batch:
    """Collects writes and commits them at once: `await store.batch(org).create(a).replace(b).commit()`."""

    def __init__(self, database: Database, clock: Clock, org: OrgId, container: str, key: list[str]) -> None:
        self._database, self._org = database, org
        self.at = clock.now()  # the time that its documents are stamped with
        self._container, self._key = container, key
        self._operations: list[Operation] = []
        self._models: list[type[Document]] = []
        self._ids: list[str] = []
        self._mark = new_write_id()
        self._marked: str | None = None  # the first document that carries our mark

    def __len__(self) -> int:
        return len(self._operations)

    def create(self, document: Document) -> Self:
        """Create it; refused when it exists."""
        return self._add(type(document), document.id, ("create", (self._body(document, new=True),)))

    def upsert(self, document: Document) -> Self:
        """Create or replace it, whatever is there."""
        return self._add(type(document), document.id, ("upsert", (self._body(document, new=False),)))

    def replace(self, document: Document) -> Self:
        """Replace it if it is still as it was read (its ETag)."""
        if document.etag is None:
            raise ValueError(f"{document.id} was never read: a replace needs the ETag")
        body = self._body(document, new=False)
        return self._add(
            type(document), document.id, ("replace", (document.id, body), {"if_match_etag": document.etag})
        )

    def delete(self, model: type[Document], id: str, *, etag: str | None = None) -> Self:
        """Delete it; with an ETag only if unchanged."""
        check_id(id, f"{model.__name__} {id}")
        options = {"if_match_etag": etag} if etag else {}
        return self._add(model, id, ("delete", (id,), options))

    def patch(
        self,
        model: type[Document],
        id: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        etag: str | None = None,
        condition: str | None = None,
    ) -> Self:
        """Patch it (`[{"op": "set", "path": "/state", "value": "ready"}]`), with an ETag only if unchanged.

        `condition` is a filter (`from c where c.free >= 2048`) whose failing refuses the whole batch.
        """
        check_patch(model, operations)
        check_id(id, f"{model.__name__} {id}")
        stamps = [
            {"op": "set", "path": "/updated_at", "value": rfc3339(self.at)},
            {"op": "set", "path": "/write_id", "value": self._mark},
        ]
        self._marked = self._marked or id
        options: dict[str, Any] = {"if_match_etag": etag} if etag else {}
        if condition:
            options["filter_predicate"] = condition
        return self._add(model, id, ("patch", (id, [*map(dict, operations), *stamps]), options))

    async def commit(self) -> list[Document | None]:
        """Write everything or nothing; the written documents in order, None for a delete.

        Raises:
            Fault: the refusal of the first operation that was refused (AlreadyExists, NotFound,
                PreconditionFailed, ...); its `__cause__` is a `BatchFailed` that names the operation.
        """
        if not self._operations:
            return []
        try:
            replies = await self._database.call(
                "batch", self._container, "the batch", self._execute, repeatable=self._marked is not None
            )
        except Fault as fault:
            if await self._applied_after_all(fault):
                return await self._read_all()
            failed = self._failed(fault.__cause__)
            if failed is None:
                raise
            name = self._models[failed.index].__name__
            raise fault_for(failed.status, f"{name} {failed.id}", fault.retry_after) from failed
        return [self._read(model, reply) for model, reply in zip(self._models, replies, strict=True)]

    async def _execute(self, container: Any, hook: Any) -> list[dict[str, Any]]:
        replies = await container.execute_item_batch(self._operations, partition_key=self._key)
        hook(dict(replies.get_response_headers()))
        return list(replies)

    async def _applied_after_all(self, fault: Fault) -> bool:
        """Whether a conflict is with our own first attempt, whose answer was lost (see `writing`)."""
        if self._marked is None or not isinstance(fault, (AlreadyExists, PreconditionFailed, NotFound)):
            return False
        try:
            stored = await read(self._database, self._container, self._key, self._marked, "the batch")
        except NotFound:
            return False
        return bool(stored.get("write_id") == self._mark)

    async def _read_all(self) -> list[Document | None]:
        found: list[Document | None] = []
        for model, id, operation in zip(self._models, self._ids, self._operations, strict=True):
            if operation[0] == "delete":
                found.append(None)
            else:
                found.append(model.from_wire(await read(self._database, self._container, self._key, id, id)))
        return found

    def _add(self, model: type[Document], id: str, operation: Operation) -> Self:
        if len(self._operations) == MAX_OPERATIONS:
            raise ValueError(f"a batch takes {MAX_OPERATIONS} operations")
        if model.container != self._container:
            raise ValueError(f"{model.__name__} lives in {model.container}, this batch in {self._container}")
        self._operations.append(operation)
        self._models.append(model)
        self._ids.append(id)
        return self

    def _body(self, document: Document, *, new: bool) -> dict[str, Any]:
        if document.org_id != self._org:
            raise ValueError(f"{document.id} is not of {self._org}")
        body = document.to_wire()
        body["updated_at"], body["write_id"] = rfc3339(self.at), self._mark
        self._marked = self._marked or document.id
        if new or body["created_at"].startswith("1970-"):
            body["created_at"] = body["updated_at"]
        return body

    def _failed(self, error: BaseException | None) -> BatchFailed | None:
        """Which operation the SDK's error is about; None when it is about the batch as a whole."""
        index = getattr(error, "error_index", None)
        if index is None:
            return None
        return BatchFailed(index, self._operations[index][0], self._ids[index], int(getattr(error, "status_code", 0)))

    @staticmethod
    def _read(model: type[Document], reply: dict[str, Any]) -> Document | None:
        body = reply.get("resourceBody")
        return model.from_wire(body) if body else None
