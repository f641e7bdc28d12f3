"""Looking at what runs: what each game uses, who plays, whether it still answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final

from agent.servers.keeper import Keeper
from agent.servers.known import Known
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
        for gone in meters.keys() - keepers.keys():
            del meters[gone]
        for server_id, keeper in tuple(keepers.items()):
            server = keeper.known
            if server.running is None or server.state not in ("running", "starting"):
                meters.pop(server_id, None)
                continue
            meter = meters.get(server_id)
            if meter is None:
                meter = meters[server_id] = Meter(now)
            usage = server.running.usage()
            if usage is not None:
                server.usage = (meter.percent(usage.cpu_seconds, now), round(usage.memory_mib, 1))
            if turn % ASK_EACH == 0 and server.state == "running" and _is_asked(server):
                await _ask(server, meter)
            if now - meter.minute >= MINUTE:
                meter.minute = now
                online = server.players.online if server.players else None
                server.samples.append(Sample(round(now, 1), *server.usage, players=online))
                if len(server.samples) >= SAMPLES_A_REPORT:
                    server.tell(None)


def _is_asked(server: Known) -> bool:
    return server.spec.health is not None or query_of(server.spec) is not None


async def _ask(server: Known, meter: Meter) -> None:
    """Ask the game itself; one that misses its health probe too often is killed, and its crash policy decides."""
    running, before = server.running, server.players
    assert running is not None
    probe = query_of(server.spec)
    if probe is not None:
        server.players = await players(probe, server.spec)
    if server.spec.health is not None:
        well = (
            server.players is not None
            if probe is server.spec.health
            else await answers(server.spec.health, server.spec, running)
        )
        if meter.hung(well):
            log.warning("%s does not answer: killed, its crash policy decides", server.spec.server_id)
            await running.kill()
            return
    if (before.online if before else None) != (server.players.online if server.players else None):
        server.tell(None)


class Meter:
    """What is remembered of a running server between two looks."""

    def __init__(self, now: float) -> None:
        self.minute = now
        self._misses: int | None = None  # in a row; none before the first answer
        self._cpu: tuple[float, float] | None = None

    def hung(self, well: bool) -> bool:
        """Take one answer to the health probe (or its lack); whether the game has ceased to answer.

        Its first answer is what makes silence mean something: there are games that answer in some of their settings only
        (Valheim's query, when the server is listed), and those must not be killed every half minute.
        """
        if well:
            self._misses = 0
        elif self._misses is not None:
            self._misses += 1
        if (self._misses or 0) < HEALTH_MISSES:
            return False
        self._misses = None
        return True

    def percent(self, cpu_seconds: float, now: float) -> float:
        """Of one core, since the last look."""
        before, self._cpu = self._cpu, (cpu_seconds, now)
        if before is None or now <= before[1]:
            return 0.0
        return round(max(0.0, cpu_seconds - before[0]) / (now - before[1]) * 100, 1)
