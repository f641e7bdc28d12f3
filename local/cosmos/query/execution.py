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
from local.cosmos.query.pipeline import Compiled, Descending
from local.cosmos.query.plan import Plan
from local.cosmos.query.properties import Property

State = dict[str, Any]


class TooLongInline(Exception):
    """The query needs more work than the event loop may give: run it again in a thread."""


@dataclass(slots=True)
class Target:
    """The documents that a request may see, as SQL; the query text cannot widen it."""

    table: str
    where: str
    binds: tuple[Value, ...]


@dataclass(slots=True)
class Page:
    """One page of a result: rows as JSON text, the state to go on from, and the work done."""

    rows: list[bytes] = field(default_factory=list)
    state: State | None = None
    loaded: int = 0
    loaded_bytes: int = 0


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
        skipped = 0
        for text, position in rows:
            if skipped < skip:
                skipped += 1
                continue
            if len(page.rows) == room:
                page.state = {**last, "e": emitted + room} if limit is None or emitted + room < limit else None
                return page
            page.rows.append(text)
            last = position
        return page

    def _whole(self, state: State, skip: int, room: int, emitted: int, limit: int | None) -> Page:
        """Documents as they are stored: nothing is parsed."""
        keys, page = self.plan.pushed.order or (), self.page
        columns = "CAST(body AS BLOB), rid" + "".join(f", {place.rank}, {place.value}" for place, _ in keys)
        found: list[tuple[Any, ...]] = []
        for bound, binds in _after(keys, state, inclusive=False):
            if len(found) > skip + room:
                break
            sql, all_binds = self._select(columns, bound, binds)
            found += self.db.execute(
                f"{sql}{_order(keys)} LIMIT ?", (*all_binds, skip + room + 1 - len(found))
            ).fetchall()
        kept = found[skip : skip + room]
        page.rows = [row[0] for row in kept]
        page.loaded, page.loaded_bytes = len(kept), sum(map(len, page.rows))
        if len(found) > skip + room and (limit is None or emitted + room < limit):
            page.state = {"r": kept[-1][1], "n": 1, "k": kept[-1][2:], "e": emitted + room}
        return page

    def _streamed(self, state: State, sql_limit: int | None) -> Iterator[tuple[bytes, State]]:
        """Rows as text, each with its position; `n` counts the rows of one document."""
        keys = self.plan.pushed.order or ()
        columns = "rid, body" + "".join(f", {place.rank}, {place.value}" for place, _ in keys)
        started_in, passed = state.get("r"), int(state.get("n", 0))
        for bound, binds in _after(keys, state, inclusive=not self.plan.exact):
            sql, all_binds = self._select(columns, bound, binds)
            sql += _order(keys)
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
            chunk = list(islice(values, start, start + size + 1))
            page.rows = [orjson.dumps(value) for value in chunk[:size]]
            page.state = {"s": start + size} if len(chunk) > size else None
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
        page.rows = [orjson.dumps(value) for _, value, _ in found[:room]]
        if len(found) > room and (limit is None or emitted + room < limit) and room > 0:
            page.state = {**found[room - 1][2], "e": emitted + room}
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


def _order(keys: tuple[tuple[Property, bool], ...]) -> str:
    if not keys:
        return " ORDER BY rid"
    words: list[str] = []
    for place, descending in keys:
        way = " DESC" if descending else ""
        words.extend((f"{place.rank}{way}", f"{place.value}{way}"))
    # Equal keys follow the first key's direction, so that one index scan in either direction serves the whole order.
    words.append("rid DESC" if keys[0][1] else "rid")
    return " ORDER BY " + ", ".join(words)


def _after(
    keys: tuple[tuple[Property, bool], ...], state: State, *, inclusive: bool
) -> list[tuple[str, tuple[Value, ...]]]:
    """Conditions for the rows behind the last one, to be run one after the other.

    Args:
        inclusive: the last document may have more rows, so it is read again.

    First come the rows of the same rank in the first key, then those of later ranks: an index on (R, V) can start right
    behind the last row of the first, and a single condition with OR between the two would make it start at the beginning.
    """
    if not state:
        return [("", ())]
    values = list(state.get("k", ()))
    if len(values) != 2 * len(keys) or not isinstance(state.get("r"), int):
        raise bad_request("The continuation token does not fit this query.")
    downwards = bool(keys) and keys[0][1]
    sql, binds = f"rid{'<' if downwards else '>'}{'=' if inclusive else ''}?", [state["r"]]
    columns = [(text, descending) for place, descending in keys for text in (place.rank, place.value)]
    for (column, descending), value in reversed(list(zip(columns, values, strict=True))[1:]):
        # NULL is the V of undefined and null; among equal ranks it is the only value.
        sql = f"({column}{'<' if descending else '>'}? OR ({column} IS ? AND {sql}))"
        binds = [value, value, *binds]
    if not keys:
        return [(sql, tuple(binds))]
    first, sign = keys[0][0], "<" if downwards else ">"
    if values[1] is not None:
        sql, binds = f"{first.value}{sign}=? AND {sql}", [values[1], *binds]
    return [(f"{first.rank}=? AND {sql}", (values[0], *binds)), (f"{first.rank}{sign}?", (values[0],))]
