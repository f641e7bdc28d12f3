"""What a request changes: what is desired, the state's permission for it, and the task that sees to it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shared.audit.models import Actor, Target
from shared.servers.errors import NotInThisState, OperationUnderWay, ServerSuspended
from shared.servers.lifecycle import TRANSITIONS, Event, Status
from shared.servers.models import Desired, Operation, Server, ServerObserved, operation_of, status_of
from shared.tasks.models import Task, TaskKind
from shared.tasks.rules import DEADLINES, LEASE_MARGIN

#: What may begin while something else is under way.
INTERRUPTS: Final = (Event.DELETE, Event.KILL, Event.SUSPEND, Event.STOP)
#: What takes back what is under way, and the state that this leads through whatever its node last said: a node that is
#: away has done neither, and does the later one when it is back.
TAKES_BACK: Final[dict[tuple[str, Event], Status]] = {
    (TaskKind.STOP, Event.START): Status.STOPPING,
    (TaskKind.KILL, Event.START): Status.STOPPING,
    (TaskKind.SUSPEND, Event.RESUME): Status.SUSPENDED,
}


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
#: What the trail calls each request: that it was asked and is desired since; the task tells how it went.
ACTIONS: Final[dict[Event, str]] = {
    Event.START: "server.started",
    Event.STOP: "server.stopped",
    Event.RESTART: "server.restarted",
    Event.KILL: "server.killed",
    Event.REINSTALL: "server.reinstalled",
    Event.SUSPEND: "server.suspended",
    Event.RESUME: "server.resumed",
    Event.DELETE: "server.deleted",
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


def check(server: Server, observed: ServerObserved | None, event: Event, now: datetime) -> None:
    """Whether the event may be asked of the server now.

    Raises:
        NotInThisState: the table of states does not have it.
        OperationUnderWay: something is being done that this cannot interrupt.
        ServerSuspended: only resuming and deleting are possible.
    """
    status = status_of(server, observed)
    operation = operation_of(server, observed)
    if operation is not None and operation.until <= now:
        operation = None
    if status is Status.SUSPENDED and (status, event) not in TRANSITIONS:
        raise ServerSuspended(f"it is suspended: {server.desired.suspended}")
    if operation is not None and operation.kind == TaskKind.PROVISION and event is not Event.DELETE:
        raise OperationUnderWay(f"it is being provisioned (task {operation.task_id})", task=operation.task_id)
    through = TAKES_BACK.get((operation.kind, event)) if operation is not None else None
    if operation is not None and event not in INTERRUPTS and through is None:
        raise OperationUnderWay(f"{operation.kind} is under way (task {operation.task_id})", task=operation.task_id)
    if (through or status, event) not in TRANSITIONS:
        raise NotInThisState(f"it is {status}, and {event} is not possible then", status=status.value)


def asking(server: Server, kind: TaskKind, task_id: str, actor: Actor, now: datetime) -> Asked:
    """The task of a request, and the server with it at work."""
    task = Task(
        id=task_id,
        org_id=server.org_id,
        kind=kind,
        target=server.id,
        node_id=server.node_id,
        by=actor.id,
        deadline=now + DEADLINES[kind],
    )
    return Asked(at_work(server, task), task)


def at_work(server: Server, task: Task) -> Server:
    """The server with the task as its operation."""
    operation = Operation(task_id=task.id, kind=task.kind.value, until=task.deadline + LEASE_MARGIN)
    return server.having(operation=operation)


def target_of(server: Server) -> Target:
    """A server as the audit trail names it."""
    return Target(kind="server", id=server.id, name=server.name)


def shown(server: Server) -> dict[str, Any]:
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
        "desired": server.desired.model_dump(),
    }
