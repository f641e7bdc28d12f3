"""Commands to a node itself: one flow waits for the report until the deadline, another sends what the door could not.

The report's own trigger writes the outcome down. So a command costs four executions: the request, the flow's first turn,
the report, the flow's last turn.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.composition import services
from shared.messaging.reports import Status
from shared.nodes.commands import SILENCE, event_of
from shared.platform.flows import Flows, Retry, event_content
from shared.platform.ids import OrgId

if TYPE_CHECKING:
    import azure.durable_functions as df

blueprint = Flows()
RETRY = Retry(1_000, 5)
AGAIN = Retry(2_000, 6, backoff=2.0)  # for a minute: half of a command's life


@blueprint.orchestration_trigger(context_name="context")
def node_command(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    """Input: org_id, node_id, id, deadline."""
    job: dict[str, Any] = context.get_input() or {}
    report = context.wait_for_external_event(event_of(job["id"]))
    deadline: Any = context.create_timer(datetime.fromisoformat(job["deadline"]))
    winner = yield context.task_any([report, deadline])
    if winner is report:
        deadline.cancel()
        return str(event_content(report.result).get("status"))
    yield context.call_activity_with_retry("end_node_command", RETRY, job)
    return Status.TIMED_OUT.value


@blueprint.orchestration_trigger(context_name="context")
def resend_node_command(context: df.DurableOrchestrationContext) -> Generator[Any, Any, None]:
    """Input as for `node_command`."""
    yield context.call_activity_with_retry("send_node_command_message", AGAIN, context.get_input())


@blueprint.activity_trigger(input_name="job")
async def send_node_command_message(job: dict) -> bool:  # type: ignore[type-arg]  # the worker takes plain classes only
    """Sign the command and put it into the node's queue."""
    await services().node_commands.send(OrgId(job["org_id"]), job["node_id"], job["id"])
    return True


@blueprint.activity_trigger(input_name="job")
async def end_node_command(job: dict) -> bool:  # type: ignore[type-arg]
    """Write down that no report came."""
    await services().node_commands.end(OrgId(job["org_id"]), job["node_id"], job["id"], SILENCE)
    return True
