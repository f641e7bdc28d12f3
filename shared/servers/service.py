"""What doors ask about servers. Every change is one batch: the server, its task, its hold, and the audit's entry.

batch ──▶ command to the node's queue ──▶ orchestration that waits for the report
  │ crash here: the task is PENDING, a timer begins its orchestration, which sends
  └──────────── crash here: the orchestration is not there, the timer begins it; the command, sent again, is the same
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.audit.models import Actor, AuditPending, Target
from shared.audit.service import Audit
from shared.placement.models import Node, Placed, Strategy, Verdict
from shared.placement.rules import judge, place
from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists, NotFound, PreconditionFailed
from shared.platform.ids import Ids, OrgId
from shared.servers.demand import amount_of, demand_of, spec_of
from shared.servers.errors import NameTaken, NotInThisState, OperationUnderWay, ServerSuspended, TemplateIsDraft
from shared.servers.lifecycle import TRANSITIONS, Event, Status
from shared.servers.models import (
    Desired,
    NameHeld,
    Operation,
    Server,
    ServerObserved,
    TemplateRef,
    name_id,
    observed_id,
    operation_of,
    status_of,
)
from shared.servers.ports import NodeSource
from shared.servers.reserving import Reserver
from shared.servers.sealing import Sealer, make_secret
from shared.servers.views import PlacementTry, ServerCreate, ServerEdit
from shared.store.batch import Batch
from shared.store.query import Slice, Where
from shared.store.scoped import Store
from shared.tasks.models import Task, TaskKind
from shared.tasks.rules import DEADLINES, LEASE_MARGIN
from shared.templates.errors import VariablesInvalid
from shared.templates.models import Resources, Scalar, Template
from shared.templates.rendering import resource_faults
from shared.templates.service import Found, Templates
from shared.templates.variables import resolve


@dataclass(frozen=True, slots=True)
class Asked:
    """What was written down: the server, and the task that will see to it."""

    server: Server
    task: Task


#: What each request changes of what is desired, and the task it makes.
KINDS: Final[dict[Event, TaskKind]] = {
    Event.START: TaskKind.START,
    Event.STOP: TaskKind.STOP,
    Event.RESTART: TaskKind.RESTART,
    Event.KILL: TaskKind.KILL,
    Event.REINSTALL: TaskKind.REINSTALL,
    Event.SUSPEND: TaskKind.SUSPEND,
    Event.RESUME: TaskKind.RESUME,
    Event.DELETE: TaskKind.DELETE,
}


def desire(before: Desired, event: Event, *, reason: str = "", fresh: bool = False) -> Desired:
    """What is desired after a request."""
    match event:
        case Event.START:
            return before.model_copy(update={"power": "on"})
        case Event.STOP | Event.KILL:
            return before.model_copy(update={"power": "off"})
        case Event.RESTART:
            return before.model_copy(update={"power": "on", "restarts": before.restarts + 1})
        case Event.REINSTALL:
            return before.model_copy(update={"generation": before.generation + 1, "fresh": fresh})
        case Event.SUSPEND:
            return before.model_copy(update={"suspended": reason or "suspended"})
        case Event.RESUME:
            return before.model_copy(update={"suspended": None})
        case Event.DELETE:
            return before.model_copy(update={"removed": True, "power": "off"})
        case _:
            return before


class Servers:
    """See the module."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: Ids,
        audit: Audit,
        templates: Templates,
        nodes: NodeSource,
        sealer: Sealer,
    ) -> None:
        self._store, self._clock, self._ids, self._audit = store, clock, ids, audit
        self._templates, self._sealer = templates, sealer
        self._reserver = Reserver(store, nodes, clock)

    # ---------------------------------------------------------------- making

    async def create(self, org: OrgId, body: ServerCreate, *, server_id: str, task_id: str, actor: Actor) -> Asked:
        """Place a server and write it down with its task.

        Raises:
            NoRoom: with the reasons of every node.
            NameTaken, TemplateNotFound, TemplateIsDraft, VariablesInvalid, PlacementContended: as their names say.
        """
        found = await self._template(org, body.template, body.version)
        template = found.template
        resources = self._resources(template, body.resources)
        plain, secret = self._split(template, self._values(template, body.variables))
        sealed = await self._sealer.seal(server_id, secret)
        await self._templates.keep(org, found)
        demand = demand_of(template, resources, node_id=body.node_id, node_labels=body.node_labels, group=body.group)
        made: list[Asked] = []
        entries: list[AuditPending] = []

        def fill(batch: Batch, node: Node, placed: Placed) -> None:
            made.clear()
            entries.clear()
            server = Server(
                id=server_id,
                org_id=org,
                name=body.name,
                labels=body.labels,
                template=TemplateRef(id=found.id, key=template.key, version=found.version),
                node_id=node.id,
                address=node.address,
                join_host=node.join_host,
                ports=dict(placed.ports),
                resources=resources,
                group=body.group,
                desired=Desired(power="on" if body.start else "off"),
                spec={
                    "variables": plain,
                    "sealed": sealed,
                    "secret_names": sorted(secret),
                    "node_labels": body.node_labels,
                    "strategy": body.strategy.value,
                },
                by=actor.id,
            )
            asked = self._asking(server, TaskKind.PROVISION, task_id, actor)
            entry = self._audit.pending(org, actor, "server.created", _target(server), after=_shown(asked.server))
            batch.create(NameHeld(id=name_id(body.name), org_id=org, server_id=server_id))
            batch.create(asked.server).create(asked.task).create(entry)
            made.append(asked)
            entries.append(entry)

        await self._reserver.reserve(org, server_id, demand, body.strategy, fill)
        await self._audit.settle(*entries)
        return made[0]

    async def dry_run(self, org: OrgId, body: PlacementTry) -> tuple[Placed | None, list[Verdict]]:
        """Where a server would go, and what speaks against each node; nothing is held."""
        found = await self._template(org, body.template, body.version)
        resources = self._resources(found.template, body.resources)
        demand = demand_of(
            found.template, resources, node_id=body.node_id, node_labels=body.node_labels, group=body.group
        )
        nodes = await self._reserver.look(org)
        chosen = place(demand, nodes, body.strategy)
        return (chosen if isinstance(chosen, Placed) else None), [judge(demand, node) for node in nodes]

    async def place_again(self, org: OrgId, server: Server, task: Task) -> Asked:
        """Hold room once more for a server whose provisioning failed and whose hold was released.

        Raises:
            NoRoom: there is none any more.
        """
        found = await self._template(org, server.template.id, server.template.version)
        demand = demand_of(
            found.template, server.resources, node_labels=server.spec.get("node_labels"), group=server.group
        )
        made: list[Asked] = []

        def fill(batch: Batch, node: Node, placed: Placed) -> None:
            made.clear()
            again = server.having(
                node_id=node.id,
                address=node.address,
                join_host=node.join_host,
                ports=dict(placed.ports),
                revision=server.revision + 1,
            )
            renewed = task.having(node_id=node.id)
            again = again.having(operation=_operation(renewed))
            batch.replace(again).replace(renewed)
            made.append(Asked(again, renewed))

        strategy = Strategy(server.spec.get("strategy", "packed"))
        await self._reserver.reserve(org, server.id, demand, strategy, fill)
        return made[0]

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
        found = await self._page_by_labels(org, filters, labels, limit, cursor)
        return found, await self._observed_of(org, [server.id for server in found.items])

    async def _page_by_labels(
        self, org: OrgId, filters: Mapping[str, Any], labels: Mapping[str, str], limit: int, cursor: str | None
    ) -> Slice[Server]:
        if not labels:
            return await self._store.page(org, Server, filters=filters, limit=limit, cursor=cursor)
        # A label's key may hold dots and dashes, which a field name of a query may not: filtered here, page by page.
        kept: list[Server] = []
        while True:
            page = await self._store.page(org, Server, filters=filters, limit=limit, cursor=cursor)
            kept += [s for s in page.items if all(s.labels.get(key) == value for key, value in labels.items())]
            cursor = page.cursor
            if cursor is None or len(kept) >= limit:
                return Slice(kept, cursor)

    async def _observed_of(self, org: OrgId, server_ids: list[str]) -> dict[str, ServerObserved]:
        if not server_ids:
            return {}
        page = await self._store.page(
            org, ServerObserved, where=[Where("server_id", "in", server_ids)], limit=len(server_ids)
        )
        return {observed.server_id: observed for observed in page.items}

    async def secrets_of(self, server: Server) -> dict[str, Scalar]:
        """The secret values, for those who may see them."""
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
        """
        server, observed = await self.get(org, server_id)
        if etag is not None and server.etag != etag:
            raise PreconditionFailed(f"Server {server_id} was changed in the meantime")
        self._check(server, observed, event)
        desired = desire(server.desired, event, reason=reason, fresh=fresh)
        changed = server.having(desired=desired, revision=server.revision + 1)
        asked = self._asking(changed, KINDS[event], task_id, actor)
        batch = self._store.batch(org).replace(asked.server).create(asked.task)
        stored = await batch.commit()
        await self._audit.record(
            org, actor, f"server.{event.value}", _target(server), after={"revision": changed.revision, "reason": reason}
        )
        assert isinstance(stored[0], Server)
        return Asked(stored[0], asked.task)

    def _check(self, server: Server, observed: ServerObserved | None, event: Event) -> None:
        status = status_of(server, observed)
        operation = operation_of(server, observed)
        if operation is not None and operation.until <= self._clock.now():
            operation = None
        if status is Status.SUSPENDED and (status, event) not in TRANSITIONS:
            raise ServerSuspended(f"it is suspended: {server.desired.suspended}")
        interrupts = event in (Event.DELETE, Event.KILL, Event.SUSPEND, Event.STOP)
        if operation is not None and operation.kind == TaskKind.PROVISION and event is not Event.DELETE:
            raise OperationUnderWay(f"it is being provisioned (task {operation.task_id})", task=operation.task_id)
        if operation is not None and not interrupts:
            raise OperationUnderWay(f"{operation.kind} is under way (task {operation.task_id})", task=operation.task_id)
        if (status, event) in TRANSITIONS:
            return
        raise NotInThisState(f"it is {status}, and {event} is not possible then", status=status.value)

    async def edit(
        self, org: OrgId, server_id: str, body: ServerEdit, *, etag: str | None, actor: Actor
    ) -> tuple[Server, ServerObserved | None, str]:
        """Change a server; with it comes what it takes to be in force: "none", "restart" or "reinstall".

        Raises:
            NameTaken, NoRoom, VariablesInvalid, PreconditionFailed: as their names say.
        """
        server, observed = await self.get(org, server_id)
        if etag is not None and server.etag != etag:
            raise PreconditionFailed(f"Server {server_id} was changed in the meantime")
        before = await self._templates.find(org, server.template.id, server.template.version)
        after = before if body.version is None else await self._template(org, server.template.id, body.version)
        await self._templates.keep(org, after)
        secrets = await self.secrets_of(server)
        kept = {n: v for n, v in {**server.variables, **secrets}.items() if after.template.variable(n)}
        changed_values = body.variables or {}
        plain, secret = self._split(
            after.template, self._values(after.template, {**kept, **changed_values}, changed=changed_values)
        )
        changed = server.having(
            name=body.name or server.name,
            labels=dict(server.labels if body.labels is None else body.labels),
            resources=self._resources(after.template, body.resources or server.resources),
            template=TemplateRef(id=after.id, key=after.template.key, version=after.version),
            spec={
                **server.spec,
                "variables": plain,
                "sealed": await self._sealer.seal(server.id, secret),
                "secret_names": sorted(secret),
            },
            revision=server.revision + 1,
        )
        needs = self._effect(server, before.template, secrets, changed, after.template, secret)
        if needs == "reinstall":
            desired = changed.desired.model_copy(update={"generation": changed.desired.generation + 1})
            changed = changed.having(desired=desired)
        return await self._store_edit(org, server, changed, actor), observed, needs

    @staticmethod
    def _effect(
        before: Server,
        one: Template,
        secrets: Mapping[str, Scalar],
        after: Server,
        two: Template,
        new: Mapping[str, Scalar],
    ) -> str:
        from shared.templates.versions import effect

        return effect(spec_of(before, one, secrets), spec_of(after, two, new))

    async def _store_edit(self, org: OrgId, before: Server, after: Server, actor: Actor) -> Server:
        batch = self._store.batch(org)
        if after.name != before.name:
            batch.create(NameHeld(id=name_id(after.name), org_id=org, server_id=before.id))
            batch.delete(NameHeld, name_id(before.name))
        if after.resources != before.resources and before.node_id is not None:
            batch.replace(await self._reserver.resized(org, before.node_id, before.id, amount_of(after.resources)))
        entry = self._audit.pending(
            org, actor, "server.updated", _target(before), before=_shown(before), after=_shown(after)
        )
        batch.replace(after).create(entry)
        try:
            stored = await batch.commit()
        except AlreadyExists:
            raise NameTaken(f"there is a server named {after.name}") from None
        await self._audit.settle(entry)
        return next(document for document in stored if isinstance(document, Server))

    # ---------------------------------------------------------------- parts

    def _asking(self, server: Server, kind: TaskKind, task_id: str, actor: Actor) -> Asked:
        now = self._clock.now()
        task = Task(
            id=task_id,
            org_id=server.org_id,
            kind=kind,
            target=server.id,
            node_id=server.node_id,
            by=actor.id,
            deadline=now + DEADLINES[kind],
        )
        return Asked(server.having(operation=_operation(task)), task)

    async def _template(self, org: OrgId, ref: str, version: int | None) -> Found:
        found = await self._templates.find(org, ref, version)
        if found.template.draft:
            raise TemplateIsDraft(f"complete it first: {', '.join(found.template.draft)}")
        return found

    @staticmethod
    def _resources(template: Template, given: Resources | None) -> Resources:
        resources = given or template.resources
        faults = resource_faults(template, resources)
        if faults:
            raise VariablesInvalid(faults)
        return resources

    @staticmethod
    def _values(
        template: Template, given: Mapping[str, Any], changed: Mapping[str, Any] | None = None
    ) -> dict[str, Scalar]:
        locked = frozenset(each.name for each in template.variables if not each.editable)
        touched = given if changed is None else changed
        return resolve(template, given, generate=make_secret, locked=frozenset(locked & touched.keys()))

    @staticmethod
    def _split(template: Template, values: Mapping[str, Scalar]) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
        secret = {each.name for each in template.variables if each.secret}
        plain = {name: value for name, value in values.items() if name not in secret}
        return plain, {name: value for name, value in values.items() if name in secret}

    async def observed(self, org: OrgId, server_id: str) -> ServerObserved:
        """What the node last said.

        Raises:
            NotFound: it has said nothing yet.
        """
        found = await self._store.find(org, ServerObserved, observed_id(server_id))
        if found is None:
            raise NotFound(f"nothing is known of {server_id} yet")
        return found


def _operation(task: Task) -> Operation:
    return Operation(task_id=task.id, kind=task.kind.value, until=task.deadline + LEASE_MARGIN)


def _target(server: Server) -> Target:
    return Target(kind="server", id=server.id, name=server.name)


def _shown(server: Server) -> dict[str, Any]:
    """What the audit trail says of a server: no value of a variable, which may be a secret under another name."""
    return {
        "name": server.name,
        "labels": server.labels,
        "template": f"{server.template.id}@{server.template.version}",
        "node_id": server.node_id,
        "ports": server.ports,
        "resources": server.resources.model_dump(),
        "revision": server.revision,
        "variables": sorted(server.variables),
    }
