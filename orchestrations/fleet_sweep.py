"""Finding nodes that went silent or came back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import azure.functions as func

from shared.audit.models import SYSTEM, Target
from shared.composition import services
from shared.nodes.models import Presence

if TYPE_CHECKING:
    from shared.audit.service import Audit
    from shared.nodes.liveness import Change

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]
ACTIONS: Final = {
    Presence.SILENT: "node.went_silent",
    Presence.LOST: "node.lost",
    Presence.ONLINE: "node.came_back",
}
_log = logging.getLogger("meridian.nodes")


@blueprint.timer_trigger(arg_name="timer", schedule="*/30 * * * * *", run_on_startup=False, use_monitor=False)
@blueprint.function_name("fleet_sweep")
async def fleet_sweep(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the binding must be a parameter
    """Twice a minute: who has not been heard for too long, and who is back."""
    house = services()

    async def on_change(change: Change) -> None:
        await tell(house.audit, change)

    await house.fleet.sweep(on_change)


async def tell(audit: Audit, change: Change) -> None:
    """Write a change down; one that was written down by a sweep before is left."""
    target, before = Target(kind="node", id=change.node), {"presence": change.before.value}
    if await audit.record_once(change.org, SYSTEM, ACTIONS[change.after], target, at=change.at, before=before):
        _log.info("node %s is %s (was %s)", change.node, change.after, change.before)
