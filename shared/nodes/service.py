"""Nodes: read, renamed, drained, let go; sessions and beats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.audit.models import Actor, Target
from shared.messaging.agent_api import Beat, BeatAnswer, SessionAnswer
from shared.messaging.codec import to_wire
from shared.nodes.certificates import Holder
from shared.nodes.errors import NodeNameTaken, NodeNotEmpty, NodeNotFound, NodeStateConflict
from shared.nodes.known import KnownNodes
from shared.nodes.models import REPORTS_QUEUE, Node, NodeName, NodeObserved, NodeState, Presence
from shared.nodes.rules import Health, NodeEvent, accepted_protocol, health, move, next_beat, worth_keeping
from shared.platform.errors import AlreadyExists, NotFound, PreconditionFailed
from shared.platform.ids import NodeId, OrgId
from shared.store.query import Slice, Where
from shared.store.scoped import MAX_PAGE

if TYPE_CHECKING:
    from shared.composition import Services


@dataclass(frozen=True, slots=True)
class Seen:
    """A node with whether it answers."""

    node: Node
    presence: Presence
    heard_at: datetime | None


class Nodes:
    """See the module."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._observed: dict[str, NodeObserved] = {}
        self.known = KnownNodes(services.clock, self.get, self._all)

    # ---------------------------------------------------------------- reading

    async def get(self, org: OrgId, node_id: str) -> Node:
        """One node.

        Raises:
            NodeNotFound: no such node in the organization.
        """
        try:
            return await self._services.store.get(org, Node, node_id)
        except NotFound:
            raise NodeNotFound(f"there is no node {node_id}") from None

    async def see(self, org: OrgId, node_id: str, *, watch: bool = False) -> Seen:
        """One node with its presence; `watch` has it beat more often for the next minute."""
        node = await self.get(org, node_id)
        if watch and node.state is not NodeState.DECOMMISSIONED:
            await self._services.fleet.watch(node.shard, node.place)
        return await self.seen(node)

    async def _all(self, org: OrgId) -> list[Node]:
        found: list[Node] = []
        cursor = None
        while True:
            page = await self._services.store.page(org, Node, sort="id", limit=MAX_PAGE, cursor=cursor)
            found += page.items
            if (cursor := page.cursor) is None:
                return found

    async def seen(self, node: Node) -> Seen:
        """A node that was read, with whether it answers now."""
        there, heard = await self._services.fleet.presence(node.shard, node.place)
        return Seen(node, there, heard)

    async def page(
        self,
        org: OrgId,
        *,
        filters: Mapping[str, Any],
        where: Sequence[Where],
        sort: str,
        limit: int,
        cursor: str | None,
    ) -> Slice[Seen]:
        """A page of nodes with their presence."""
        found = await self._services.store.page(
            org, Node, filters=filters, where=where, sort=sort, limit=limit, cursor=cursor
        )
        return Slice([await self.seen(node) for node in found.items], found.cursor)

    async def observed(self, org: OrgId, node_id: str) -> NodeObserved | None:
        """What the node said last."""
        return await self._services.store.find(org, NodeObserved, NodeObserved.id_of(node_id))

    async def health(self, org: OrgId, node_id: str) -> tuple[Health, NodeObserved | None]:
        """How a node is, with every reason, and what it said last; it tells more often while it is asked for."""
        seen = await self.see(org, node_id, watch=True)
        holding = [one for one in await self._services.papers.of_node(org, node_id) if one.revoked_at is None]
        end = max((one.not_after for one in holding), default=None)
        observed = await self.observed(org, node_id)
        return health(seen.node, seen.presence, observed, end, self._services.clock.now()), observed

    # ---------------------------------------------------------------- changing

    async def change(
        self, org: OrgId, node_id: str, changes: Mapping[str, Any], *, etag: str | None, by: Actor
    ) -> Node:
        """Rename, relabel, set limits.

        Raises:
            NodeNameTaken: another node has the name.
            PreconditionFailed: somebody changed it since.
        """
        services = self._services
        before = await self.get(org, node_id)
        after = before.having(**changes)
        if etag is not None:
            after = after.having(etag=etag)
        batch = services.store.batch(org).replace(after)
        if NodeName.id_of(after.name) != NodeName.id_of(before.name):
            holder = NodeName(id=NodeName.id_of(after.name), org_id=org, node_id=NodeId(node_id))
            batch = batch.create(holder).delete(NodeName, NodeName.id_of(before.name))
        shown = {name: getattr(after, name) for name in changes}
        was = {name: getattr(before, name) for name in changes}
        target = Target(kind="node", id=node_id, name=after.name)
        entry = services.audit.entry(org, by, "node.changed", target, before=_plain(was), after=_plain(shown))
        try:
            stored = await batch.create(entry).commit()
        except AlreadyExists:
            raise NodeNameTaken(f"another node is named {after.name!r}") from None
        self.known.forget(org, node_id)
        assert isinstance(stored[0], Node)
        return stored[0]

    async def apply(self, org: OrgId, node_id: str, event: NodeEvent, reason: str, *, by: Actor) -> Node:
        """Drain, maintain, resume. Works whether the node answers or not: it is our state, the node follows.

        Raises:
            NodeStateConflict: the event has no place in the node's state.
        """
        before = await self.get(org, node_id)
        after = move(before.state, event)
        return await self.change(org, node_id, {"state": after, "state_reason": reason}, etag=before.etag, by=by)

    async def decommission(self, org: OrgId, node_id: str, reason: str, *, by: Actor, force: bool = False) -> Node:
        """Let a node go, reachable or not: its certificates die and its queue goes.

        Each step may be repeated: asked again after a crash, it goes on where it stopped.

        Raises:
            NodeNotEmpty: servers are on it, and `force` does not say that they are given up.
        """
        services = self._services
        node = await self.get(org, node_id)
        if node.state is not NodeState.DECOMMISSIONED:
            move(node.state, NodeEvent.DECOMMISSION)
            held = (await services.capacity.of_node(org, node_id)).servers
            if held and not force:
                raise NodeNotEmpty(
                    f"{held} servers are on the node: move or delete them, or give them up", servers=held
                )
            changes = {"state": NodeState.DECOMMISSIONED, "state_reason": reason}
            node = await self.change(
                org, node_id, {**changes, "decommissioned_at": services.clock.now()}, etag=node.etag, by=by
            )
        await services.papers.revoke_all(org, node_id, "decommissioned", by)
        await services.namespaces.remove_queue(node.namespace, node.queue)
        await services.fleet.leave(node.shard, node.place)
        return node

    async def let_all_go(self, org: OrgId, reason: str, *, by: Actor) -> None:
        """Decommission every node, for an organization that is being erased. May be repeated."""
        ids = await self._services.store.select(
            org,
            Node,
            "SELECT VALUE c.id FROM c WHERE c.ix.type = @type",
            [{"name": "@type", "value": Node.type_name()}],
        )
        for node_id in ids:
            await self.decommission(org, str(node_id), reason, by=by, force=True)

    async def forget(self, org: OrgId, node_id: str, *, etag: str | None, by: Actor) -> None:
        """Delete a decommissioned node's record; the audit trail keeps that it was.

        Raises:
            NodeStateConflict: it is not decommissioned.
            PreconditionFailed: it is not the version with that ETag (None: any) any more.
        """
        services = self._services
        node = await self.get(org, node_id)
        if etag not in (node.etag, None):
            raise PreconditionFailed("the node was changed in the meantime")
        if node.state is not NodeState.DECOMMISSIONED:
            raise NodeStateConflict(f"a node that is {node.state} cannot be forgotten: decommission it first")
        entry = services.audit.entry(org, by, "node.forgotten", Target(kind="node", id=node_id, name=node.name))
        batch = services.store.batch(org).delete(Node, node_id, etag=node.etag).create(entry)
        holder = await services.store.find(org, NodeName, NodeName.id_of(node.name))
        if holder is not None and holder.node_id == node_id:
            batch = batch.delete(NodeName, holder.id)
        if await self.observed(org, node_id) is not None:
            batch = batch.delete(NodeObserved, NodeObserved.id_of(node_id))
        await batch.commit()
        self.known.forget(org, node_id)

    # ---------------------------------------------------------------- what agents ask

    async def session(self, org: OrgId, node_id: NodeId) -> SessionAnswer:
        """Access to exactly the node's queue and the reports', for an hour.

        Raises:
            NodeStateConflict: the node is decommissioned: its certificates are, or are just being, revoked.
        """
        services = self._services
        node = await self.get(org, node_id)
        if node.state is NodeState.DECOMMISSIONED:
            raise NodeStateConflict("the node is decommissioned")
        await services.namespaces.ready_reports_queue(node.namespace)
        return SessionAnswer(
            namespace=services.namespaces.address(node.namespace),
            commands=await services.namespaces.grant(node.namespace, node.queue, "listen"),
            reports=await services.namespaces.grant(node.namespace, REPORTS_QUEUE, "send"),
            command_keys=await services.authority.signer_chains(),
            server_time=services.clock.now(),
        )

    async def beat(
        self, holder: Holder, skew: float, beat: Beat, look: Callable[[], Awaitable[bool]] | None = None
    ) -> BeatAnswer:
        """A node lives. Written only where something changed; a repeated beat is answered and changes nothing.

        Args: `look` is asked with each beat that is not a repeated one; True from it asks for the next beat soon.
        """
        services = self._services
        accepted_protocol(beat.protocol)
        watched = await services.fleet.watched(holder.shard, holder.place)
        wanted = False
        if services.fleet.fresh(holder.shard, holder.place, beat.sequence):
            await services.fleet.hear(holder.shard, holder.place)
            await self._keep(holder, skew, beat, watched=watched)
            wanted = look is not None and await look()
        restless = beat.journal_depth > 0 or any(
            one.state in ("installing", "starting", "stopping") for one in beat.servers
        )
        return BeatAnswer(
            next_seconds=next_beat(watched=watched or wanted, restless=restless),
            watched=watched,
            server_time=services.clock.now(),
        )

    async def _keep(self, holder: Holder, skew: float, beat: Beat, *, watched: bool) -> None:
        services = self._services
        now = NodeObserved(
            id=NodeObserved.id_of(holder.node),
            org_id=holder.org,
            node_id=holder.node,
            observed_at=services.clock.now(),
            agent_version=beat.agent_version,
            protocol=beat.protocol,
            boot_id=beat.boot_id,
            cpu_percent=beat.cpu_percent,
            memory_used_mib=beat.memory_used_mib,
            disk_free_mib=beat.disk_free_mib,
            disks=tuple(map(to_wire, beat.disks)),
            received_kib_s=beat.received_kib_s,
            sent_kib_s=beat.sent_kib_s,
            journal_depth=beat.journal_depth,
            reports_dropped=beat.reports_dropped,
            link=beat.link,
            clock_skew_seconds=round(skew, 1),
            issues=beat.issues,
        )
        before = self._observed.get(holder.node)
        if worth_keeping(before, now, watched=watched):
            await services.store.upsert(holder.org, now)
            if before is None or (before.agent_version, before.protocol) != (now.agent_version, now.protocol):
                await self._keep_release(holder, now)
            self._observed[holder.node] = now

    async def _keep_release(self, holder: Holder, seen: NodeObserved) -> None:
        """The node shows which release it runs, and how far that is behind: it changes with an update, not only at enrolment."""

        def change(node: Node) -> Node:
            if (node.agent_version, node.protocol) == (seen.agent_version, seen.protocol):
                return node
            return node.having(agent_version=seen.agent_version, protocol=seen.protocol)

        await self._services.store.update(holder.org, Node, holder.node, change)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    def one(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.isoformat()
        if isinstance(value, tuple):
            return [one(item) for item in value]
        return value.model_dump() if hasattr(value, "model_dump") else value

    return {name: one(value) for name, value in values.items()}
