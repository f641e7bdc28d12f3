"""A month in the life of a fleet, beat by beat, with a clock that the simulation turns. Nothing here is computed: it happens.

Real are the services behind the door, the store they write to, its request units, and the sweep each 30 s. Simulated are
time, the nodes' own behaviour (the agent's rules: interval by the answer, 20 % jitter, at once on a change, full jitter
after an outage), and the road from the node to the door, which `agent_beats` measures over HTTP for a sample.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from shared.messaging.agent_api import Beat, ServerState
from shared.messaging.limits import BEAT_JITTER
from shared.nodes.certificates import Holder
from shared.nodes.liveness import Change
from shared.nodes.models import Node
from shared.nodes.shards import NODES_PER_SHARD, SHARDS_ID, Pulse, Roster, Shards
from shared.placement.models import Amount, Hold
from shared.platform.ids import NodeId, OrgId
from shared.servers.models import NodeLedger, Server, ledger_id
from shared.store.charge import Charge, measured

DAY = 86_400.0
SWEEP_SECONDS = 30
# What happens to a node, on average. A watch is a person with the node's page open; an outage is a machine that is off.
CHANGES_A_DAY = 4.0
WATCHES_A_DAY, WATCH_SECONDS = 1.0, 600
OUTAGES_A_DAY, OUTAGE_SECONDS = 2 / 30, (600, 6 * 3600)
OUR_OUTAGES_A_DAY, OUR_OUTAGE_SECONDS = 2 / 30, 1800


class TurnedClock:
    """A clock that is turned by hand: a month need not last one."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()


@dataclass(slots=True)
class _Node:
    holder: Holder
    server: str
    revision: int = 1
    off_until: float = 0.0
    beat_at: float = 0.0
    tries: int = 0
    memory: int = 4000
    busy: bool = False  # right after a change


@dataclass(slots=True)
class Month:
    """What was counted."""

    nodes: int
    shards: int
    days: float
    beats: int = 0
    repeated: int = 0  # attempts while we were away: they cost us nothing
    looks: int = 0
    sweeps: int = 0
    found: dict[str, int] = field(default_factory=dict)
    beating: Charge = field(default_factory=Charge)
    sweeping: Charge = field(default_factory=Charge)

    @property
    def units(self) -> float:
        """Request units of a node and month of 30 days."""
        return (self.beating.units + self.sweeping.units) / self.nodes / self.days * 30

    @property
    def beats_a_month(self) -> float:
        """Beats of a node and month: each is one execution."""
        return self.beats / self.nodes / self.days * 30


