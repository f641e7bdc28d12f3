"""Runs a query over one container and gives it page by page.

Two ways. *Streaming*: SQLite hands out documents in the final order (its own row order, or a pushed ORDER BY), and a page ends
where it is full; the next one goes on behind the last document's sort key and row id, so that rows which come or go in
between are neither doubled nor lost. *Gathering*: the whole result is made first (GROUP BY, aggregates, DISTINCT, an order
that SQLite cannot do), and a page is cut out of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from local.cosmos.errors import bad_request
from local.cosmos.jsonvalue import UNDEFINED, Value
from local.cosmos.query.evaluator import Environment
from local.cosmos.query.keyset import State, after, order_by
from local.cosmos.query.pipeline import Compiled, Descending
from local.cosmos.query.plan import Plan

MAX_PAGE_BYTES = 4 * 1024 * 1024  # https://learn.microsoft.com/azure/cosmos-db/concepts-limits#per-request-limits


class TooLongInline(Exception):
    """The query needs more work than the event loop may give: run it again in a thread."""


@dataclass(slots=True)
class Target:
    """The documents that a request may see, as SQL; the query text cannot widen it. `start` is their lowest ring place."""

    table: str
    where: str
    binds: tuple[Value, ...]
    start: str


@dataclass(slots=True)
class Page:
    """One page of a result: rows as JSON text, the state to go on from, and the work done."""

    rows: list[bytes] = field(default_factory=list)
    state: State | None = None
    loaded: int = 0
    loaded_bytes: int = 0
    bytes_out: int = 0


@dataclass(frozen=True, slots=True)
class QueryRun:
    """Everything that one page of a query depends on."""

    plan: Plan
    target: Target
    parameters: Mapping[str, Value]
    size: int  # rows in the page
    state: State | None  # where the last page ended


def run_page(db: sqlite3.Connection, query: QueryRun, budget: int | None = None) -> Page:
    """Run a query until a page is full.

    Args:
        budget: documents that may be evaluated before giving up.

    Raises:
        CosmosError: 400, the query cannot be answered.
        TooLongInline: the budget is used up.
    """
    plan, state, size = query.plan, query.state, query.size
    compiled = plan.compiled
    env: Environment = [UNDEFINED] * compiled.scope.width[0]
    env[0] = query.parameters
    run = _Run(db, plan, query.target, env, budget)
    offset, limit = compiled.bounds(env)
    if plan.counts and compiled.root:
        return run.count(limit, offset)
    if plan.streams:
        return run.stream(size, state or {}, offset, limit)
    return run.gather(size, state or {}, offset, limit)


@dataclass(slots=True)
class _Run:
    db: sqlite3.Connection
    plan: Plan
    target: Target
    env: Environment
    budget: int | None
    page: Page = field(default_factory=Page)

    def count(self, limit: int | None, offset: int) -> Page:
        sql, binds = self._select("count(*)", "", ())
        total = self.db.execute(sql, binds).fetchone()[0]
        self.env[self.plan.count_slot] = total
        value = self.plan.compiled.project(self.env)
        self.page.rows = [orjson.dumps(value)][offset : None if limit is None else offset + limit]
        return self.page

    def stream(self, size: int, state: State, offset: int, limit: int | None) -> Page:
        page, emitted = self.page, int(state.get("e", 0))
        room = size if limit is None else min(size, limit - emitted)
        skip = 0 if state else offset
        if room <= 0:
            return page
        if self.plan.whole_documents:
            return self._whole(state, skip, room, emitted, limit)
        rows = self._streamed(state, skip + room + 1 if self.plan.exact else None)
        last: State = {}
        for number, (text, position) in enumerate(rows):
            if number < skip:
                continue
            if self._full(room):
                page.state = self._go_on(last, emitted, limit)
                return page
            self._give(text)
            last = position
        return page

    def _full(self, room: int) -> bool:
        return len(self.page.rows) >= room or self.page.bytes_out >= MAX_PAGE_BYTES

    def _give(self, text: bytes) -> None:
        self.page.rows.append(text)
        self.page.bytes_out += len(text)

    def _go_on(self, last: State, emitted: int, limit: int | None) -> State | None:
        """The state behind the rows of this page, or None if LIMIT or TOP is reached."""
        total = emitted + len(self.page.rows)
        return {**last, "e": total} if limit is None or total < limit else None

    def _whole(self, state: State, skip: int, room: int, emitted: int, limit: int | None) -> Page:
        """Documents as they are stored: nothing is parsed."""
        keys, page = self.plan.pushed.order or (), self.page
        columns = "CAST(body AS BLOB), rid" + "".join(f", {place.rank}, {place.value}" for place, _ in keys)
        passed, last = 0, None
        for bound, binds in after(keys, state, inclusive=False):
            sql, all_binds = self._select(columns, bound, binds)
            for row in self.db.execute(f"{sql}{order_by(keys)} LIMIT ?", (*all_binds, skip + room + 1 - passed)):
                passed += 1
                if passed <= skip:
                    continue
                if last is not None and self._full(room):
                    page.state = self._go_on({"r": last[1], "n": 1, "k": last[2:]}, emitted, limit)
                    page.loaded, page.loaded_bytes = len(page.rows), page.bytes_out
                    return page
                self._give(row[0])
                last = row
        page.loaded, page.loaded_bytes = len(page.rows), page.bytes_out
        return page

    def _streamed(self, state: State, sql_limit: int | None) -> Iterator[tuple[bytes, State]]:
        """Rows as text, each with its position; `n` counts the rows of one document."""
        keys = self.plan.pushed.order or ()
        columns = "rid, body" + "".join(f", {place.rank}, {place.value}" for place, _ in keys)
        started_in, passed = state.get("r"), int(state.get("n", 0))
        for bound, binds in after(keys, state, inclusive=not self.plan.exact):
            sql, all_binds = self._select(columns, bound, binds)
            sql += order_by(keys)
            if sql_limit is not None:
                sql += f" LIMIT {int(sql_limit)}"
            for row in self.db.execute(sql, all_binds):
                for number, text in enumerate(self._texts(row[1])):
                    if row[0] == started_in and number < passed:
                        continue
                    yield text, {"r": row[0], "n": number + 1, "k": row[2:]}

    def _texts(self, body: str) -> Iterator[bytes]:
        for _ in self._rows(body):
            value = self.plan.compiled.project(self.env)
            if value is not UNDEFINED:
                yield orjson.dumps(value)

    def _rows(self, body: str) -> Iterator[None]:
        self._spend(body)
        self.env[self.plan.compiled.root] = orjson.loads(body)
        return self.plan.compiled.matched(self.env)

    def _spend(self, body: str) -> None:
        self.page.loaded += 1
        self.page.loaded_bytes += len(body)
        if self.budget is not None and self.page.loaded > self.budget:
            raise TooLongInline

    def gather(self, size: int, state: State, offset: int, limit: int | None) -> Page:
        compiled, page = self.plan.compiled, self.page
        if not compiled.order or compiled.aggregation is not None or compiled.distinct:
            values = compiled.finish(self.env, self._all_rows())
            start = int(state.get("s", 0))
            for value in islice(values, start, start + size + 1):
                if self._full(size):
                    page.state = {"s": start + len(page.rows)}
                    break
                self._give(orjson.dumps(value))
            return page
        found = self._sorted(compiled)
        emitted = int(state.get("e", 0))
        if state:
            place = (
                _keys_of(compiled, state["k"]),
                state["r"] if not compiled.order[0][1] else Descending(state["r"]),
                state["n"],
            )
            found = [row for row in found if row[0] > place]
        else:
            found = found[offset:]
        room = size if limit is None else min(size, limit - emitted)
        last: State = {}
        for _, value, position in found if room > 0 else ():
            if self._full(room):
                page.state = self._go_on(last, emitted, limit)
                break
            self._give(orjson.dumps(value))
            last = position
        return page

    def _sorted(self, compiled: Compiled) -> list[tuple[Any, Value, State]]:
        found: list[tuple[Any, Value, State]] = []
        downwards = compiled.order[0][1]
        for rid, number in self._numbered_rows():
            keys = compiled.sort_keys(self.env)
            value = compiled.project(self.env)
            if value is not UNDEFINED:
                place = (keys, Descending(rid) if downwards else rid, number)
                plain = [key.key if isinstance(key, Descending) else key for key in keys]
                found.append((place, value, {"k": plain, "r": rid, "n": number}))
        found.sort(key=lambda row: row[0])
        return found

    def _all_rows(self) -> Iterator[None]:
        for _ in self._numbered_rows():
            yield

    def _numbered_rows(self) -> Iterator[tuple[int, int]]:
        if not self.plan.compiled.root:
            yield from ((0, number) for number, _ in enumerate(self.plan.compiled.matched(self.env)))
            return
        sql, binds = self._select("rid, body", "", ())
        for rid, body in self.db.execute(f"{sql} ORDER BY rid", binds):
            for number, _ in enumerate(self._rows(body)):
                yield rid, number

    def _select(self, columns: str, bound: str, binds: tuple[Value, ...]) -> tuple[str, tuple[Value, ...]]:
        clauses, values = [self.target.where], list(self.target.binds)
        for fragment in self.plan.pushed.where:
            clauses.append(fragment.sql)
            values.extend(fragment.binds)
        if bound:
            clauses.append(bound)
            values.extend(binds)
        return f"SELECT {columns} FROM {self.target.table} WHERE {' AND '.join(clauses)}", tuple(values)


def _keys_of(compiled: Compiled, plain: list[Any]) -> tuple[Any, ...]:
    keys = [tuple(key) for key in plain]
    if len(keys) != len(compiled.order):
        raise bad_request("The continuation token does not fit this query.")
    return tuple(
        Descending(key) if descending else key for key, (_, descending) in zip(keys, compiled.order, strict=True)
    )
