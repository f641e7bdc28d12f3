"""Ports that something else on a node was seen to have, given back to placement before the mark fades by itself."""

from __future__ import annotations

from typing import Literal

from shared.audit.models import Actor, Target
from shared.audit.service import Audit
from shared.platform.clock import Clock
from shared.platform.errors import NotFound
from shared.platform.ids import OrgId
from shared.servers.models import NodeLedger, ledger_id
from shared.store.batch import again_on_conflict
from shared.store.scoped import Store


class ForeignPorts:
    """See the module."""

    def __init__(self, store: Store, clock: Clock, audit: Audit) -> None:
        self._store, self._clock, self._audit = store, clock, audit

    async def forget(
        self, org: OrgId, node_id: str, node_name: str, protocol: Literal["tcp", "udp"], port: int, *, by: Actor
    ) -> None:
        """Take the mark off a port, on all addresses of the node.

        Nothing is looked at: if the port is still taken the next server that gets it finds that out, and is placed again.

        Raises:
            NotFound: no such port is marked.
        """

        async def attempt() -> None:
            now = self._clock.now().timestamp()
            ledger = await self._store.find(org, NodeLedger, ledger_id(node_id))
            marked = ledger.foreign_ports(now) if ledger is not None else ()
            gone = {str(one.key) for one in marked if (one.key.protocol, one.key.port) == (protocol, port)}
            if ledger is None or not gone:
                raise NotFound(f"{port}/{protocol} is not marked as taken by something else on {node_name}")
            target = Target(kind="node", id=node_id, name=node_name)
            entry = self._audit.entry(org, by, "node.port_freed", target, before={"ports": sorted(gone)})
            kept = {key: one for key, one in ledger.foreign.items() if key not in gone}
            await self._store.batch(org).replace(ledger.having(foreign=kept)).create(entry).commit()

        await again_on_conflict(attempt)
