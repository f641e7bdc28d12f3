"""How a machine joins: a one-time token for a node and its papers; again with another token when its key is lost."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from shared.audit.models import Actor, Target
from shared.messaging import codec
from shared.messaging.agent_api import Certificate, EnrolAnswer, EnrolRequest, Hardware, Platform
from shared.nodes.authority import Issued, key_digest
from shared.nodes.errors import EnrolmentNotFound, EnrolmentRefused, NodeStateConflict
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
from shared.platform.errors import AlreadyExists, NotFound
from shared.platform.ids import NodeId, OrgId
from shared.store.query import Slice

if TYPE_CHECKING:
    from shared.composition import Services

TOKEN_PREFIX: Final = "mce_"  # noqa: S105  # so that a leaked one can be found by scanners
TOKEN_PATTERN: Final = re.compile(r"mce_[A-Za-z0-9_-]{43}")
KEPT_AFTER_SECONDS: Final = 30 * 86_400


class Enrolments:
    """See the module."""

    def __init__(self, services: Services) -> None:
        self._services = services

    # ---------------------------------------------------------------- tokens

    async def create(
        self,
        org: OrgId,
        enrolment_id: str,
        *,
        life: timedelta,
        note: str,
        labels: Mapping[str, str],
        node_id: NodeId | None,
        by: Actor,
    ) -> tuple[Enrolment, str]:
        """A new token; the second of the pair is shown once and never again.

        Raises:
            NodeNotFound: `node_id` names a node to bring new papers to, and there is none.
        """
        services = self._services
        if node_id is not None:
            await services.nodes.get(org, node_id)
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        now = services.clock.now()
        made = Enrolment(
            id=enrolment_id,
            org_id=org,
            note=note,
            created_by=by.id,
            expires_at=now + life,
            node_id=node_id or NodeId(services.ids.new("nod")),
            labels=dict(labels),
            again=node_id is not None,
            ttl=int(life.total_seconds()) + KEPT_AFTER_SECONDS,
        )
        await services.directory.create(
            EnrolmentHash(
                id=EnrolmentHash.id_of(token),
                org_id=org,
                enrolment_id=made.id,
                node_id=made.node_id,
                expires_at=made.expires_at,
                ttl=int(life.total_seconds()) + 3600,
            )
        )
        target = Target(kind="enrolment", id=made.id)
        entry = services.audit.entry(org, by, "enrolment.created", target, after={"note": note, "node": node_id})
        stored = await services.store.batch(org).create(made).create(entry).commit()
        assert isinstance(stored[0], Enrolment)
        return stored[0], token

    async def page(self, org: OrgId, *, limit: int, cursor: str | None) -> Slice[Enrolment]:
        """Tokens, newest first, without the tokens."""
        return await self._services.store.page(org, Enrolment, limit=limit, cursor=cursor)

    async def revoke(self, org: OrgId, enrolment_id: str, *, by: Actor) -> None:
        """A token that is not to be used. One that is spent or expired already stays as it is.

        Raises:
            EnrolmentNotFound: no such token.
        """
        services = self._services
        try:
            found = await services.store.get(org, Enrolment, enrolment_id)
        except NotFound:
            raise EnrolmentNotFound(f"there is no enrolment token {enrolment_id}") from None
        if found.used_at or found.revoked_at:
            return
        entry = services.audit.entry(org, by, "enrolment.revoked", Target(kind="enrolment", id=enrolment_id))
        revoked = found.having(revoked_at=services.clock.now())
        await services.store.batch(org).replace(revoked).create(entry).commit()

    # ---------------------------------------------------------------- joining

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
        if found is None or found.revoked_at is not None:
            raise EnrolmentRefused("this token is unknown, spent, expired or revoked")
        await services.namespaces.ready_reports_queue("default")
        node = await self._make_node(org, node_id, found, request)
        await services.namespaces.make_queue(node.namespace, node.queue)
        if found.again and found.used_at is None:
            await services.nodes.revoke_all(
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
            changes = {"inventory": inventory, "agent_version": request.agent_version, "protocol": request.protocol}
            return await services.store.update(org, Node, node_id, lambda node: node.having(**changes))
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
            return made
        raise NodeStateConflict("no free name was found in 50 tries: name the node yourself")

    async def _record(self, org: OrgId, node: Node, enrolment: Enrolment, issued: Issued, address: str) -> None:
        services = self._services
        certificate = await self.remember(node, issued)
        actor = Actor(kind="agent", id=node.id, address=address)
        target = Target(kind="node", id=node.id, name=node.name)
        after = {"enrolment": enrolment.id, "thumbprint": certificate.thumbprint}
        entry = services.audit.entry(org, actor, "node.enrolled", target, after=after)
        used = enrolment if enrolment.used_at else enrolment.having(used_at=services.clock.now())
        await services.store.batch(org).create(certificate).replace(used).create(entry).commit()

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

    async def renew(self, org: OrgId, node_id: NodeId, csr_pem: str, address: str) -> Certificate:
        """A further certificate for a node; the old one stands until its end.

        Raises:
            BadCsr: the certificate request does not do.
        """
        services = self._services
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
        return _certificate(issued)

    async def revocation_list(self) -> bytes:
        """The CRL of now (DER)."""
        services = self._services
        now = services.clock.now()
        revoked = [
            (int(one.serial, 16), datetime.fromtimestamp(one.at, now.tzinfo))
            for one in await services.certificates.revoked()
        ]
        return await services.authority.revocation_list(revoked)


def _certificate(issued: Issued) -> Certificate:
    return Certificate(issued.chain_pem, issued.thumbprint, issued.not_before, issued.not_after, issued.renew_after)


def inventory_of(node: Node) -> tuple[Platform | None, Hardware | None]:
    """The typed form of a node's inventory."""
    platform, hardware = node.inventory.get("platform"), node.inventory.get("hardware")
    return (
        codec.from_wire(Platform, platform) if platform else None,
        codec.from_wire(Hardware, hardware) if hardware else None,
    )
