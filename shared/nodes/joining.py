"""How a machine joins: a one-time token for a node and its papers; again with another token when its key is lost."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from shared.audit.models import Actor, Target
from shared.messaging import codec
from shared.messaging.agent_api import Certificate, EnrolAnswer, EnrolRequest, Platform
from shared.nodes.authority import Issued
from shared.nodes.enrolment import TOKEN_PATTERN
from shared.nodes.errors import CertificateRefused, EnrolmentRefused, NodeStateConflict
from shared.nodes.models import (
    CertificateEntry,
    Enrolment,
    EnrolmentHash,
    Node,
    NodeCertificate,
    NodeName,
    NodeState,
    queue_of,
)
from shared.nodes.rules import accepted_protocol, name_for
from shared.nodes.x509 import key_digest
from shared.platform.errors import AlreadyExists, NotFound, PreconditionFailed
from shared.platform.ids import NodeId, OrgId
from shared.store.batch import CONFLICT_ATTEMPTS

if TYPE_CHECKING:
    from shared.composition import Services
    from shared.nodes.certificates import Holder

#: An answer that was lost on its way is asked for again within seconds.
ANSWERED_AGAIN: Final = timedelta(minutes=10)


class Joining:
    """See the module."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def redeem(self, request: EnrolRequest, address: str) -> EnrolAnswer:
        """Spend a token. The same token with the same key again is answered again: the first answer may have been lost.

            token ──▶ spent for this key (ETag) ──▶ place, name, node, queue ──▶ certificate
                  crash here: the same call goes on from here, each step finds what the last try made

        Raises:
            EnrolmentRefused: unknown, spent for another key, expired or revoked.
            BadCsr: the certificate request does not do.
            ProtocolTooOld: the agent's version does not fit.
        """
        services = self._services
        accepted_protocol(request.protocol)
        digest = key_digest(request.csr_pem)
        spent = await self._spend(request.token, digest)
        org, node_id = spent.org_id, spent.node_id
        found = await services.store.find(org, Enrolment, spent.enrolment_id)
        if found is None or found.revoked_at is not None or self._answered(found):
            raise EnrolmentRefused("this token is unknown, spent, expired or revoked")
        await services.namespaces.ready_reports_queue("default")
        node = await self._make_node(org, node_id, found, request)
        await services.namespaces.make_queue(node.namespace, node.queue)
        if found.again and found.used_at is None:
            await services.papers.revoke_all(
                org, node_id, "enrolled again", Actor(kind="agent", id=node_id, address=address)
            )
        issued = await services.authority.issue(request.csr_pem, org, node_id)
        await self._record(org, node, found, issued, address)
        return EnrolAnswer(
            node_id=node.id,
            org_id=org,
            name=node.name,
            domain=services.authority.domain,
            certificate=_certificate(issued),
            root_pem=await services.authority.root_pem(),
            server_time=services.clock.now(),
        )

    def _answered(self, found: Enrolment) -> bool:
        """Whether its time for being answered once more is over: a stolen key with its old token must not get in again."""
        return found.used_at is not None and self._services.clock.now() - found.used_at > ANSWERED_AGAIN

    async def _spend(self, token: str, digest: str) -> EnrolmentHash:
        services = self._services
        refused = EnrolmentRefused("this token is unknown, spent, expired or revoked")
        if not TOKEN_PATTERN.fullmatch(token):
            raise refused

        def spend(entry: EnrolmentHash) -> EnrolmentHash:
            if entry.revoked or (entry.used_by is not None and entry.used_by != digest):
                raise refused
            if entry.expires_at <= services.clock.now() and entry.used_by is None:
                raise refused
            return entry if entry.used_by == digest else entry.having(used_by=digest)

        try:
            return await services.directory.update(EnrolmentHash, EnrolmentHash.id_of(token), spend)
        except NotFound:
            raise refused from None

    async def _make_node(self, org: OrgId, node_id: NodeId, enrolment: Enrolment, request: EnrolRequest) -> Node:
        services = self._services
        inventory = {"platform": codec.to_wire(request.platform), "hardware": codec.to_wire(request.hardware)}
        found = await services.store.find(org, Node, node_id)
        if found is not None:
            if found.state is NodeState.DECOMMISSIONED:
                raise NodeStateConflict("the node is decommissioned: enrol the machine as a new one")
            changes = {
                "inventory": inventory,
                "agent_version": request.agent_version,
                "protocol": request.protocol,
                "drivers": (request.platform.driver,),
            }
            return await services.store.update(org, Node, node_id, lambda node: node.having(**changes))
        if enrolment.again or enrolment.used_at is not None:
            raise EnrolmentRefused("the node that this token is for is forgotten: enrol the machine as a new one")
        shard, place = await services.fleet.join(node_id, org)
        node = Node(
            id=node_id,
            org_id=org,
            name="new",
            labels=enrolment.labels,
            queue=queue_of(node_id),
            shard=shard,
            place=place,
            inventory=inventory,
            drivers=(request.platform.driver,),
            agent_version=request.agent_version,
            protocol=request.protocol,
            enrolled_at=services.clock.now(),
        )
        return await self._create_named(org, node, request.name, request.platform)

    async def _create_named(self, org: OrgId, node: Node, wanted: str | None, platform: Platform) -> Node:
        """The node with the first free name; the name's own document decides, not the list that was read before."""
        services, taken = self._services, set[str]()
        for _ in range(50):
            name = name_for(wanted, platform.hostname, taken, node.id)
            named = node.having(name=name)
            holder = NodeName(id=NodeName.id_of(name), org_id=node.org_id, node_id=NodeId(node.id))
            try:
                stored = await services.store.batch(org).create(holder).create(named).commit()
            except AlreadyExists:
                if (found := await services.store.find(org, Node, node.id)) is not None:
                    return found  # another try of this very call was faster
                taken.add(name)
                continue
            made = stored[1]
            assert isinstance(made, Node)
            services.nodes.known.forget(org, made.id)
            return made
        raise NodeStateConflict("no free name was found in 50 tries: name the node yourself")

    async def _record(self, org: OrgId, node: Node, enrolment: Enrolment, issued: Issued, address: str) -> None:
        services = self._services
        certificate = await self.remember(node, issued)
        actor = Actor(kind="agent", id=node.id, address=address)
        target = Target(kind="node", id=node.id, name=node.name)
        after = {"enrolment": enrolment.id, "thumbprint": certificate.thumbprint}
        entry = services.audit.entry(org, actor, "node.enrolled", target, after=after)
        for _ in range(CONFLICT_ATTEMPTS):
            used = enrolment if enrolment.used_at else enrolment.having(used_at=services.clock.now())
            with suppress(PreconditionFailed):
                await services.store.batch(org).create(certificate).replace(used).create(entry).commit()
                return
            # Another try of this very call was faster, or somebody revokes the token in this moment.
            enrolment = await services.store.get(org, Enrolment, enrolment.id)
            if enrolment.revoked_at is not None:
                break
        raise EnrolmentRefused("the token was revoked in this moment, or is asked for too often at once")

    async def remember(self, node: Node, issued: Issued) -> NodeCertificate:
        """Make a certificate known to the lookup; what comes back is the node's record of it, not yet stored."""
        services = self._services
        certificate = NodeCertificate(
            id=services.ids.new("crt"),
            org_id=node.org_id,
            node_id=NodeId(node.id),
            thumbprint=issued.thumbprint,
            serial=issued.serial,
            issuer=issued.issuer,
            not_before=issued.not_before,
            not_after=issued.not_after,
            ttl=int((issued.not_after - services.clock.now()).total_seconds()) + 90 * 86_400,
        )
        await services.directory.create(
            CertificateEntry(
                id=CertificateEntry.id_of(issued.thumbprint),
                org_id=node.org_id,
                node_id=NodeId(node.id),
                certificate_id=certificate.id,
                public_key=issued.public_key,
                shard=node.shard,
                place=node.place,
                not_after=issued.not_after,
                ttl=max(1, int((issued.not_after - services.clock.now()).total_seconds())),
            )
        )
        return certificate

    async def renew(self, holder: Holder, csr_pem: str, address: str) -> Certificate:
        """A further certificate for a node; the old one stands until its end.

        Raises:
            BadCsr: the certificate request does not do.
            CertificateRefused: the old one was revoked in this moment.
        """
        services, org, node_id = self._services, holder.org, holder.node
        node = await services.nodes.get(org, node_id)
        if node.state is NodeState.DECOMMISSIONED:
            raise NodeStateConflict("the node is decommissioned")
        issued = await services.authority.issue(csr_pem, org, node_id)
        certificate = await self.remember(node, issued)
        actor = Actor(kind="agent", id=node_id, address=address)
        target = Target(kind="node", id=node_id, name=node.name)
        entry = services.audit.entry(
            org, actor, "node.certificate_renewed", target, after={"thumbprint": issued.thumbprint}
        )
        await services.store.batch(org).create(certificate).create(entry).commit()
        # Who revokes all of a node's certificates lists them until none is left: either it saw this one, or we see now
        # what it did before. The list in memory may be 20 s old.
        if await services.certificates.revoked_now(holder.thumbprint):
            await services.certificates.revoke(issued.thumbprint, issued.serial, issued.not_after)
            raise CertificateRefused("the certificate is revoked")
        return _certificate(issued)

    async def revocation_list(self) -> bytes:
        """The CRLs of now (PEM)."""
        services = self._services
        now = services.clock.now()
        revoked = [
            (int(one.serial, 16), datetime.fromtimestamp(one.at, now.tzinfo))
            for one in await services.certificates.revoked()
        ]
        return await services.authority.revocation_list(revoked)


def _certificate(issued: Issued) -> Certificate:
    return Certificate(issued.chain_pem, issued.thumbprint, issued.not_before, issued.not_after, issued.renew_after)
