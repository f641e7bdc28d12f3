"""Who gets the room when many ask at once: over a real endpoint, by two instances that know nothing of each other."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

from shared.audit.models import Actor
from shared.composition import Services
from shared.placement.models import Amount, Node
from shared.placement.strategy import Strategy
from shared.platform.errors import Fault
from shared.platform.ids import OrgId
from shared.servers.asking import Asked
from shared.servers.errors import NameTaken, NoRoom
from shared.servers.models import NodeLedger, Server
from shared.servers.service import Servers
from shared.servers.views import ServerCreate
from shared.tasks.models import Task

ORG = OrgId("org_test")
ANN = Actor(kind="user", id="usr_ann")
NODES = [
    Node(f"nod_{number}", f"node-{number}", Amount(6 * 64 + 10, 10_000, 100_000), port_ranges=((30_000, 30_040),))
    for number in range(10)
]  # each has room for six servers of 64 MiB


class TenNodes:
    """Ten nodes that are always there."""

    async def placeable(self, org: OrgId, *, within: float = 60.0) -> list[Node]:
        return NODES

    async def still(self, org: OrgId, node: Node) -> bool:
        return node in NODES


def servers_of(services: Services) -> Servers:
    parts = (services.store, services.clock, services.audit, services.templates)
    return Servers(*parts, TenNodes(), services.sealer)


async def ask(
    servers: Servers, services: Services, name: str, strategy: Strategy = Strategy.PACKED, actor: Actor = ANN
) -> Asked | Fault:
    body = ServerCreate(name=name, template="echo", strategy=strategy)
    ids = (services.ids.new("srv"), services.ids.new("tsk"))
    try:
        return await servers.creation.create(ORG, body, server_id=ids[0], task_id=ids[1], actor=actor)
    except Fault as fault:
        return fault


async def everything(services: Services, model: type) -> list:  # type: ignore[type-arg]
    found, cursor = [], None
    while True:
        page = await services.store.page(ORG, model, limit=100, cursor=cursor)
        found += page.items
        if (cursor := page.cursor) is None:
            return found


async def test_a_hundred_at_once_onto_room_for_sixty(services: Services, others: Services) -> None:
    one, two = servers_of(services), servers_of(others)
    results = await asyncio.gather(
        *(ask((one, two)[number % 2], (services, others)[number % 2], f"s-{number}") for number in range(100))
    )
    placed = [result for result in results if isinstance(result, Asked)]
    refused = [result for result in results if isinstance(result, NoRoom)]
    assert (len(placed), len(refused)) == (60, 40), Counter(type(result).__name__ for result in results)
    for fault in refused:
        assert len({error.field for error in fault.errors}) == 10
        assert all("short of memory by" in error.message for error in fault.errors)

    ledgers: list[NodeLedger] = await everything(services, NodeLedger)
    held = {server_id: ledger.node_id for ledger in ledgers for server_id in ledger.spec}
    kept: list[Server] = await everything(services, Server)
    assert held == {server.id: server.node_id for server in kept}, "what is held is what is there"
    assert {task.target for task in await everything(services, Task)} == set(held)
    ports = [(ledger.node_id, key) for ledger in ledgers for hold in ledger.spec.values() for key in hold.p]
    assert len(ports) == len(set(ports)) == 60
    for ledger in ledgers:
        assert sum(hold.m for hold in ledger.spec.values()) <= 6 * 64 + 10


async def test_one_name_is_given_once(services: Services, others: Services) -> None:
    results = await asyncio.gather(
        *(ask(servers_of(each), each, "twin", Strategy.SPREAD) for each in (services, others) * 4)
    )
    assert Counter(type(result) for result in results) == {Asked: 1, NameTaken: 7}
    ledgers: list[NodeLedger] = await everything(services, NodeLedger)
    assert sum(len(ledger.spec) for ledger in ledgers) == 1


class Moved(TenNodes):
    """Nodes of which one was drained since they were read."""

    def __init__(self) -> None:
        self.read = 0

    async def placeable(self, org: OrgId, *, within: float = 60.0) -> list[Node]:
        self.read += 1
        return [replace(NODES[0], state="drained" if self.read > 1 else "online"), NODES[1]]

    async def still(self, org: OrgId, node: Node) -> bool:
        return self.read > 1 or node.id != NODES[0].id


async def test_a_node_that_was_drained_since_it_was_read_takes_nothing(services: Services) -> None:
    moved = Moved()
    parts = (services.store, services.clock, services.audit, services.templates)
    servers = Servers(*parts, moved, services.sealer)
    made = await ask(servers, services, "elsewhere")
    assert isinstance(made, Asked)
    assert (made.server.node_id, moved.read) == (NODES[1].id, 2)


class Late(TenNodes):
    """Nodes that are known only when they are looked for once more."""

    async def placeable(self, org: OrgId, *, within: float = 60.0) -> list[Node]:
        return NODES if within < 60 else []


async def test_before_anybody_is_refused_it_is_looked_once_more(services: Services) -> None:
    parts = (services.store, services.clock, services.audit, services.templates)
    assert isinstance(await ask(Servers(*parts, Late(), services.sealer), services, "found"), Asked)
