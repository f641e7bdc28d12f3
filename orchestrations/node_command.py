"""A command to a node itself: send, wait for its report until the deadline, write down what came."""

from __future__ import annotations

import json
from collections.abc import Generator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.composition import services
from shared.messaging.codec import from_wire
from shared.messaging.reports import Outcome, Status
from shared.platform.flows import Flows, Retry
from shared.platform.ids import OrgId

if TYPE_CHECKING:
    import azure.durable_functions as df

blueprint = Flows()
RETRY = Retry(1_000, 5)


def event_payload(value: Any) -> dict[str, Any]:
    """What an external event carries: a client's comes as text of JSON, a raw POST's as an object."""
    while isinstance(value, str):
        value = json.loads(value)
    return value if isinstance(value, dict) else {}


@blueprint.orchestration_trigger(context_name="context")
def node_command(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    """Input: org_id, node_id, id."""
    job: dict[str, Any] = context.get_input() or {}
    sent = yield context.call_activity_with_retry("send_node_command_message", RETRY, job)
    report = context.wait_for_external_event(sent["event"])
    deadline: Any = context.create_timer(datetime.fromisoformat(sent["deadline"]))
    winner = yield context.task_any([report, deadline])
    outcome: dict[str, Any] = {
        "status": Status.TIMED_OUT.value,
        "code": "no_report",
        "detail": "the node did not answer in time",
    }
    if winner is report:
        deadline.cancel()
        outcome = event_payload(report.result)
    yield context.call_activity_with_retry("end_node_command", RETRY, {**job, "outcome": outcome})
    return str(outcome.get("status"))


@blueprint.activity_trigger(input_name="job")
async def send_node_command_message(job: dict) -> dict:  # type: ignore[type-arg]  # the worker takes plain classes only
    """Sign the command and put it into the node's queue."""
    return await services().node_commands.send(OrgId(job["org_id"]), job["node_id"], job["id"])


@blueprint.activity_trigger(input_name="job")
async def end_node_command(job: dict) -> str:  # type: ignore[type-arg]
    """Write the outcome down."""
    outcome = from_wire(Outcome, job["outcome"])
    await services().node_commands.end(OrgId(job["org_id"]), job["id"], outcome)
    return outcome.status.value
