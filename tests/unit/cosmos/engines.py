"""Helpers of these tests: queries over documents held in a real database file, by either path."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson

from local.cosmos import documents
from local.cosmos.indexing import check_definition
from local.cosmos.model import Container
from local.cosmos.query.execution import QueryRun, Target, run_page
from local.cosmos.query.plan import make_plan
from local.cosmos.storage import Storage

NOW = 1_800_000_000


def open_storage(folder: Path) -> Storage:
    """A fresh data file."""

    def fail(error: Exception) -> None:
        raise error

    return Storage(folder / "cosmos.db", synchronous="NORMAL", on_failure=fail)


def fill(storage: Storage, items: list[dict[str, Any]], **definition: Any) -> Container:
    """A container with `items`, partitioned by /pk."""

    async def write() -> Container:
        database = storage.add_database("d", NOW)
        body = {"partitionKey": {"paths": ["/pk"]}, **definition}
        container = storage.add_container(database, "c", check_definition(body), NOW)
        with storage.committer.unit() as db:
            for item in items:
                document = {**item}
                documents.create(db, container, container.key.of_document(document), document, NOW)
        await storage.committer.committed()
        return container

    return asyncio.run(write())


def everything(container: Container) -> Target:
    """The whole container."""
    return Target(container.table, "1", (), "")


def query(
    storage: Storage,
    container: Container,
    text: str,
    parameters: dict[str, Any] | None = None,
    *,
    push_down: bool = True,
    page: int = 1000,
) -> list[Any]:
    """All rows of a query, page by page."""
    plan = make_plan(text, parameters or {}, push_down=push_down)
    rows: list[bytes] = []
    state = None
    while True:
        found = run_page(storage.reader, QueryRun(plan, everything(container), parameters or {}, page, state))
        rows += found.rows
        # What goes over the wire in a token must survive JSON.
        state = None if found.state is None else orjson.loads(orjson.dumps(found.state))
        if state is None:
            return [orjson.loads(row) for row in rows]
