"""Reconciliation: a node that has something else than is desired is told once more, or told to clean up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrations.server_flows import Flow, follow, job_of_context
from shared.platform.flows import Flows

if TYPE_CHECKING:
    import azure.durable_functions as df

blueprint = Flows()


@blueprint.orchestration_trigger(context_name="context")
def reconcile_server(context: df.DurableOrchestrationContext) -> Flow:
    """What is desired was written down long ago: it is sent as it stands now, and waited for as ever."""
    return (yield from follow(context, job_of_context(context)))
