"""Beginning the flows. The task's id is the orchestration's instance id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.messaging.commands import command_id, report_event
from shared.platform.clock import rfc3339
from shared.platform.flows import start_once
from shared.tasks.models import Task, TaskKind
from shared.tasks.rules import step_name

if TYPE_CHECKING:
    from shared.servers.ports import Flows

FLOWS: Final = {
    TaskKind.PROVISION: "provision_server",
    TaskKind.DELETE: "remove_server",
    TaskKind.RECONCILE: "reconcile_server",
}
DEFAULT_FLOW: Final = "operate_server"


def job_of(task: Task, *, sent: bool = False) -> dict[str, Any]:
    """What the flow is told: ids and times, wrapped in an object of ours; nothing that a tenant wrote."""
    return {
        "org_id": task.org_id,
        "task_id": task.id,
        "kind": task.kind.value,
        "attempt": task.attempt,
        "sent": sent,
        "deadline": rfc3339(task.deadline),
    }


def event_of(task_id: str, kind: TaskKind, attempt: int) -> str:
    """The external event that brings the outcome of an attempt."""
    return report_event(command_id(task_id, step_name(kind, attempt)))


async def start_flow(flows: Flows, task: Task, *, sent: bool = False) -> None:
    """Begin the orchestration of a task."""
    await flows.start_new(FLOWS.get(task.kind, DEFAULT_FLOW), task.id, job_of(task, sent=sent))


async def send_later(flows: Flows, task: Task) -> None:
    """Begin the flow that sends an attempt's command which the door could not: the broker is away."""
    instance = f"{task.id}.send.{task.attempt}"
    await start_once(
        flows, "resend_server_command", instance, {"org_id": task.org_id, "task_id": task.id, "attempt": task.attempt}
    )
