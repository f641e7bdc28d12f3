"""The mail of an invitation. The flow is begun before the invitation is stored, and ends if it never is:

door: flow begun ---- batch: the invitation ---- answer
         |  crash here: the flow finds nothing, looks again for some minutes, and ends
         '--> mail server away: again, ever more slowly, for two days
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from shared.composition import services
from shared.platform.flows import Flows, Retry
from shared.platform.ids import InvitationId, OrgId

if TYPE_CHECKING:
    import azure.durable_functions as df

blueprint = Flows()
RETRY: Final = Retry(5_000, 55, backoff=2.0, longest_ms=3_600_000)
LOOKS_AFTER: Final = (0, 2, 30, 300)  # seconds


@blueprint.orchestration_trigger(context_name="context")
def mail_invitation(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    """Input: org_id, id."""
    job: dict[str, Any] = context.get_input() or {}
    outcome = "absent"
    for pause in LOOKS_AFTER:
        if pause:
            yield context.create_timer(context.current_utc_datetime + timedelta(seconds=pause))
        try:
            outcome = yield context.call_activity_with_retry("send_invitation_mail", RETRY, job)
        except Exception:  # noqa: BLE001 - the SDK has no narrower one: the last of all attempts failed
            outcome = yield context.call_activity_with_retry("give_up_invitation_mail", RETRY, job)
        if outcome != "absent":
            break
    return outcome


@blueprint.activity_trigger(input_name="job")
async def send_invitation_mail(job: dict) -> str:  # type: ignore[type-arg]  # the worker takes plain classes only
    """Send it, if the invitation is there and open."""
    return await services().invitation_mails.send(OrgId(job["org_id"]), InvitationId(job["id"]))


@blueprint.activity_trigger(input_name="job")
async def give_up_invitation_mail(job: dict) -> str:  # type: ignore[type-arg]
    """Two days have passed: write it down."""
    org, invitation = OrgId(job["org_id"]), InvitationId(job["id"])
    return await services().invitation_mails.give_up(org, invitation, "the mail server did not take it for two days")
