"""Where a query runs: on the event loop while it is short, else in a thread; and the index it asks for by being long."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable

from local.cosmos.engine import Engine
from local.cosmos.model import Container
from local.cosmos.query.execution import Page, QueryRun, TooLongInline, run_page
from local.cosmos.query.indexes import COSTLY_STEPS, MAX_INDEXES, wanted_index
from local.cosmos.query.plan import Plan

INLINE_DOCUMENTS = 300  # documents evaluated in Python, about 2 ms; beyond that a query goes to a thread
INLINE_STEPS = 100_000  # SQLite instructions, about 3 ms
TICK_STEPS = 2_000
log = logging.getLogger("cosmos")


class _Steps:
    """Counts SQLite's instructions, and stops a statement that needs too many."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self.taken = 0

    def __call__(self) -> int:
        self.taken += TICK_STEPS
        return int(self._limit is not None and self.taken > self._limit)


def run_query(engine: Engine, container: Container, run: QueryRun) -> Page | Awaitable[Page]:
    """One page of a query: at once if it is short, else awaited.

    Raises:
        CosmosError: 400, it cannot be answered.
    """
    steps = _Steps(INLINE_STEPS)
    try:
        page = _counted(engine.storage.reader, steps, run)
    except TooLongInline:
        _index(engine, container, run.plan)
        return _in_thread(engine, run)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        if _index(engine, container, run.plan):
            return run_query(engine, container, run)
        return _in_thread(engine, run)
    if steps.taken > COSTLY_STEPS:
        _index(engine, container, run.plan)
    return page


def _counted(reader: sqlite3.Connection, steps: _Steps, run: QueryRun) -> Page:
    reader.set_progress_handler(steps, TICK_STEPS)
    try:
        return run_page(reader, run, INLINE_DOCUMENTS)
    finally:
        reader.set_progress_handler(None, 0)


async def _in_thread(engine: Engine, run: QueryRun) -> Page:
    def work() -> Page:
        with engine.storage.thread_reader() as connection:
            return run_page(connection, run)

    return await asyncio.get_running_loop().run_in_executor(engine.threads, work)


def _index(engine: Engine, container: Container, plan: Plan) -> bool:
    """Make the index that a costly query wants; whether one was made."""
    shape = wanted_index(plan.pushed, container.definition["indexingPolicy"])
    if shape is None or shape.name(container.table) in container.indexes or len(container.indexes) >= MAX_INDEXES:
        return False
    started = time.perf_counter()
    engine.storage.committer.flush()
    engine.storage.writer.execute(shape.statement(container.table))
    container.indexes.add(shape.name(container.table))
    paths = ", ".join("/" + "/".join(str(step) for step in column.steps) for column, _ in shape.columns)
    log.info("indexed %s by %s in %.0f ms", container.link, paths, 1000 * (time.perf_counter() - started))
    return True
