"""Finding nodes that went silent or came back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import azure.functions as func

from shared.audit.models import SYSTEM, Target
from shared.composition import services

if TYPE_CHECKING:
    from shared.nodes.liveness import Change

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]
_log = logging.getLogger("meridian.nodes")


@blueprint.timer_trigger(arg_name="timer", schedule="*/30 * * * * *", run_on_startup=False, use_monitor=False)
@blueprint.function_name("fleet_sweep")
async def fleet_sweep(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the binding must be a parameter
    """Twice a minute: who has not been heard for too long, and who is back."""
    house = services()

    async def tell(change: Change) -> None:
        _log.info("node %s is %s (was %s)", change.node, change.after, change.before)
        target = Target(kind="node", id=change.node)
        await house.audit.record(
            change.org, SYSTEM, f"node.{change.after.value}", target, before={"presence": change.before.value}
        )

    await house.fleet.sweep(tell)
