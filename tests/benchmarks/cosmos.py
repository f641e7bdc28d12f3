"""The Cosmos endpoint against the emulator on npm and bare SQLite, its growth with the data, and its memory."""

from __future__ import annotations

import time
from typing import Any

from tests.benchmarks.cosmos_load import MakeRequest
from tests.benchmarks.cosmos_sides import (
    DOCS,
    EACH,
    BareSqlite,
    NpmEmulator,
    Ours,
    Request,
    bare_batch,
    bare_create,
    bare_query,
    bare_read,
    create_batch,
    create_item,
    query_items,
    query_of,
    read_item,
)
from tests.benchmarks.harness import Aim, Bench, bench
from tests.benchmarks.machine import private_bytes

IDLE_SECONDS = 5.0
OURS, NPM, NPM_TLS, BARE = "ours", "npm emulator", "npm emulator over TLS", "bare SQLite"


def _against_both(run: Bench, make: MakeRequest, bare: Any, share: float) -> None:
    tls = NpmEmulator(NPM_TLS, make, tls=True)
    sides = [Ours(OURS, make), NpmEmulator(NPM, make), tls, BareSqlite(BARE, bare)]
    run.compare(sides, [Aim(OURS, NPM, "cpu", at_most=share), Aim(OURS, NPM_TLS, "cpu", at_most=share)])
    ours, floor = (run.result.figures.get(f"{name}: CPU us a unit") for name in (OURS, BARE))
    if isinstance(ours, float) and isinstance(floor, float):
        run.figure("CPU over bare SQLite", round(ours / floor, 1), "times")


@bench("cosmos-read")
def point_read(run: Bench) -> None:
    """A point read: server CPU against the emulator on npm and bare SQLite."""
    _against_both(run, read_item, bare_read, 0.25)


@bench("cosmos-create")
def create(run: Bench) -> None:
    """A create, synced to disk here and kept in memory there."""
    _against_both(run, create_item, bare_create, 1.0)


@bench("cosmos-batch")
def batch(run: Bench) -> None:
    """A batch of ten creates, atomic and synced here, neither there."""
    _against_both(run, create_batch, bare_batch, 1.0)


@bench("cosmos-query")
def query(run: Bench) -> None:
    """Twenty of a tenant's 500 items by a filter and an order."""
    _against_both(run, query_items, bare_query, 0.05)


def _one_tenant(_number: int) -> Request:
    return query_of(0)


def _read_of(tenants: int, each: int) -> MakeRequest:
    def make(number: int) -> Request:
        return (
            "GET",
            f"{DOCS}/item-{number * 31 % each:06}",
            b"",
            {"x-ms-documentdb-partitionkey": f'["t{number % tenants}"]'},
        )

    return make


def _growth(run: Bench, small: tuple[str, Ours], large: tuple[str, Ours]) -> None:
    run.compare([small[1], large[1]], [Aim(large[0], small[0], "cpu", at_most=1.3)])


@bench("cosmos-growth-read")
def growth_of_reads(run: Bench) -> None:
    """A point read in a container of 100,000 items against one of 100."""
    few, many = "among 100", "among 100,000"
    _growth(
        run,
        (few, Ours(few, _read_of(1, 100), tenants=1, each=100)),
        (many, Ours(many, _read_of(10, 10_000), tenants=10, each=10_000)),
    )


@bench("cosmos-growth-query")
def growth_of_queries(run: Bench) -> None:
    """Twenty items by a filter and an order in a partition of 100,000 items against one of 100."""
    few, many = "of 100", "of 100,000"
    _growth(
        run,
        (few, Ours(few, _one_tenant, tenants=1, each=100)),
        (many, Ours(many, _one_tenant, tenants=1, each=100_000)),
    )


@bench("cosmos-growth-steps")
def growth_in_steps(run: Bench) -> None:
    """The same query in partitions of 10, 100, 1,000, 10,000 and 100,000 items: CPU in microseconds."""
    sides = [Ours(f"of {size:,}", _one_tenant, tenants=1, each=size) for size in (10, 100, 1_000, 10_000, 100_000)]
    run.compare(sides, [Aim("of 100,000", "of 1,000", "cpu", at_most=1.3)])


@bench("cosmos-memory")
def memory(run: Bench) -> None:
    """Private memory of the idle endpoint over 5,000 items, after some work."""
    side = Ours(OURS, read_item)
    side.start()
    try:
        time.sleep(IDLE_SECONDS)
        used = sum(private_bytes(pid) for pid in side.pids()) / 1e6
        run.figure("idle private memory", round(used, 1), "MB", at_most=60)
        run.note("items", str(10 * EACH))
    finally:
        side.stop()