class Fleet:
    """So many nodes, in shards as enrolment would have left them."""

    def __init__(self, services: Any, clock: TurnedClock, nodes: int, seed: int = 1) -> None:
        self._services, self._clock = services, clock
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, str, int]] = []
        self._nodes: list[_Node] = []
        self._size = nodes
        self._number = 0
        self._us_away_until = 0.0

    async def make(self) -> None:
        """Rosters, and a server of each node in the store, for the comparisons to find."""
        directory, store = self._services.directory, self._services.store
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        shards = -(-self._size // NODES_PER_SHARD)
        await directory.upsert(Shards(id=SHARDS_ID, count=shards))
        for shard in range(shards):
            org = OrgId(f"org_{self._size:06d}{shard:020d}")
            places = range(min(NODES_PER_SHARD, self._size - shard * NODES_PER_SHARD))
            ids = [NodeId(f"nod_{self._size:06d}{shard * NODES_PER_SHARD + place:020d}") for place in places]
            await directory.upsert(Roster(id=Roster.id_of(shard), nodes=tuple((node, org) for node in ids)))
            await directory.upsert(Pulse(id=Pulse.id_of(shard)))
            for place, node in enumerate(ids):
                holder = Holder(org, node, "crt_1", f"t{node}", key, self._clock.now(), shard, place)
                server = f"srv_{node[4:]}"
                await store.create(org, node_of(node, org, shard, place, self._clock.now()))
                await store.create(org, _server(server, org, node))
                hold = Hold(server, Amount(64, 100, 64))
                await store.create(org, NodeLedger(id=ledger_id(node), org_id=org, node_id=node).holding(hold))
                self._nodes.append(_Node(holder, server))

    async def live(self, days: float) -> Month:
        """Let it live, and count."""
        began = self._clock.moment.timestamp()
        self._events.clear()
        month = Month(self._size, -(-self._size // NODES_PER_SHARD), days)
        for number in range(self._size):
            self._push(began + self._random.uniform(0, 60), "beat", number)
            for what, rate in (("change", CHANGES_A_DAY), ("watch", WATCHES_A_DAY), ("outage", OUTAGES_A_DAY)):
                self._push(began + self._random.expovariate(rate / DAY), what, number)
        self._push(began, "sweep", 0)
        self._push(began + self._random.expovariate(OUR_OUTAGES_A_DAY / DAY), "our outage", 0)
        while self._events[0][0] < began + days * DAY:
            at, _, what, number = heapq.heappop(self._events)
            self._clock.moment = datetime.fromtimestamp(at, UTC)
            await self._happen(at, what, number, month)
        return month

    def _push(self, at: float, what: str, number: int) -> None:
        self._number += 1
        if what == "beat":
            self._nodes[number].beat_at = at
        heapq.heappush(self._events, (at, self._number, what, number))

    async def _happen(self, at: float, what: str, number: int, month: Month) -> None:
        draw = self._random
        node = self._nodes[number]
        if what == "beat":
            if at == node.beat_at:  # else it has been put forward
                await self._beat(at, number, node, month)
        elif what == "change":
            await self._change(node)
            self._push(at + 0.5, "beat", number)
            self._push(at + draw.expovariate(CHANGES_A_DAY / DAY), "change", number)
        elif what == "watch":
            for second in range(0, WATCH_SECONDS, 30):
                self._push(at + second, "look", number)
            self._push(at + draw.expovariate(WATCHES_A_DAY / DAY), "watch", number)
        elif what == "look":
            with measured() as charge:
                await self._services.fleet.watch(node.holder.shard, node.holder.place)
            _add(month.beating, charge)
        elif what == "outage":
            node.off_until = at + draw.uniform(*OUTAGE_SECONDS)
            self._push(node.off_until, "beat", number)
            self._push(at + draw.expovariate(OUTAGES_A_DAY / DAY), "outage", number)
        elif what == "our outage":
            self._us_away_until = at + OUR_OUTAGE_SECONDS
            self._push(at + draw.expovariate(OUR_OUTAGES_A_DAY / DAY), "our outage", 0)
        else:
            await self._sweep(at, month)

    async def _beat(self, at: float, number: int, node: _Node, month: Month) -> None:
        if at < node.off_until:
            return  # it begins again when it is on
        if at < self._us_away_until:
            node.tries += 1
            month.repeated += 1
            self._push(at + self._random.uniform(0, min(60, 2**node.tries)) + 0.1, "beat", number)
            return
        node.tries = 0
        node.memory += self._random.choice((-20, 0, 0, 20))
        states = (ServerState(node.server, node.revision, "running"),)
        beat = Beat(
            int(at * 1000), self._clock.moment, "0.1.0", "boot", cpu_percent=20.0 + number % 7,
            memory_used_mib=node.memory, disk_free_mib=100_000, servers=states, journal_depth=int(node.busy),
        )  # fmt: skip
        node.busy = False
        holder, house = node.holder, self._services

        async def look() -> bool:
            before = charge.calls
            found: bool = await house.reconciler.hear(holder, states, _no_flows)
            month.looks += charge.calls > before
            return found

        with measured() as charge:
            answer = await house.nodes.beat(holder, 0.1, beat, look)
        _add(month.beating, charge)
        month.beats += 1
        pause = answer.next_seconds * self._random.uniform(1 - BEAT_JITTER, 1 + BEAT_JITTER)
        self._push(at + pause, "beat", number)

    async def _change(self, node: _Node) -> None:
        """A member starts or stops its server: what that costs is the request's bill, not that of the beats."""
        node.revision += 1
        node.busy = True
        await self._services.store.update(
            node.holder.org, Server, node.server, lambda server: server.having(revision=node.revision)
        )

    async def _sweep(self, at: float, month: Month) -> None:
        self._push(at + SWEEP_SECONDS, "sweep", 0)
        if at < self._us_away_until:
            return

        async def tell(change: Change) -> None:
            name = f"{change.before.value} to {change.after.value}"
            month.found[name] = month.found.get(name, 0) + 1

        with measured() as charge:
            await self._services.fleet.sweep(tell)
        _add(month.sweeping, charge)
        month.sweeps += 1


def _add(total: Charge, more: Charge) -> None:
    total.units += more.units
    total.calls += more.calls
    for operation, units in more.by_operation.items():
        total.by_operation[operation] = total.by_operation.get(operation, 0.0) + units


def _no_flows() -> Any:
    raise AssertionError("a node was reconciled, and nothing was wrong with it")


def node_of(node: NodeId, org: OrgId, shard: int, place: int, now: datetime) -> Node:
    """A node's record, as enrolment would have left it."""
    return Node(
        id=node, org_id=org, name=node.lower(), shard=shard, place=place, agent_version="0.1.0", enrolled_at=now
    )


def _server(server_id: str, org: OrgId, node: NodeId) -> Server:
    return Server.model_validate(
        {
            "id": server_id, "org_id": org, "name": server_id[4:].lower(), "node_id": node,
            "template": {"id": "echo", "key": "echo", "version": 1},
            "resources": {"memory_mib": 64, "cpu_millicores": 100, "disk_mib": 64},
        }
    )  # fmt: skip
