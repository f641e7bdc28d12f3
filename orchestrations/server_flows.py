"""The flows of servers: provisioning, power and the other operations, deletion. One shape, three names.

    send the attempt ─▶ wait for its report ─┬─ it is there: done, or a pause and the next attempt
                                             ├─ cancelled: the node is told, the task ends
                                             └─ the deadline: the task ends with its name

A request that was written down but not sent is sent by the sweep; the same command twice is one command.
The report's own trigger writes the task and the server down; the flow only waits, retries and ends what nobody ends.
So a start costs four executions: the request, this flow's first turn, the report, this flow's last turn.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.composition import services
from shared.platform.flows import Flows, Retry, event_content
from shared.platform.ids import OrgId
from shared.servers.flows import event_of
from shared.tasks.models import TaskKind
from shared.tasks.rules import pause_after, tries_again

if TYPE_CHECKING:
    import azure.durable_functions as df

blueprint = Flows()

RETRY = Retry(2_000, 5)
AGAIN = Retry(2_000, 8, backoff=2.0, longest_ms=60_000)  # for four minutes; then it is the sweep's

Flow = Generator[Any, Any, str]


def job_of_context(context: df.DurableOrchestrationContext) -> dict[str, Any]:
    """What `shared.servers.flows.job_of` made."""
    job = context.get_input()
    assert isinstance(job, dict)
    return job


def follow(context: df.DurableOrchestrationContext, job: dict[str, Any]) -> Flow:
    """Carry a task to its end; what it came to."""
    kind, attempt = TaskKind(job["kind"]), int(job["attempt"])
    told = {"org_id": job["org_id"], "task_id": job["task_id"]}
    deadline = datetime.fromisoformat(job["deadline"])
    sent = bool(job["sent"])
    while True:
        if not sent:
            asked = yield context.call_activity_with_retry("send_server_command", RETRY, {**told, "attempt": attempt})
            if not asked:
                return "nothing to do"
        ended, outcome = yield from _await_report(context, job, kind, attempt, deadline)
        if ended is not None:
            yield context.call_activity_with_retry(f"{ended}_server_task", RETRY, told)
            return ended
        if not tries_again(attempt, outcome):
            return str(outcome.get("status", "unknown"))
        yield context.create_timer(context.current_utc_datetime + pause_after(attempt))
        attempt, sent = attempt + 1, False


def _await_report(
    context: df.DurableOrchestrationContext, job: dict[str, Any], kind: TaskKind, attempt: int, deadline: datetime
) -> Generator[Any, Any, tuple[str | None, Any]]:
    """Wait for an attempt's report: (None, outcome), or how it ends without one.

    One wait for each event, never awaited twice: an event that was part of an earlier `task_any` is not asked for again
    by the SDK, and the extension would not wake us for it.
    """
    report = context.wait_for_external_event(event_of(job["task_id"], kind, attempt))
    cancel = context.wait_for_external_event(f"cancel.{attempt}")
    end: Any = context.create_timer(deadline)
    yield context.task_any([report, cancel, end])
    if end.is_completed:
        return "expire", {}
    end.cancel()
    return (None, event_content(report.result)) if report.is_completed else ("cancel", {})


@blueprint.orchestration_trigger(context_name="context")
def provision_server(context: df.DurableOrchestrationContext) -> Flow:
    """Reserve was done with the request; prepare, install, configure, start and ready are the node's, in one command."""
    return (yield from follow(context, job_of_context(context)))


@blueprint.orchestration_trigger(context_name="context")
def operate_server(context: df.DurableOrchestrationContext) -> Flow:
    """Start, stop, restart, kill, reinstall, suspend, resume: what is desired has changed, the node follows."""
    return (yield from follow(context, job_of_context(context)))


@blueprint.orchestration_trigger(context_name="context")
def remove_server(context: df.DurableOrchestrationContext) -> Flow:
    """Deletion: the node cleans; when it stays away, the server becomes an orphan that the node owes us."""
    return (yield from follow(context, job_of_context(context)))


@blueprint.orchestration_trigger(context_name="context")
def resend_server_command(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    """Send what the door could not; the task's own flow waits for the report meanwhile. Sent twice it is one command."""
    yield context.call_activity_with_retry("send_server_command", AGAIN, job_of_context(context))


@blueprint.activity_trigger(input_name="job")
async def send_server_command(job: dict) -> bool:  # type: ignore[type-arg]  # the worker takes plain classes
    """Send an attempt's command; False when the task is over."""
    return await services().operations.send(OrgId(job["org_id"]), job["task_id"], int(job["attempt"]))


@blueprint.activity_trigger(input_name="job")
async def cancel_server_task(job: dict) -> bool:  # type: ignore[type-arg]
    """End a cancelled task. Whether its node has what is desired is looked at."""
    await services().operations.cancel(OrgId(job["org_id"]), job["task_id"])
    await services().reconciler.doubt_task(OrgId(job["org_id"]), job["task_id"])
    return True


@blueprint.activity_trigger(input_name="job")
async def expire_server_task(job: dict) -> bool:  # type: ignore[type-arg]
    """End a task whose time is over. Whether its node has what is desired is looked at."""
    await services().operations.expire(OrgId(job["org_id"]), job["task_id"])
    await services().reconciler.doubt_task(OrgId(job["org_id"]), job["task_id"])
    return True
