"""Ten thousand nodes that say each minute that they live: what it costs, counted, against the naive way."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec

from shared.messaging.agent_api import Beat
from shared.nodes.certificates import Holder
from shared.nodes.models import Pulse, Roster
from shared.platform.ids import NodeId, OrgId
from shared.store.documents import Document
from tests.benchmarks.harness import Bench, bench
from tests.support.house import HouseForTests

NODES = 10_000
MINUTES = 2
NAIVE_SAMPLE = 200
MONTH_MINUTES = 30 * 24 * 60
# List prices, USD: Functions Flex 0.40 a million executions and 0.000026 a GB-s; Cosmos serverless 0.25 a million units;
# Service Bus Standard 0.80 a million operations; log ingestion 2.30 a GB.
EXECUTION, UNIT, OPERATION, GIB_SECOND, LOG_BYTE = 0.40e-6, 0.25e-6, 0.80e-6, 0.000026, 2.30 / 2**30
INSTANCE_GIB = 2.0


class NaiveNode(Document):
    """What the naive way keeps: a document of a node, read and replaced with each beat."""

    type: Literal["naive_node"] = "naive_node"
    seen_at: int = 0
    filling: str = "x" * 700


class TurnedClock:
    """A clock that the bench turns: a month need not last one."""

    def __init__(self) -> None:
        from datetime import UTC, datetime

        self.moment = datetime.now(UTC)

    def now(self) -> Any:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


@bench("agent-beats")
def agent_beats(run: Bench) -> None:
    """Beats of 10,000 nodes: CPU of the server side, request units, and money against one call, read and replace each 30 s."""
    with (
        tempfile.TemporaryDirectory() as name,
        HouseForTests(Path(name) / "house", "cosmos", "containers") as house,
    ):
        os.environ.update(house.settings())
        asyncio.run(_run(run))


async def _run(run: Bench) -> None:
    from shared.composition import Services
    from shared.platform.settings import load_settings
    from shared.store.charge import measured

    clock = TurnedClock()
    services = Services(load_settings(), clock=clock)
    holders = await _fleet(services)
    with measured() as warm:
        await _minute(services, clock, holders, 0)
    with measured() as charge:
        began, cpu = time.perf_counter(), time.process_time()
        for minute in range(1, MINUTES + 1):
            await _minute(services, clock, holders, minute)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - began
    beats = NODES * MINUTES
    units_a_beat = charge.units / beats
    naive_units, naive_cpu = await _naive(services)
    await services.close()
    run.figure("first beats of all: request units a node", round(warm.units / NODES, 2))
    run.figure("CPU a beat, behind the door", round(cpu / beats * 1e6, 1), "us")
    run.figure("10,000 nodes at 60 s: share of a core", round(cpu / (MINUTES * 60) * 100, 2), "%", at_most=5)
    run.figure("request units a beat", round(units_a_beat, 4))
    run.figure("naive: request units a beat", round(naive_units, 2))
    run.figure("naive: CPU a beat", round(naive_cpu * 1e6, 1), "us")
    run.figure("wall of the bench", round(wall, 1), "s")
    _money(run, units_a_beat, naive_units)


async def _fleet(services: Any) -> list[Holder]:
    """Ten thousand certificates' holders in twenty shards, as enrolment would have left them."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    holders = []
    for shard in range(NODES // 500):
        nodes = tuple((NodeId(f"nod_{shard * 500 + place:026d}"), OrgId(f"org_{shard:026d}")) for place in range(500))
        await services.directory.create(Roster(id=Roster.id_of(shard), nodes=nodes))
        await services.directory.create(Pulse(id=Pulse.id_of(shard)))
        holders += [
            Holder(org, node, "crt_1", f"t{node}", key, services.clock.now(), shard, place)
            for place, (node, org) in enumerate(nodes)
        ]
    return holders


async def _minute(services: Any, clock: TurnedClock, holders: list[Holder], minute: int) -> None:
    """Each node beats once, evenly over the minute; its figures move a little."""
    from datetime import timedelta

    for number, holder in enumerate(holders):
        if number % 50 == 0:
            clock.moment += timedelta(seconds=60 * 50 / NODES)
        now = clock.moment
        beat = Beat(
            int(now.timestamp() * 1000) + number, now, "0.1.0", "boot", cpu_percent=20.0 + number % 7,
            memory_used_mib=4000 + minute * 10, disk_free_mib=100_000,
        )  # fmt: skip
        await services.nodes.beat(holder, 0.1, beat)


async def _naive(services: Any) -> tuple[float, float]:
    """Request units and CPU of a read and a replace, this store's own figures."""
    from shared.store.charge import measured

    org = OrgId("org_naive00000000000000000000")
    await services.store.create(org, NaiveNode(id="nod_naive", org_id=org))
    with measured() as charge:
        cpu = time.process_time()
        for number in range(NAIVE_SAMPLE):
            found = await services.store.get(org, NaiveNode, "nod_naive")
            await services.store.replace(org, found.having(seen_at=number))
        cpu = time.process_time() - cpu
    return charge.units / NAIVE_SAMPLE, cpu / NAIVE_SAMPLE


def _money(run: Bench, units: float, naive_units: float) -> None:
    """USD a node and month by both ways and by both doors; an instance that is kept busy is shared by all."""
    regular = 4 * 24 * 30 * 10.0  # figures that are written four times an hour, at about 10 units
    for nodes in (100, 10_000, 1_000_000):
        beats = MONTH_MINUTES
        # Concurrent calls share an instance; one instance takes some 500 beats a second at 2 ms, and never less than one.
        instances = max(1.0, nodes / 60 / 500)
        seconds = 30 * 86_400 * instances * INSTANCE_GIB * GIB_SECOND / nodes
        if nodes == 100:
            seconds = beats * 1.0 * INSTANCE_GIB * GIB_SECOND  # alone on the instance each call is billed a second
        https = beats * EXECUTION + seconds + (beats * units + regular) * UNIT
        bus = beats * 3 * OPERATION + beats / 100 * EXECUTION + seconds / 10 + (beats * units + regular) * UNIT
        naive_seconds = min(2 * beats * 1.0 * INSTANCE_GIB * GIB_SECOND, 2 * seconds)
        naive = 2 * beats * (EXECUTION + naive_units * UNIT + 3000 * LOG_BYTE) + naive_seconds
        bare = 2 * beats * (EXECUTION + naive_units * UNIT) + naive_seconds
        label = f"{nodes:,} nodes, USD a node-month"
        run.figure(f"{label}: HTTPS (ours)", round(https, 4))
        run.figure(f"{label}: reports queue", round(bus, 4))
        run.figure(f"{label}: naive", round(naive, 4))
        run.figure(f"{label}: naive without its log", round(bare, 4))
        if nodes == 10_000:
            run.figure("naive / ours at 10,000 nodes", round(naive / https, 1), at_least=20)
            run.figure("naive without its log / ours at 10,000 nodes", round(bare / https, 1))
