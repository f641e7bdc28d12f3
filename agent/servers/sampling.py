"""Looking at what runs: what each game uses, who plays, whether it still answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final

from agent.servers.keeper import Keeper
from agent.servers.probes import answers, players, query_of
from shared.messaging.server_messages import Sample

log = logging.getLogger("meridian.servers")
SAMPLE_SECONDS: Final = 5.0
ASK_EACH: Final = 2  # samples: games are asked (players, health) half as often as their processes are measured
MINUTE: Final = 60.0
SAMPLES_A_REPORT: Final = 5
HEALTH_MISSES: Final = 3


async def sample(keepers: Mapping[str, Keeper]) -> None:
    """Measure and ask until cancelled; minutes are kept and told five at a time, a change of players at once."""
    meters: dict[str, Meter] = {}
    turn = 0
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        turn += 1
        now = time.time()
        for server_id, keeper in tuple(keepers.items()):
            if keeper.running is None or keeper.state not in ("running", "starting"):
                meters.pop(server_id, None)
                continue
            meter = meters.get(server_id)
            if meter is None:
                meter = meters[server_id] = Meter(now)
            usage = keeper.running.usage()
            if usage is not None:
                keeper.usage = (meter.percent(usage.cpu_seconds, now), round(usage.memory_mib, 1))
            if turn % ASK_EACH == 0 and keeper.state == "running" and _is_asked(keeper):
                await _ask(keeper, meter)
            if now - meter.minute >= MINUTE:
                meter.minute = now
                online = keeper.players.online if keeper.players else None
                keeper.samples.append(Sample(round(now, 1), *keeper.usage, players=online))
                if len(keeper.samples) >= SAMPLES_A_REPORT:
                    keeper.tell(None)


def _is_asked(keeper: Keeper) -> bool:
    return keeper.spec.health is not None or query_of(keeper.spec) is not None


async def _ask(keeper: Keeper, meter: Meter) -> None:
    """Ask the game itself; one that misses its health probe too often is killed, and its crash policy decides."""
    running, before = keeper.running, keeper.players
    assert running is not None
    probe = query_of(keeper.spec)
    if probe is not None:
        keeper.players = await players(probe, keeper.spec)
    if keeper.spec.health is not None:
        well = (
            keeper.players is not None
            if probe is keeper.spec.health
            else await answers(keeper.spec.health, keeper.spec, running)
        )
        meter.misses = 0 if well else meter.misses + 1
        if meter.misses >= HEALTH_MISSES:
            meter.misses = 0
            log.warning("%s does not answer: killed, its crash policy decides", keeper.spec.server_id)
            await running.kill()
            return
    if (before.online if before else None) != (keeper.players.online if keeper.players else None):
        keeper.tell(None)


class Meter:
    """What is remembered of a running server between two looks."""

    def __init__(self, now: float) -> None:
        self.minute = now
        self.misses = 0
        self._cpu: tuple[float, float] | None = None

    def percent(self, cpu_seconds: float, now: float) -> float:
        """Of one core, since the last look."""
        before, self._cpu = self._cpu, (cpu_seconds, now)
        if before is None or now <= before[1]:
            return 0.0
        return round(max(0.0, cpu_seconds - before[0]) / (now - before[1]) * 100, 1)
