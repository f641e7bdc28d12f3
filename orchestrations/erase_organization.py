"""A deleted organization waits out its grace, then it is erased; unless it was restored, which ends the flow."""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.composition import services
from shared.platform.flows import Flows, Retry
from shared.platform.ids import OrgId

if TYPE_CHECKING:
    import azure.durable_functions as df

blueprint = Flows()
RETRY = Retry(60_000, 10)
LONGEST_NAP = timedelta(days=3)  # a durable timer of Azure Storage lasts at most six days


@blueprint.orchestration_trigger(context_name="context")
def erase_organization(context: df.DurableOrchestrationContext) -> Generator[Any, Any, bool]:
    """Input: org_id, erase_at (RFC 3339)."""
    job: dict[str, Any] = context.get_input() or {}
    due = datetime.fromisoformat(job["erase_at"])
    while context.current_utc_datetime < due:
        yield context.create_timer(min(due, context.current_utc_datetime + LONGEST_NAP))
    erased: bool = yield context.call_activity_with_retry("erase_organization_now", RETRY, job["org_id"])
    return erased


@blueprint.activity_trigger(input_name="org")
async def erase_organization_now(org: str) -> bool:
    """Erase it, if its grace is over and nobody has taken the deletion back."""
    return await services().erasure.erase(OrgId(org))
