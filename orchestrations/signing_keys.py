"""The keys of our access tokens turn by themselves."""

from __future__ import annotations

import azure.functions as func

from shared.composition import services
from shared.platform import telemetry

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]


@blueprint.timer_trigger(arg_name="timer", schedule="0 17 3 * * *", run_on_startup=False, use_monitor=True)
@blueprint.function_name("turn_signing_keys")
async def turn_signing_keys(timer: func.TimerRequest) -> None:  # noqa: ARG001  # the binding must be a parameter
    """Once a day: publish the next key in time, drop those whose tokens have all ended."""
    if await services().identity.tokens.turn_keys():
        telemetry.log("identity").info("the ring of signing keys has turned")
