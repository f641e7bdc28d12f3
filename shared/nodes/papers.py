"""The certificates of nodes as their owner sees them: listed, revoked one by one or all at once.

With a certificate dies what was given out on it: signatures for the node's queue hold for an hour, and whoever has one reads the
node's commands. So the queue is made anew under another name, and the old one is removed with every signature and every open
line to it. Commands that waited there are lost; what they asked for is desired all the same, and is sent again
(`shared.servers.reconciling`). A node that has another certificate asks for a new session and goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.audit.models import Actor, Target
from shared.nodes.errors import CertificateNotFound
from shared.nodes.models import Node, NodeCertificate, NodeState, next_queue
from shared.platform.ids import OrgId

if TYPE_CHECKING:
    from shared.composition import Services


class Papers:
    """See the module."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def of_node(self, org: OrgId, node_id: str) -> list[NodeCertificate]:
        """The node's certificates, newest first (the last 100).

        Raises:
            NodeNotFound: no such node in the organization.
        """
        await self._services.nodes.get(org, node_id)
        found = await self._services.store.page(org, NodeCertificate, filters={"node_id": node_id}, limit=100)
        return found.items

    async def revoke(self, org: OrgId, node_id: str, certificate_id: str, reason: str, *, by: Actor) -> NodeCertificate:
        """Revoke one certificate; it is dead within a minute everywhere, and so is every open line of the node.

        Raises:
            CertificateNotFound: the node has no such certificate.
            BrokerUnavailable: the queue could not be changed: the certificate is dead already, ask again.
        """
        found = await self._services.store.find(org, NodeCertificate, certificate_id)
        if found is None or found.node_id != node_id:
            raise CertificateNotFound(f"node {node_id} has no certificate {certificate_id}")
        if found.revoked_at is not None:
            return found
        await self._kill(org, found, reason, by)
        await self._change_queue(org, node_id)
        return await self._record(org, found, reason)

    async def revoke_all(self, org: OrgId, node_id: str, reason: str, by: Actor) -> None:
        """Revoke every certificate of a node that would still hold, also those that are issued meanwhile.

        Raises:
            BrokerUnavailable: as for `revoke`.
        """
        dead: list[NodeCertificate] = []
        while holding := await self._holding(org, node_id, {one.id for one in dead}):
            for certificate in holding:
                await self._kill(org, certificate, reason, by)
            dead += holding
        if dead:
            await self._change_queue(org, node_id)
        for certificate in dead:
            await self._record(org, certificate, reason)

    async def _holding(self, org: OrgId, node_id: str, dead: set[str]) -> list[NodeCertificate]:
        """All of them, however many: whoever has stolen a key can have had it renewed a thousand times."""
        now, found = self._services.clock.now(), list[NodeCertificate]()
        cursor: str | None = None
        while True:
            page = await self._services.store.page(
                org, NodeCertificate, filters={"node_id": node_id}, limit=100, cursor=cursor
            )
            found += [
                one for one in page.items if one.not_after > now and one.revoked_at is None and one.id not in dead
            ]
            cursor = page.cursor
            if cursor is None:
                return found

    async def _kill(self, org: OrgId, certificate: NodeCertificate, reason: str, by: Actor) -> None:
        # The trail before the act: the list is no document of the organization. The list before the record: if what
        # follows fails, the certificate is dead and its record late, not the other way round.
        told = {"certificate": certificate.id, "reason": reason}
        target = Target(kind="node", id=certificate.node_id)
        await self._services.audit.record(org, by, "node.certificate_revoked", target, after=told)
        await self._services.certificates.revoke(certificate.thumbprint, certificate.serial, certificate.not_after)

    async def _record(self, org: OrgId, certificate: NodeCertificate, reason: str) -> NodeCertificate:
        services = self._services
        now = services.clock.now()
        return await services.store.update(
            org,
            NodeCertificate,
            certificate.id,
            lambda one: one if one.revoked_at else one.having(revoked_at=now, revoked_reason=reason),
        )

    async def _change_queue(self, org: OrgId, node_id: str) -> None:
        """May be repeated from any point: the record is changed last, so the next try makes and removes the same ones.

        record: old ── make new ── remove old ── record: new        between the last two nobody can send, and is told so
        """
        services = self._services
        node = await services.nodes.get(org, node_id)
        if node.state is NodeState.DECOMMISSIONED:
            return  # its queue goes for good
        queue = next_queue(node.queue)
        await services.namespaces.make_queue(node.namespace, queue)
        await services.namespaces.remove_queue(node.namespace, node.queue)
        await services.store.update(org, Node, node_id, lambda found: found.having(queue=queue))
        services.nodes.known.forget(org, node_id)
