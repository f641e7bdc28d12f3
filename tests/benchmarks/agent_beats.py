"""Ten thousand nodes that say each minute that they live: what it costs, counted, against the naive way."""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric import ec

from shared.messaging.agent_api import Beat
from shared.nodes.certificates import Holder
from shared.nodes.shards import Pulse, Roster
from shared.platform.ids import NodeId, OrgId
from shared.store.documents import Document
from tests.benchmarks.fleet_doors import Door, doors
from tests.benchmarks.fleet_month import Fleet, Month, TurnedClock, node_of
from tests.benchmarks.harness import Bench, bench
from tests.support.house import HouseForTests

NODES = 10_000
MINUTES = 2
NAIVE_SAMPLE = 200
MONTH_SECONDS = 30 * 86_400.0
NAIVE_LOG_BYTES = 3000  # what the platform writes about a call when nobody tells it not to
BUSY = 0.7  # of a core, above which another instance is taken
SIZES = (500, 1000, 2000)  # of fleets whose beats are counted: what a node costs must not depend on it
WARM_DAYS, DAYS = 0.02, 0.04
# List prices, USD: Functions Flex 0.40 a million executions and 0.000026 a GB-s; Cosmos serverless 0.25 a million units;
# Service Bus Standard 0.80 a million operations; log ingestion 2.30 a GB.
EXECUTION, UNIT, OPERATION, GIB_SECOND, LOG_BYTE = 0.40e-6, 0.25e-6, 0.80e-6, 0.000026, 2.30 / 2**30
INSTANCE_GIB = 2.0


class NaiveNode(Document):
    """What the naive way keeps: a document of a node, read and replaced with each beat."""

    type: Literal["naive_node"] = "naive_node"
    seen_at: int = 0
    filling: str = "x" * 700


@bench("agent-beats")
def agent_beats(run: Bench) -> None:
    """Beats of 10,000 nodes: CPU of the server side, request units, and money against one call, read and replace each 30 s.

    Executions, operations, log and seconds are those of the host's meter for a sample over HTTP and through the queue;
    beats and request units are counted in a simulated life (`fleet_month`). Only the number of nodes is scaled.
    """
    with doors() as sample:
        https = sample.https()
        queues = {
            100: sample.queue(100 / 60, 40),
            10_000: sample.queue(10_000 / 60, 1500),
            1_000_000: sample.queue(0, 1500),
        }
    run.figure("HTTPS, the host's meter: executions a beat", https.executions)
    run.figure("HTTPS: CPU of the host a beat", round(https.cpu * 1e3, 2), "ms")
    run.figure("HTTPS: bytes of log a beat", https.log_bytes)
    for nodes, queue in queues.items():
        run.figure(f"queue at the rate of {nodes:,} nodes: executions a beat", round(queue.executions, 3))
        run.figure(f"queue at the rate of {nodes:,} nodes: operations a beat", round(queue.operations, 2))
    with (
        tempfile.TemporaryDirectory() as name,
        HouseForTests(Path(name) / "house", "cosmos", "containers") as house,
    ):
        os.environ.update(house.settings())
        asyncio.run(_run(run, https, queues))


async def _run(run: Bench, https: Door, queues: dict[int, Door]) -> None:
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
    months = [await _counted(services, clock, size) for size in SIZES]
    if wanted := os.environ.get("FLEET_MONTH"):  # "25:30": nodes, days
        nodes, days = wanted.split(":")
        months.append(await _counted(services, clock, int(nodes), float(days)))
    await services.close()
    run.figure("first beats of all: request units a node", round(warm.units / NODES, 2))
    run.figure("CPU a beat, behind the door", round(cpu / beats * 1e6, 1), "us")
    run.figure("10,000 nodes at 60 s: share of a core", round(cpu / (MINUTES * 60) * 100, 2), "%", at_most=5)
    run.figure("request units a beat", round(units_a_beat, 4))
    run.figure("naive: request units a beat", round(naive_units, 2))
    run.figure("naive: CPU a beat", round(naive_cpu * 1e6, 1), "us")
    run.figure("wall of the bench", round(wall, 1), "s")
    for month in months:
        label = f"{month.nodes:,} nodes, {month.days:g} days counted, a node and month"
        run.figure(f"{label}: beats", round(month.beats_a_month))
        run.figure(f"{label}: request units of beats", round(month.beating.units / month.nodes / month.days * 30))
        run.figure(f"{label}: request units of sweeps", round(month.sweeping.units / month.nodes / month.days * 30))
    widest = [month.beating.units / month.nodes / month.days for month in months[: len(SIZES)]]
    run.figure("request units a node: largest fleet / smallest", round(widest[-1] / widest[0], 3), at_most=1.1)
    _money(run, months[len(SIZES) - 1], https, queues, naive_units)


