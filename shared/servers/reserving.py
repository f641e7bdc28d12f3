"""Finding a node and holding what a server needs there, in the very batch that makes the server and its task."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from shared.placement.models import Amount, Demand, Hold, Node, Placed, Reason, Refused, Verdict
from shared.placement.rules import place, short
from shared.placement.strategy import Strategy
from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists, PreconditionFailed
from shared.platform.ids import OrgId
from shared.servers.demand import hold_of
from shared.servers.errors import NameTaken, NoRoom, PlacementContended
from shared.servers.models import NodeLedger, Server, ledger_id
from shared.servers.porting import Ports
from shared.servers.ports import NodeSource
from shared.store.batch import Batch
from shared.store.errors import BatchFailed
from shared.store.scoped import Store

ATTEMPTS: Final = 25
#: A read of the ledgers; older ones are read again. Wrong ones are found by their ETag, or when there seems to be no room.
FRESH_SECONDS: Final = 60.0
LATELY_SECONDS: Final = 0.5  # what was read so lately is not read again to refuse: many are refused at once


class Reserver:
    """Places and holds. Those of one process wait for each other, so that they do not fight over the ledgers."""

    def __init__(self, store: Store, nodes: NodeSource, clock: Clock) -> None:
        self._store, self._nodes, self._clock = store, nodes, clock
        self._ledgers: dict[OrgId, tuple[float, dict[str, NodeLedger]]] = {}
        self._turns: dict[OrgId, asyncio.Lock] = {}

    async def look(self, org: OrgId) -> list[Node]:
        """The nodes with what is held on them now."""
        return self._with_holds(await self._nodes.placeable(org, within=0.0), await self._read(org, fresh=True))

    async def reserve(
        self,
        org: OrgId,
        server_id: str,
        demand: Demand,
        strategy: Strategy,
        fill: Callable[[Batch, Node, Placed], None],
        *,
        leaving: str | None = None,
    ) -> Placed:
        """Choose a node, and commit the hold together with what `fill` adds to the batch.

        Args: `leaving` is the node where the server holds room now, which it gives back in the same batch.

        Raises:
            NoRoom: with the reasons of every node.
            NameTaken: `fill` creates a name that another server has.
            PlacementContended: 25 attempts each met another placement on the same node.
        """
        async with self._turns.setdefault(org, asyncio.Lock()):
            nodes, looked = await self._nodes.placeable(org), False
            for attempt in range(ATTEMPTS):
                ledgers = await self._read(org, fresh=False)
                before = ledgers.get(leaving or "")
                others = ledgers if before is None else {**ledgers, before.node_id: before.without(server_id)}
                chosen = place(demand, self._with_holds(nodes, others), strategy)
                if isinstance(chosen, Refused):
                    if looked:
                        raise NoRoom(chosen)
                    nodes, looked = await self._look_again(org), True
                    continue
                node = next(node for node in nodes if node.id == chosen.node_id)
                if not await self._nodes.still(org, node):
                    nodes = await self._nodes.placeable(org)
                    continue
                left = before if before is not None and before.node_id != node.id else None
                if await self._commit(org, hold_of(server_id, demand, chosen), node, chosen, ledgers, fill, left):
                    return chosen
                await asyncio.sleep(random.uniform(0, 0.01 * min(attempt + 1, 10)))  # noqa: S311 - spreads writers
        raise PlacementContended(f"{ATTEMPTS} attempts each met another placement on the same node", retry_after=1.0)

    async def holds(self, org: OrgId, node_id: str | None, server_id: str) -> bool:
        """Whether the server holds room on the node; one that could not be installed does not."""
        ledger = await self._store.find(org, NodeLedger, ledger_id(node_id)) if node_id is not None else None
        return ledger is not None and server_id in ledger.spec

    async def changed(
        self, org: OrgId, server: Server, amount: Amount, ports: Callable[[Node], Ports] | None
    ) -> tuple[NodeLedger | None, Mapping[str, int]]:
        """What a server needs of its node is another: the node's ledger, for the caller's batch, and the server's ports.

        Args: `ports` finds new ones on the node without what the server itself holds there; None keeps those it has.

        There is no ledger to write where it holds nothing: it is placed anew before it is installed.

        Raises:
            NoRoom: the node has not got that much.
        """
        assert server.node_id is not None
        ledger = await self._store.find(org, NodeLedger, ledger_id(server.node_id))
        mine = next((hold for hold in ledger.holds() if hold.server_id == server.id), None) if ledger else None
        if mine is None and ports is None:
            return None, server.ports
        node = next((node for node in await self._nodes.placeable(org, within=0.0) if node.id == server.node_id), None)
        if node is None:
            gone = Reason("decommissioned", "the node is not there any more")
            raise NoRoom(Refused((Verdict(server.node_id, server.node_id, (gone,)),)))
        (node,) = self._with_holds([node], {ledger.node_id: ledger.without(server.id)} if ledger else {})
        reasons = short(amount, node.free()) if mine is not None else []
        if reasons:
            raise NoRoom(Refused((Verdict(node.id, node.name, tuple(reasons)),)))
        found = ports(node) if ports is not None else None
        if ledger is None or mine is None:
            return None, found.numbers if found is not None else server.ports
        self._ledgers.pop(org, None)
        hold = replace(mine, amount=amount, ports=mine.ports if found is None else found.keys)
        return ledger.holding(hold), server.ports if found is None else found.numbers

    async def _commit(
        self,
        org: OrgId,
        hold: Hold,
        node: Node,
        chosen: Placed,
        ledgers: dict[str, NodeLedger],
        fill: Callable[[Batch, Node, Placed], None],
        left: NodeLedger | None,
    ) -> bool:
        before = ledgers.get(node.id)
        ledger = before or NodeLedger(id=ledger_id(node.id), org_id=org, node_id=node.id)
        held = ledger.holding(hold)
        batch = self._store.batch(org)
        batch = batch.create(held) if before is None else batch.replace(held)
        moved = left is not None and hold.server_id in left.spec
        if left is not None and moved:
            batch.replace(left.without(hold.server_id))
        fill(batch, node, chosen)
        try:
            stored = (await batch.commit())[: 2 if moved else 1]
        except (PreconditionFailed, AlreadyExists) as error:
            failed = error.__cause__
            self._ledgers.pop(org, None)
            if isinstance(failed, BatchFailed) and failed.id.startswith("server_name:"):
                raise NameTaken(f"there is a server named {failed.id.partition(':')[2]}") from None
            if isinstance(failed, BatchFailed) and failed.index <= moved:
                return False  # another placement on this node, or on the one that is left, was faster
            raise
        for written in stored:
            assert isinstance(written, NodeLedger)
            ledgers[written.node_id] = written
        return True

    async def _read(self, org: OrgId, *, fresh: bool) -> dict[str, NodeLedger]:
        kept = self._ledgers.get(org)
        if kept is not None and not fresh and self._clock.monotonic() - kept[0] < FRESH_SECONDS:
            return kept[1]
        found: dict[str, NodeLedger] = {}
        cursor = None
        while True:
            page = await self._store.page(org, NodeLedger, limit=100, cursor=cursor)
            found |= {ledger.node_id: ledger for ledger in page.items}
            cursor = page.cursor
            if cursor is None:
                break
        self._ledgers[org] = (self._clock.monotonic(), found)
        return found

    async def _look_again(self, org: OrgId) -> list[Node]:
        """Before anybody is told that there is no room: what is remembered may be out of date."""
        kept = self._ledgers.get(org)
        if kept is not None and self._clock.monotonic() - kept[0] > LATELY_SECONDS:
            self._ledgers.pop(org, None)
        return await self._nodes.placeable(org, within=LATELY_SECONDS)

    def _with_holds(self, nodes: list[Node], ledgers: dict[str, NodeLedger]) -> list[Node]:
        now = self._clock.now().timestamp()
        found = ((node, ledgers.get(node.id)) for node in nodes)
        return [
            replace(node, holds=ledger.holds(), foreign=ledger.foreign_ports(now)) if ledger is not None else node
            for node, ledger in found
        ]
