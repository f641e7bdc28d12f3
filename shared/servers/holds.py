"""What servers hold on a node, for those who show it."""

from __future__ import annotations

from shared.placement.models import Hold
from shared.platform.ids import OrgId
from shared.servers.models import NodeLedger, ledger_id
from shared.store.scoped import Store


async def held_on(store: Store, org: OrgId, node_id: str) -> tuple[Hold, ...]:
    """The live holds of a node; what is free follows from them and from nothing else."""
    ledger = await store.find(org, NodeLedger, ledger_id(node_id))
    return ledger.holds() if ledger is not None else ()
