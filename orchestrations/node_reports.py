"""What nodes report: a batch of messages from their queue, each checked, stored, and told to whoever waits."""

from __future__ import annotations

import json
import logging

import azure.functions as func

from shared.composition import services
from shared.http.registry import DURABLE_BINDING
from shared.nodes.models import REPORTS_QUEUE

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]
_log = logging.getLogger("meridian.nodes")


@blueprint.service_bus_queue_trigger(
    arg_name="messages", queue_name=REPORTS_QUEUE, connection="ServiceBusConnection", cardinality="many"
)
@blueprint.generic_input_binding(arg_name="client", type=DURABLE_BINDING)
@blueprint.function_name("node_reports")
async def node_reports(messages, client: str) -> None:  # type: ignore[no-untyped-def]  # the worker takes plain classes, and no list
    """Take a batch. If something behind does not answer the whole batch comes again: each report may come twice."""
    from azure.durable_functions import DurableOrchestrationClient

    durable = DurableOrchestrationClient(client)

    async def raise_event(instance: str, event: str, data: str) -> None:
        try:
            await durable.raise_event(instance, event, json.loads(data))
        except Exception as error:  # the SDK raises bare Exceptions: gone and over are no faults here
            if (
                "404" in str(error)
                or "410" in str(error)
                or "No instance" in str(error)
                or "already completed" in str(error)
            ):
                _log.debug("nobody waits for %s of %s any more", event, instance)
                return
            raise

    await services().reports.take([message.get_body() for message in messages], raise_event)
