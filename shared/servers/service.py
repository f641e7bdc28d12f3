"""What doors ask about servers. Every change is one batch: the server, its task, its hold, and the trail's entry.

batch ──▶ command to the node's queue ──▶ orchestration that waits for the report
  │ crash here: the task is PENDING, a timer begins its orchestration, which sends
  └──────────── crash here: the orchestration is not there, the timer begins it; the command, sent again, is the same
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from shared.audit.models import Actor
from shared.audit.service import Audit
from shared.platform.clock import Clock
from shared.platform.errors import PreconditionFailed
from shared.platform.ids import OrgId
from shared.servers.asking import ACTIONS, KINDS, Asked, asking, check, desire, shown, target_of
from shared.servers.creating import Creation
from shared.servers.editing import Editing
from shared.servers.errors import TooManyChosen
from shared.servers.lifecycle import Event
from shared.servers.models import Server, ServerObserved, observed_id
from shared.servers.ports import NodeSource
from shared.servers.reserving import Reserver
from shared.servers.sealing import Sealer
from shared.servers.views import ServerEdit
from shared.store.batch import Batch
from shared.store.query import Slice, Where
from shared.store.scoped import MAX_PAGE, Store
from shared.templates.models import Scalar
from shared.templates.service import Templates

#: What one call begins within a few seconds: each takes a batch of the store and a message to its node.
MAX_CHOSEN: Final = 200


class Servers:
    """Reading and asking; `creation` makes servers. See the module."""

    def __init__(
        self, store: Store, clock: Clock, audit: Audit, templates: Templates, nodes: NodeSource, sealer: Sealer
    ) -> None:
        self._store, self._clock, self._audit, self._sealer = store, clock, audit, sealer
        reserver = Reserver(store, nodes, clock)
        self.creation = Creation(clock, audit, templates, reserver, sealer)
        self._editing = Editing(store, audit, templates, reserver, sealer)

    # ---------------------------------------------------------------- reading

    async def get(self, org: OrgId, server_id: str) -> tuple[Server, ServerObserved | None]:
        """A server, and what its node last said.

        Raises:
            NotFound: there is none.
        """
        server = await self._store.get(org, Server, server_id)
        return server, await self._store.find(org, ServerObserved, observed_id(server_id))

    async def page(
        self, org: OrgId, *, filters: Mapping[str, Any], labels: Mapping[str, str], limit: int, cursor: str | None
    ) -> tuple[Slice[Server], dict[str, ServerObserved]]:
        """A page of servers with what their nodes last said: two queries, however many servers."""
        where = [Where(("labels", key), "=", value) for key, value in labels.items()]
        found = await self._store.page(org, Server, filters=filters, where=where, limit=limit, cursor=cursor)
        return found, await self._observed_of(org, [server.id for server in found.items])

    async def chosen(
        self, org: OrgId, labels: Mapping[str, str], *, visible: Callable[[str], bool] | None = None
    ) -> list[Server]:
        """All servers with these labels (of those whose id `visible` knows), for one call to act on each.

        Raises:
            TooManyChosen: they are more than one call acts on. Acting on some of them would look like acting on all.
        """
        where, cursor = [Where(("labels", key), "=", value) for key, value in labels.items()], None
        found: list[Server] = []
        while True:
            page = await self._store.page(org, Server, where=where, limit=MAX_PAGE, cursor=cursor)
            found += [server for server in page.items if visible is None or visible(server.id)]
            if (cursor := page.cursor) is None:
                break
        if len(found) > MAX_CHOSEN:
            reason = f"{len(found)} servers have these labels, and one call acts on {MAX_CHOSEN} at most: add a label"
            raise TooManyChosen(reason, matched=len(found), limit=MAX_CHOSEN)
        return found

    async def _observed_of(self, org: OrgId, server_ids: list[str]) -> dict[str, ServerObserved]:
        if not server_ids:
            return {}
        ids = [observed_id(server_id) for server_id in server_ids]
        page = await self._store.page(org, ServerObserved, where=[Where("id", "in", ids)], limit=len(ids))
        return {observed.server_id: observed for observed in page.items}

    async def secrets_of(self, org: OrgId, server: Server, *, by: Actor) -> dict[str, Scalar]:
        """The secret values, for those who may see them; who looks is written down before they see.

        Raises:
            Fault: it cannot be written down: then nobody looks.
        """
        await self._audit.record(org, by, "server.secrets_read", target_of(server))
        return await self._sealer.open(server.id, server.spec.get("sealed", ""))

    # ---------------------------------------------------------------- asking

    async def ask(
        self,
        org: OrgId,
        server_id: str,
        event: Event,
        *,
        task_id: str,
        actor: Actor,
        etag: str | None = None,
        reason: str = "",
        fresh: bool = False,
    ) -> Asked:
        """Change what is desired, and write down the task that sees to it. Works whether the node is there or not.

        Raises:
            NotInThisState: the table of states does not have it.
            OperationUnderWay: something is being done that this cannot interrupt.
            ServerSuspended: only resuming and deleting are possible.
            NoRoom: what could not be installed holds nothing any more, and its node has no room for it now.
        """
        server, observed = await self.get(org, server_id)
        if etag is not None and server.etag != etag:
            raise PreconditionFailed(f"Server {server_id} was changed in the meantime")
        now = self._clock.now()
        check(server, observed, event, now)
        desired = desire(server.desired, event, reason=reason, fresh=fresh)
        changed = server.having(desired=desired, revision=server.revision + 1)
        asked = asking(changed, KINDS[event], task_id, actor, now)
        entry = self._audit.entry(
            org, actor, ACTIONS[event], target_of(server), before=shown(server), after=shown(changed)
        )
        if event is Event.REINSTALL and not await self.creation.holds(org, server):

            def beside(batch: Batch, _: Asked) -> None:
                batch.create(entry)

            return await self.creation.place_again(org, changed, asked.task, beside, on=server.node_id, known=False)
        stored = await self._store.batch(org).replace(asked.server).create(asked.task).create(entry).commit()
        assert isinstance(stored[0], Server)
        return Asked(stored[0], asked.task)

    async def edit(
        self, org: OrgId, server_id: str, body: ServerEdit, *, etag: str | None, actor: Actor
    ) -> tuple[Server, ServerObserved | None, str]:
        """Change a server; with it comes what it takes to be in force: "none", "restart" or "reinstall".

        Raises:
            NameTaken, NoRoom, VariablesInvalid, PreconditionFailed: as their names say.
        """
        return await self._editing.edit(org, await self.get(org, server_id), body, etag=etag, by=actor)
