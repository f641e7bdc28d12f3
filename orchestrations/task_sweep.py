"""Nothing is ever stuck: tasks whose flow was never begun are begun, tasks whose time is over are ended."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any, Final

import azure.functions as func

from shared.composition import Services, services
from shared.http.registry import DURABLE_BINDING
from shared.platform.errors import Fault
from shared.platform.ids import OrgId
from shared.servers.flows import start_flow
from shared.tasks.models import Task, TaskState
from shared.tasks.rules import LEFT_BEHIND, sweeps

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]
_log = logging.getLogger("meridian.tasks")

_BEGAN: Final = time.monotonic()
GRACE: Final = timedelta(minutes=2)  # the flow itself ends its task at the deadline


@blueprint.timer_trigger(arg_name="timer", schedule="15 * * * * *", run_on_startup=False, use_monitor=False)
@blueprint.generic_input_binding(arg_name="client", type=DURABLE_BINDING)
@blueprint.function_name("task_sweep")
async def task_sweep(timer: func.TimerRequest, client: str) -> None:  # noqa: ARG001  # the binding must be a parameter
    """Every five minutes, and each minute in a process that has just begun: one partition after another."""
    house = services()
    if not sweeps(house.clock.now(), timedelta(seconds=house.clock.monotonic() - _BEGAN)):
        return
    from azure.durable_functions import DurableOrchestrationClient

    durable = DurableOrchestrationClient(client)
    for org in sorted(await house.fleet.organizations()):
        try:
            await sweep(house, org, durable)
        except Fault as fault:
            _log.warning("tasks of %s could not be swept: %s", org, fault.reason)


async def sweep(house: Services, org: OrgId, durable: Any) -> None:
    """One organization's tasks."""
    now, cursor = house.clock.now(), None
    while True:
        page = await house.tasks.page(org, filters={}, active=True, limit=100, cursor=cursor)
        for task in page.items:
            if task.deadline + GRACE < now:
                _log.warning("task %s is past its deadline, and its flow did not end it", task.id)
                await house.operations.expire(org, task.id)
                await house.reconciler.doubt(org, task.node_id)
            elif task.state is TaskState.PENDING and task.updated_at + LEFT_BEHIND < now:
                await _begin(house, task, durable)
        cursor = page.cursor
        if cursor is None:
            return


async def _begin(house: Services, task: Task, durable: Any) -> None:
    """Begin a flow that was never begun. One that waits has its command sent again: it is the same one, if it was sent."""
    status = await durable.get_status(task.id)
    if status is not None and status.runtime_status is not None:
        await house.operations.send(task.org_id, task.id, task.attempt)
        return
    _log.warning("task %s was left behind: its flow begins now", task.id)
    await start_flow(durable, task)