async def _fleet(services: Any) -> list[Holder]:
    """Ten thousand certificates' holders in twenty shards, as enrolment would have left them."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    holders = []
    for shard in range(NODES // 500):
        nodes = tuple((NodeId(f"nod_{shard * 500 + place:026d}"), OrgId(f"org_{shard:026d}")) for place in range(500))
        await services.directory.create(Roster(id=Roster.id_of(shard), nodes=nodes))
        await services.directory.create(Pulse(id=Pulse.id_of(shard)))
        for place, (node, org) in enumerate(nodes):
            await services.store.create(org, node_of(node, org, shard, place, services.clock.now()))
        holders += [
            Holder(org, node, "crt_1", f"t{node}", key, services.clock.now(), shard, place)
            for place, (node, org) in enumerate(nodes)
        ]
    return holders


async def _counted(services: Any, clock: TurnedClock, nodes: int, days: float = 0.0) -> Month:
    fleet = Fleet(services, clock, nodes)
    await fleet.make()
    if not days:
        await fleet.live(WARM_DAYS)
    return await fleet.live(days or DAYS)


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


def _money(run: Bench, month: Month, https: Door, queues: dict[int, Door], naive_units: float) -> None:
    """USD a node and month by both doors and by the naive way, for three sizes of a fleet."""
    beats, naive_beats = month.beats_a_month, MONTH_SECONDS / 30
    for nodes in (100, 10_000, 1_000_000):
        # The rosters, pulses and sweeps of a shard are shared by its nodes: a small fleet has one shard all the same.
        shared = month.sweeping.units / month.shards / month.days * 30 / min(nodes, 500)
        units = (month.beating.units / month.nodes / month.days * 30 + shared) * UNIT
        queue = replace(queues[nodes], operations=queues[100].operations)  # see `Door.operations`
        ours = _active(nodes, beats, https.cpu) + units + beats * (EXECUTION + https.log_bytes * LOG_BYTE)
        told = beats * (queue.operations * OPERATION + queue.executions * (EXECUTION + queue.log_bytes * LOG_BYTE))
        bus = _active(nodes, beats * queue.executions, queue.cpu / max(queue.executions, 1e-9)) + units + told
        calls = naive_beats * (EXECUTION + naive_units * UNIT) + _active(nodes, naive_beats, https.cpu)
        naive = calls + naive_beats * NAIVE_LOG_BYTES * LOG_BYTE
        label = f"{nodes:,} nodes, USD a node-month"
        run.figure(f"{label}: HTTPS (ours)", round(ours, 4))
        run.figure(f"{label}: reports queue", round(bus, 4))
        run.figure(f"{label}: naive", round(naive, 4))
        run.figure(f"{label}: naive without its log", round(calls, 4))
        if nodes == 10_000:
            run.figure("naive / ours at 10,000 nodes", round(naive / ours, 1), at_least=20)
            run.figure("naive without its log / ours at 10,000 nodes", round(calls / ours, 1))
            run.figure("request units, naive / ours", round(naive_beats * naive_units * UNIT / units, 1))


def _active(nodes: int, calls: float, cpu: float) -> float:
    """USD a node and month for the time that instances are active.

    A call keeps its instance active for a billed second at least, which calls beside and behind it share: so many a second
    at random cover 1 - exp(-rate) of the time of one instance. From where one instance is too little, so many as it takes.
    """
    rate = nodes * calls / MONTH_SECONDS
    instances = max(1.0 - math.exp(-rate), rate * cpu / BUSY)
    return MONTH_SECONDS * instances * INSTANCE_GIB * GIB_SECOND / nodes
