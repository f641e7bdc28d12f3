"""What servers hold on a node, for those who show it."""

from __future__ import annotations

from shared.placement.models import Held
from shared.platform.clock import Clock
from shared.platform.ids import OrgId
from shared.servers.models import NodeLedger, ledger_id
from shared.store.scoped import Store


async def held_on(store: Store, clock: Clock, org: OrgId, node_id: str) -> Held:
    """The live holds of a node, from which alone follows what is free, and the ports that are not ours to give."""
    ledger = await store.find(org, NodeLedger, ledger_id(node_id))
    return Held(ledger.holds(), ledger.foreign_ports(clock.now().timestamp())) if ledger is not None else Held()
