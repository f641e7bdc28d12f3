"""Making servers: placed and held, and written down with name, task and the trail's entry in one batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.audit.models import Actor
from shared.placement.models import Demand, Node, Placed, Verdict
from shared.placement.rules import judge, place
from shared.placement.strategy import Strategy
from shared.servers.asking import Asked, asking, at_work, shown, target_of
from shared.servers.demand import demand_of
from shared.servers.models import Desired, NameHeld, Server, TemplateRef, name_id, owed_by
from shared.servers.wishes import Values, complete_template, resources_for, values_for
from shared.tasks.models import PLACE, Step, TaskKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from shared.audit.service import Audit
    from shared.platform.clock import Clock
    from shared.platform.ids import OrgId
    from shared.servers.reserving import Reserver
    from shared.servers.sealing import Sealer
    from shared.servers.views import PlacementTry, ServerCreate
    from shared.store.batch import Batch
    from shared.tasks.models import Task
    from shared.templates.models import Resources
    from shared.templates.service import Found, Templates


class Creation:
    """See the module."""

    def __init__(self, clock: Clock, audit: Audit, templates: Templates, reserver: Reserver, sealer: Sealer) -> None:
        self._clock, self._audit = clock, audit
        self._templates, self._reserver, self._sealer = templates, reserver, sealer

    async def create(
        self,
        org: OrgId,
        body: ServerCreate,
        *,
        server_id: str,
        task_id: str,
        actor: Actor,
        beside: Callable[[Batch, Asked], None] | None = None,
    ) -> Asked:
        """Place a server and write it down with its task.

        Args: `beside` adds to the batch that does so, and may run several times.

        Raises:
            NoRoom: with the reasons of every node.
            NameTaken, TemplateNotFound, TemplateIsDraft, VariablesInvalid, PlacementContended: as their names say.
        """
        found = await complete_template(self._templates, org, body.template, body.version)
        wanted = _wanted(org, server_id, body, found, actor)
        values = values_for(found.template, body.variables)
        wanted = wanted.having(spec=_spec(body, values, await self._sealer.seal(server_id, values.secret)))
        await self._templates.keep(org, found)
        made: list[Asked] = []

        def fill(batch: Batch, node: Node, placed: Placed) -> None:
            made.clear()
            server = _at(wanted, node, placed)
            asked = asking(server, TaskKind.PROVISION, task_id, actor, self._clock.now())
            entry = self._audit.entry(org, actor, "server.created", target_of(server), after=shown(asked.server))
            batch.create(NameHeld(id=name_id(body.name), org_id=org, server_id=server_id))
            batch.create(asked.server).create(asked.task).create(entry)
            if beside is not None:
                beside(batch, asked)
            made.append(asked)

        await self._reserver.reserve(org, server_id, _demand(found, wanted.resources, body), body.strategy, fill)
        return made[0]

    async def holds(self, org: OrgId, server: Server) -> bool:
        """Whether there is room held for the server."""
        return await self._reserver.holds(org, server.node_id, server.id)

    async def dry_run(self, org: OrgId, body: PlacementTry) -> tuple[Placed | None, list[Verdict]]:
        """Where a server would go, and what speaks against each node; nothing is held."""
        found = await complete_template(self._templates, org, body.template, body.version)
        demand = _demand(found, resources_for(found.template, body.resources), body)
        nodes = await self._reserver.look(org)
        chosen = place(demand, nodes, body.strategy)
        return (chosen if isinstance(chosen, Placed) else None), [judge(demand, node) for node in nodes]

    async def place_again(
        self,
        org: OrgId,
        server: Server,
        task: Task,
        beside: Callable[[Batch, Asked], None],
        *,
        on: str | None = None,
        why: str = "",
        known: bool = True,
    ) -> Asked:
        """Hold room once more for a server that is not made yet. What it holds already is given back in the same batch.

        Args: `beside` adds what else belongs into the batch, and may run several times; `on` is the only node it may be,
            or else the one that its maker named; `why` is told in a step of the task; `known` says that the task is
            written down already.

        Raises:
            NoRoom: there is none any more.
        """
        found = await complete_template(self._templates, org, server.template.id, server.template.version)
        labels = server.spec.get("node_labels")
        pinned = on or server.spec.get("node_id")
        demand = demand_of(found.template, server.resources, node_id=pinned, node_labels=labels, group=server.group)
        made: list[Asked] = []

        def fill(batch: Batch, node: Node, placed: Placed) -> None:
            made.clear()
            moved = _at(server, node, placed).having(revision=server.revision + 1)
            renewed = _placed_again(task, server, node, moved, why, self._clock.now())
            again = Asked(at_work(moved, renewed), renewed)
            batch.replace(again.server)
            if server.node_id is not None and server.node_id != node.id:
                batch.upsert(owed_by(moved, server.node_id))  # until it has cleaned; perhaps it owed us that before
            beside(batch.replace(again.task) if known else batch.create(again.task), again)
            made.append(again)

        strategy = Strategy(server.spec.get("strategy", "packed"))
        await self._reserver.reserve(org, server.id, demand, strategy, fill, leaving=server.node_id)
        return made[0]


def _placed_again(task: Task, before: Server, node: Node, server: Server, why: str, now: datetime) -> Task:
    """The task with its new place; what its node did stays done where it is the same node."""
    elsewhere = before.node_id != node.id
    spec = {**task.spec, "left": before.node_id} if elsewhere and before.node_id else task.spec
    kept = [step for step in task.steps if step.name == PLACE or (step.state == "done" and not elsewhere)]
    if why:
        ports = ", ".join(f"{name} {number}" for name, number in server.ports.items())
        detail = f"{why}: placed again on {node.name} with {ports}"
        kept.append(Step(name=PLACE, state="done", started_at=now, percent=100, detail=detail))
    return task.having(node_id=node.id, spec=spec, steps=tuple(kept))


def _demand(found: Found, resources: Resources, body: ServerCreate | PlacementTry) -> Demand:
    return demand_of(found.template, resources, node_id=body.node_id, node_labels=body.node_labels, group=body.group)


def _wanted(org: OrgId, server_id: str, body: ServerCreate, found: Found, actor: Actor) -> Server:
    """The new server, which has no place yet."""
    return Server(
        id=server_id,
        org_id=org,
        name=body.name,
        labels=body.labels,
        template=TemplateRef(id=found.id, key=found.template.key, version=found.version),
        node_id=None,
        resources=resources_for(found.template, body.resources),
        group=body.group,
        desired=Desired(power="on" if body.start else "off"),
        by=actor.id,
    )


def _at(server: Server, node: Node, placed: Placed) -> Server:
    """The server in its place."""
    return server.having(node_id=node.id, address=node.address, join_host=node.join_host, ports=dict(placed.ports))


def _spec(body: ServerCreate, values: Values, sealed: str) -> dict[str, Any]:
    """What a server keeps of what was asked, beside its own fields."""
    return {
        **values.kept(sealed),
        "node_id": body.node_id,  # as it was asked for: it is not placed elsewhere then
        "node_labels": body.node_labels,
        "strategy": body.strategy.value,
    }
