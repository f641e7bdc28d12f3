"""Services over a few nodes, whose agents tell of ports that something else has."""

from __future__ import annotations

from typing import Any

from shared.composition import Services
from shared.messaging.codec import to_wire
from shared.messaging.reports import Outcome, Status
from shared.messaging.server_messages import Observed, ServerReport, StepReport, TakenPort
from shared.placement.models import Amount, Node
from shared.platform.ids import OrgId
from shared.servers.asking import Asked
from shared.servers.models import NodeLedger, Server
from shared.servers.service import Servers
from shared.servers.views import ServerCreate
from shared.tasks.models import Task
from tests.unit.servers.test_reserving import ANN, ORG

BY = "python3 (process 42)"


def node(name: str, *ranges: tuple[int, int], memory: int = 4096) -> Node:
    return Node(f"nod_{name}", name, Amount(memory, 10_000, 100_000), port_ranges=ranges)


class These:
    """Nodes that are always there."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = list(nodes)

    async def placeable(self, org: OrgId, *, within: float = 60.0) -> list[Node]:
        return self.nodes

    async def still(self, org: OrgId, node: Node) -> bool:
        return node in self.nodes


class Broker:
    """What would have gone out."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    async def send(self, org_id: str, node_id: str, order: Any, **_: Any) -> None:
        self.sent.append((node_id, order.step))


class House:
    """Services over a set of nodes."""

    def __init__(self, services: Services, *nodes: Node) -> None:
        self.services, self.broker, self.there = services, Broker(), These(*nodes)
        parts = (services.store, services.clock, services.audit, services.templates)
        services.__dict__["servers"] = Servers(*parts, self.there, services.sealer)  # the composition's own slot
        services.dispatcher._sender = self.broker

    async def create(self, name: str = "one", **body: Any) -> Asked:
        ids = {"server_id": self.services.ids.new("srv"), "task_id": self.services.ids.new("tsk")}
        body = {"name": name, "template": "echo", **body}
        return await self.services.servers.creation.create(ORG, ServerCreate(**body), **ids, actor=ANN)

    async def fails(self, asked: Asked, *ports: int, attempt: int = 1) -> None:
        """Its node reports of an attempt that these TCP ports could not be had."""
        server, _ = await self.services.servers.get(ORG, asked.server.id)
        taken = tuple(TakenPort("tcp", "0.0.0.0", port, BY) for port in ports)
        steps = (
            StepReport("install", "done", 1.0),
            StepReport("start", "failed", 2.0, code="port_taken", error="why", retryable=True, taken=taken or None),
        )
        report = ServerReport(Observed(server.id, 1, "stopped", 100.0 + attempt), asked.task.id, steps)
        outcome = Outcome(Status.FAILED, "port_taken", "why", result={"report": to_wire(report)})
        await self.services.server_reports.take(
            ORG, str(server.node_id), server_id=server.id, task_id=asked.task.id, payload={}, outcome=outcome
        )

    async def send(self, asked: Asked, attempt: int) -> None:
        assert await self.services.operations.send(ORG, asked.task.id, attempt)

    async def server(self, asked: Asked) -> Server:
        return await self.services.store.get(ORG, Server, asked.server.id)

    async def task(self, asked: Asked) -> Task:
        return await self.services.store.get(ORG, Task, asked.task.id)

    async def ledgers(self) -> dict[str, NodeLedger]:
        page = await self.services.store.page(ORG, NodeLedger, limit=100)
        return {ledger.node_id: ledger for ledger in page.items}

    async def held(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Node, server and ports of every hold."""
        found = (await self.ledgers()).items()
        return sorted((name, server, hold.p) for name, ledger in found for server, hold in ledger.spec.items())


def key(port: int) -> str:
    return f"tcp/0.0.0.0:{port}"
