"""`/healthz`: does this process make progress; `/readyz`: does what it needs answer."""

from __future__ import annotations

import asyncio

from shared.composition import services
from shared.http import Auth, Call, Out, Reply, Routes
from shared.platform.errors import Fault

routes = Routes("health", services)
blueprint = routes.blueprint

CHECK_SECONDS = 3.0


class LoopHealth(Out):
    """One loop of this process."""

    name: str
    promised_seconds: float
    since_finished_seconds: float
    rounds: int
    late: bool


class Health(Out):
    """Whether this process makes progress."""

    status: str
    loops: list[LoopHealth]


class Readiness(Out):
    """Whether what this process needs answers; each part says `ok` or what is wrong."""

    status: str
    store: str


@routes.get("/healthz", auth=Auth.ANONYMOUS, rate="health", response=Health)
async def healthz(call: Call) -> Reply:
    """Whether this process makes progress.

    503 when a loop has not finished a round within the time it promised.
    """
    loops = [
        LoopHealth(
            name=loop.name,
            promised_seconds=loop.promised_seconds,
            since_finished_seconds=round(loop.since_finished_seconds, 3),
            rounds=loop.rounds,
            late=loop.late,
        )
        for loop in call.services.progress.state()
    ]
    late = any(loop.late for loop in loops)
    return Reply(Health(status="late" if late else "ok", loops=loops), status=503 if late else 200)


@routes.get("/readyz", auth=Auth.ANONYMOUS, rate="health", response=Readiness)
async def readyz(call: Call) -> Reply:
    """Whether this process can serve: the store answers a real read within 3 s."""
    try:
        await asyncio.wait_for(call.services.database.ping(), CHECK_SECONDS)
    except Fault as fault:
        return Reply(Readiness(status="unavailable", store=fault.reason), status=503)
    except TimeoutError:
        return Reply(Readiness(status="unavailable", store=f"no answer within {CHECK_SECONDS:g} s"), status=503)
    return Reply(Readiness(status="ok", store="ok"), status=200)
