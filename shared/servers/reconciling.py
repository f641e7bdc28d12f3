"""Bringing nodes back to what is desired, when commands were lost, disks restored, or papers drawn anew.

A beat that names other revisions than we have, twice, makes a task of its server: with steps, lease, deadline and audit,
carried by a flow like every other. Nothing here is needed for what goes well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from shared.audit.models import SYSTEM, Target
from shared.messaging.agent_api import ServerState
from shared.nodes.certificates import Holder
from shared.platform.errors import AlreadyExists, Fault, NotFound, PreconditionFailed
from shared.platform.ids import OrgId
from shared.servers.drift import Drift, Kind, Wanted, compare, may_begin
from shared.servers.flows import start_flow
from shared.servers.holds import held_on
from shared.servers.models import Operation, Orphan, Server
from shared.tasks.models import Task, TaskKind
from shared.tasks.rules import DEADLINES, LEASE_MARGIN

if TYPE_CHECKING:
    from shared.composition import Services
    from shared.servers.ports import Flows

_log = logging.getLogger("meridian.servers")
#: Begun at one comparison: a node that lost everything gets its servers in turns, a pause apart.
AT_ONCE: Final = 10
#: In pauses of the comparisons: until what was begun, or is under way, or rests, is looked at again.
REST_PAUSES: Final = 5
STRANGER_TOLD_SECONDS: Final = 30 * 86_400
_KNOWN: Final = (
    "SELECT c.type, c.id, c.server_id, c.revision, c.desired.removed FROM c"
    " WHERE c.ix.node_id = @node AND c.type IN (@server, @orphan)"
)


class Reconciler:
    """See the module."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._seen: dict[str, frozenset[tuple[str, Kind]]] = {}  # by node: what the comparison before found

    async def hear(self, holder: Holder, servers: Sequence[ServerState], flows: Callable[[], Flows]) -> bool:
        """What a beat names; True when something new is not as it should be, and the next beat is wanted soon.

        Never fails: what cannot be compared now is compared another time. `flows` is asked for only when a flow begins.
        """
        services, place = self._services, (holder.shard, holder.place)
        doubted = services.fleet.doubted_at(holder.shard, holder.place)
        if not services.comparisons.due(place, servers, doubted):
            return False
        try:
            found = await self._differences(holder, servers)
            twice = self._seen_twice(holder.node, found)
            ours = [drift for drift in twice if drift.kind is not Kind.STRANGER]
            strangers = [drift for drift in twice if drift.kind is Kind.STRANGER]
            # A stranger that is left alone is no reason to look again: the node would be compared for ever.
            begun = [await self._take(holder, drift, flows) for drift in (*ours[:AT_ONCE], *strangers[:AT_ONCE])]
        except Fault as fault:
            _log.warning("%s could not be compared: %s", holder.node, fault.reason)
            return False
        new = len(found) > len(twice)
        if new or len(ours) > AT_ONCE:
            services.comparisons.again(place)
        elif any(begun):
            services.comparisons.again(place, REST_PAUSES)
        return new

    async def doubt(self, org: OrgId, node_id: str | None) -> None:
        """Something that a node was told may not have arrived: it is compared soon, whoever hears its next beat."""
        if node_id is None:
            return
        try:
            node = await self._services.nodes.get(org, node_id)
            await self._services.fleet.doubt(node.shard, node.place)
        except Fault as fault:  # it is compared each few hours anyway
            _log.info("no doubt about %s could be noted: %s", node_id, fault.reason)

    async def doubt_task(self, org: OrgId, task_id: str) -> None:
        """As `doubt`, for a task that did not end as it should."""
        task = await self._services.store.find(org, Task, task_id)
        if task is not None:
            await self.doubt(org, task.node_id)

    async def _differences(self, holder: Holder, servers: Sequence[ServerState]) -> list[Drift]:
        store = self._services.store
        names = [("@node", holder.node), ("@server", Server.type_name()), ("@orphan", Orphan.type_name())]
        rows = await store.select(holder.org, Server, _KNOWN, [{"name": name, "value": value} for name, value in names])
        held = await held_on(store, self._services.clock, holder.org, holder.node)
        # One that came back to a node which still owed us its cleaning is there by right.
        rows.sort(key=lambda row: bool(row["type"] == Server.type_name()))
        wanted = {one.id: one for one in map(_wanted, rows)}
        return compare(servers, wanted.values(), {hold.server_id for hold in held.holds})

    def _seen_twice(self, node: str, found: list[Drift]) -> list[Drift]:
        before = self._seen.pop(node, frozenset())
        if found:
            self._seen[node] = frozenset((drift.server_id, drift.kind) for drift in found)
        return [drift for drift in found if (drift.server_id, drift.kind) in before]

    async def _take(self, holder: Holder, drift: Drift, flows: Callable[[], Flows]) -> bool:
        """Begin what puts it right, if this is the moment; whether it is to be looked at again."""
        page = await self._services.tasks.page(
            holder.org, filters={"target": drift.server_id}, active=None, limit=20, cursor=None
        )
        if not may_begin(drift, page.items, self._services.clock.now()):
            strange = drift.kind is Kind.STRANGER
            if strange and not page.items:
                await self._tell_of_stranger(holder, drift)
            return not strange
        try:
            task = await self._begin(holder, drift)
        except (AlreadyExists, NotFound, PreconditionFailed):
            return True  # somebody asked for something in this moment: the next comparison sees what came of it
        if task is not None:
            await start_flow(flows(), task)
        return task is not None

    async def _begin(self, holder: Holder, drift: Drift) -> Task | None:
        """Write the task down, with the server's lease where the server is still there; None when it is not this node's."""
        services = self._services
        now = services.clock.now()
        remove = drift.kind in (Kind.OWED, Kind.STRANGER)
        task = Task(
            id=services.ids.new("tsk"),
            org_id=holder.org,
            kind=TaskKind.RECONCILE,
            target=drift.server_id,
            node_id=holder.node,
            by=SYSTEM.id,
            deadline=now + DEADLINES[TaskKind.RECONCILE],
            spec={"remove": remove, "revision": max(drift.said, drift.wanted)},
        )
        batch = services.store.batch(holder.org).create(task)
        server = await services.store.find(holder.org, Server, drift.server_id)
        if server is not None and server.node_id != holder.node:
            if drift.kind is not Kind.OWED:
                return None
            # What goes on elsewhere has nothing to do with the cleaning here: no lease.
        elif server is not None:
            # An agent refuses what is older than what it has: a store that was set back goes on above that.
            revision = drift.said + 1 if drift.kind is Kind.AHEAD else server.revision
            lease = Operation(task_id=task.id, kind=task.kind.value, until=task.deadline + LEASE_MARGIN)
            batch.replace(server.having(operation=lease, revision=revision))
        target = Target(kind="server", id=drift.server_id, name=server.name if server else "")
        entry = services.audit.entry(
            holder.org, SYSTEM, "server.reconciled", target, after={"node": holder.node, "why": drift.text}
        )
        await batch.create(entry).commit()
        _log.info("%s on %s: %s", drift.server_id, holder.node, drift.text)
        return task

    async def _tell_of_stranger(self, holder: Holder, drift: Drift) -> None:
        """Once a month: it is for the owner to say what it is."""
        services = self._services
        if await services.directory.burn("stranger", holder.node, drift.server_id, ttl=STRANGER_TOLD_SECONDS):
            target = Target(kind="node", id=holder.node)
            after: dict[str, Any] = {"server": drift.server_id, "revision": drift.said}
            await services.audit.record(holder.org, SYSTEM, "node.stranger_found", target, after=after)


def _wanted(row: dict[str, Any]) -> Wanted:
    if row["type"] == Orphan.type_name():
        return Wanted(row["server_id"], int(row["revision"]), gone=True)
    return Wanted(row["id"], int(row["revision"]), gone=bool(row.get("removed")))
