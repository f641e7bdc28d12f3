"""What a provisioning and a start cost in the cloud, counted by the host's meter; and how long from the click to ready."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.harness import Bench, bench
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient, Person
from tests.support.servers import Servers, online_with_own_ports
from tests.support.waiting import until

COUNT = 10
#: What runs by the clock, whatever servers do; and reading, which is the watcher's bill.
CLOCKWORK = ("fleet_sweep", "task_sweep", "agent_beat", "agent_session", "post_beat", "beat", "session")
#: Whoever looks at a node has each of its beats written for a minute, which is the watcher's bill too: it is waited out.
UNWATCHED_SECONDS = 75
PARTS = ("cosmos", "bus", "auth", "host")


def report(house: HouseForTests) -> dict[str, Any]:
    """The meter's counts so far."""
    keys = json.loads(next(house.folder.rglob("keys.json")).read_text())
    with urllib.request.urlopen(f"{house.api}/diagnostics/cost?code={keys['master']}", timeout=30) as reply:
        found: dict[str, Any] = json.load(reply)
    return found


@dataclass(frozen=True, slots=True)
class Spent:
    """What something brought about: executions by function; requests and request units by container, operation, kind of item."""

    calls: Mapping[str, int]
    work: Mapping[str, tuple[int, float]]

    @property
    def units(self) -> float:
        """All request units."""
        return sum(units for _, units in self.work.values())


def spent(house: HouseForTests, act: Callable[[], None]) -> Spent:
    """What `act` brought about. What runs by the clock is left out: the fleet's liveness costs the same without servers."""
    before = report(house)
    act()
    time.sleep(1.0)  # what is still being written down is written down
    after = report(house)
    was = {each["name"]: each["executions"] for each in before["functions"]}
    calls = {each["name"]: each["executions"] - was.get(each["name"], 0) for each in after["functions"]}
    earlier, work = counted(before), {}
    for what, (requests, units) in counted(after).items():
        more, dearer = earlier.get(what, (0, 0.0))
        if requests > more and not what.startswith("fleet "):
            work[what] = (requests - more, units - dearer)
    return Spent({name: count for name, count in calls.items() if count and name not in CLOCKWORK}, work)


def counted(found: dict[str, Any]) -> dict[str, tuple[int, float]]:
    """The store's own counts: `tenants replace srv`, `tenants query`."""
    rows: dict[str, tuple[int, float]] = {}
    for source in found["sources"].values():
        for name, container in (source.get("containers") or {}).items():
            short = name.rpartition("/")[2]
            kinds = {f"{short} {kind}": counts for kind, counts in container.get("kinds", {}).items()}
            queries = {f"{short} {name}": container["operations"].get(name) for name in ("query", "feed")}
            for what, counts in {**kinds, **queries}.items():
                if counts:
                    rows[what] = (counts["requests"], counts["request_units"])
    return rows


def wait_quietly(agent: AgentProcess, text: str, count: int) -> None:
    """Wait by the agent's own files, so that nobody's polling is on the bill."""
    until(
        lambda: sum(path.read_text().count(text) for path in agent.folder.glob("run/*/console.log")) >= count, text, 120
    )
    time.sleep(1.5)  # the last reports arrive


def bill(run: Bench, what: str, count: int, found: Spent, most: tuple[int, int]) -> None:
    """The bill of one: executions, request units, money at list price; and where each unit goes."""
    calls, units = found.calls, found.units
    executions = sum(calls.values()) / count
    run.figure(f"{what}: executions", round(executions, 2), at_most=most[0])
    run.figure(f"{what}: request units", round(units / count, 1), at_most=most[1])
    # Flex Consumption: 0.4 USD a million executions and 0.000026 a GB-s, each execution billed at least 1 s of 2 GB;
    # Cosmos serverless: 0.25 USD a million request units (Azure's price pages).
    usd = executions * (0.4e-6 + 2 * 0.000026) + units / count * 0.25e-6
    run.figure(f"{what}: USD at list price, alone on its instance", round(usd, 6))
    shown = {name: round(calls[name] / count, 1) for name in sorted(calls, key=lambda name: -calls[name])}
    run.note(f"{what}: by function", json.dumps(shown))
    for name, (requests, dear) in sorted(found.work.items(), key=lambda row: -row[1][1]):
        run.note(f"{what}: {name}", f"{dear / count:5.2f} RU in {requests / count:.1f} requests")


@bench("servers-bill")
def servers_bill(run: Bench) -> None:
    """Executions and request units of a provisioning and of a start, and click-to-ready against its steps alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = {"MERIDIAN_RATE_LIMITS": "false"}
        with HouseForTests(folder / "house", *PARTS, settings=settings) as house:
            api = Person.sign_up(house, "ann").found_organization("Bench")
            with AgentProcess.enrolled(house, api, folder / "agent", "bench") as agent:
                online_with_own_ports(api, agent.node_id)
                _measure(run, house, api, agent)


def _measure(run: Bench, house: HouseForTests, api: ApiClient, agent: AgentProcess) -> None:
    servers = Servers(api)
    servers.ready("warm")
    time.sleep(UNWATCHED_SECONDS)
    made: list[str] = []

    def provision() -> None:
        for number in range(COUNT):
            made.append(servers.create(f"one-{number}")["server_id"])
            wait_quietly(agent, "listening on", number + 2)

    bill(run, "provisioning", COUNT, spent(house, provision), (9, 60))

    for server_id in made:
        servers.done(server_id, "stop")

    def start() -> None:
        for number, server_id in enumerate(made):
            api.post(f"/v1/servers/{server_id}/start")
            wait_quietly(agent, "listening on", number + 2)

    bill(run, "start", COUNT, spent(house, start), (4, 30))
    _latency(run, servers)


def _latency(run: Bench, servers: Servers) -> None:
    """From the click to ready, polled as a page would; against what the node's steps alone took."""
    over, whole = [], []
    for number in range(15):
        began = time.perf_counter()
        made = servers.create(f"fast-{number}")
        task = servers.task(made["task_id"])
        took = time.perf_counter() - began
        assert task["state"] == "succeeded", task
        whole.append(took)
        over.append(took - sum(step["seconds"] for step in task["steps"]))
    run.figure("click to ready, p50", round(statistics.median(whole), 3), "s")
    run.figure("overhead over the node's own steps, p50", round(statistics.median(over), 3), "s", at_most=0.5)
