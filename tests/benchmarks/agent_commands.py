"""From the API call to the work done on the machine and the answer stored; enrolments; one hundred at once."""

from __future__ import annotations

import asyncio
import os
import ssl
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.config import load_config
from agent.enrol import enrol
from tests.benchmarks.harness import Bench, bench
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient, Person

ROUNDS = 30
AT_ONCE = 100
ENROLMENTS = 20


def _floor(folder: Path, tls_port: int, authority: Path) -> float:
    """What the way cannot be quicker than: a TLS round trip (an AMQP header and its answer), 4 fdatasync, one spawn."""
    context = ssl.create_default_context(cafile=str(authority))

    async def trip() -> float:
        reader, writer = await asyncio.open_connection("localhost", tls_port, ssl=context)
        writer.write(b"AMQP\x03\x01\x00\x00")
        began = time.perf_counter()
        await reader.readexactly(8)
        took = time.perf_counter() - began
        writer.close()
        return took

    trips = statistics.median(asyncio.run(trip()) for _ in range(20))
    descriptor = os.open(folder / "floor", os.O_RDWR | os.O_CREAT, 0o600)
    syncs, spawns = [], []
    for number in range(20):
        began = time.perf_counter()
        for part in range(4):
            os.pwrite(descriptor, b"x" * 4096, (number * 4 + part) * 4096)
            os.fdatasync(descriptor)
        syncs.append(time.perf_counter() - began)
        began = time.perf_counter()
        subprocess.run(["/bin/true"], check=True)
        spawns.append(time.perf_counter() - began)
    os.close(descriptor)
    return trips + statistics.median(syncs) + statistics.median(spawns)


def _until_done(api: ApiClient, place: str) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = api.get(place).json()
        if found["state"] != "sent":
            return found
        time.sleep(0.002)


@bench("agent-commands")
def agent_commands(run: Bench) -> None:
    """A command through API, durable flow, broker, agent and back, as a multiple of the physical floor."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"MERIDIAN_RATE_LIMITS": "false"}
        with HouseForTests(folder / "house", "cosmos", "bus", "auth", "host", settings=settings) as house:
            api = Person.sign_up(house, "ann").found_organization("Bench")
            with AgentProcess.enrolled(house, api, folder / "agent", "bench") as agent:
                _round_trips(run, house, api, agent, folder)
                _at_once(run, api, agent)
            _enrolments(run, house, api, folder)


def _round_trips(run: Bench, house: HouseForTests, api: ApiClient, agent: AgentProcess, folder: Path) -> None:
    path = f"/v1/nodes/{agent.node_id}/commands"
    authority = house.folder / "servicebus" / "ca.pem"
    times, floors = [], []
    for number in range(ROUNDS):
        if number % 10 == 0:
            floors.append(_floor(folder, house.house.ports.bus_tls, authority))
        began = time.perf_counter()
        done = _until_done(api, api.post(path, {"type": "node.ping"}).headers["Location"])
        times.append(time.perf_counter() - began)
        assert done["state"] == "succeeded", done
    times, floor = sorted(times[5:]), statistics.median(floors)
    p50, p99 = statistics.median(times), times[int(len(times) * 0.99)]
    run.figure("floor", round(floor * 1000, 2), "ms")
    run.figure("round trip p50", round(p50 * 1000, 1), "ms")
    run.figure("round trip p99", round(p99 * 1000, 1), "ms")
    run.figure("round trip p50 / floor", round(p50 / floor, 1), at_most=12)
    run.figure("round trip p99 / floor", round(p99 / floor, 1), at_most=40)


def _at_once(run: Bench, api: ApiClient, agent: AgentProcess) -> None:
    """A hundred commands; when the last outcome was stored, by the records' own times: looking for it is not in it."""
    from concurrent.futures import ThreadPoolExecutor

    path = f"/v1/nodes/{agent.node_id}/commands"
    with ThreadPoolExecutor(8) as pool:
        began = datetime.now(UTC)
        places = list(pool.map(lambda _: api.post(path, {"type": "node.ping"}).headers["Location"], range(AT_ONCE)))
    time.sleep(0.5)
    done = [_until_done(api, place) for place in places]
    assert all(one["state"] == "succeeded" for one in done)
    last = max(datetime.fromisoformat(one["updated_at"]) for one in done)
    run.figure("100 at once, the last one stored", round((last - began).total_seconds(), 2), "s", at_most=1)


def _enrolments(run: Bench, house: HouseForTests, api: ApiClient, folder: Path) -> None:
    tokens = [api.post("/v1/enrolment-tokens", {}).json()["token"] for _ in range(ENROLMENTS)]

    async def all_of_them() -> float:
        began = time.perf_counter()
        configs = [
            load_config(None, {}, {"folder": str(folder / f"e{number}"), "api_url": house.api})
            for number in range(ENROLMENTS)
        ]
        await asyncio.gather(*(enrol(config, token) for config, token in zip(configs, tokens, strict=True)))
        return time.perf_counter() - began

    run.figure("enrolments", round(ENROLMENTS / asyncio.run(all_of_them()), 1), "/s")
