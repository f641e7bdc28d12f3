"""Where a query runs: on the event loop while it is short, else in a thread; and the index it asks for by being long."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from functools import partial
from typing import Any

from local.cosmos.engine import Engine
from local.cosmos.model import Container
from local.cosmos.query.execution import Page, Target, TooLongInline, run_page
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


async def run_query(
    engine: Engine,
    container: Container,
    plan: Plan,
    target: Target,
    parameters: dict[str, Any],
    size: int,
    state: dict[str, Any] | None,
) -> Page:
    """One page of a query.

    Raises:
        CosmosError: 400, it cannot be answered.
    """
    work = partial(run_page, plan=plan, target=target, parameters=parameters, size=size, state=state)
    steps = _Steps(INLINE_STEPS)
    try:
        page = _counted(engine.storage.reader, steps, partial(work, budget=INLINE_DOCUMENTS))
    except TooLongInline:
        _index(engine, container, plan)
        return await _in_thread(engine, work)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        if _index(engine, container, plan):
            return await run_query(engine, container, plan, target, parameters, size, state)
        return await _in_thread(engine, work)
    if steps.taken > COSTLY_STEPS:
        _index(engine, container, plan)
    return page


def _counted(reader: sqlite3.Connection, steps: _Steps, work: partial[Page]) -> Page:
    reader.set_progress_handler(steps, TICK_STEPS)
    try:
        return work(reader)
    finally:
        reader.set_progress_handler(None, 0)


async def _in_thread(engine: Engine, work: partial[Page]) -> Page:
    def run() -> Page:
        with engine.storage.thread_reader() as connection:
            return work(connection)

    return await asyncio.get_running_loop().run_in_executor(engine.threads, run)


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
