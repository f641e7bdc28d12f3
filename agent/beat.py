"""Telling the control plane that this node lives: once a minute when calm, at once when something changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from agent import __version__
from agent.api import Api, ApiRefused, ApiUnreachable
from agent.backoff import Backoff
from agent.drivers.proc import boot_id
from agent.identity import Identity
from agent.link import BrokerLink
from agent.metrics import MachineUse
from agent.storage import Storage
from shared.messaging.agent_api import Beat, BeatAnswer, ServerState
from shared.messaging.limits import BEAT_JITTER, CLOCK_WARNING

log = logging.getLogger("meridian.agent")
GATHER_SECONDS: Final = 0.5  # changes come in flocks: one beat tells of them all


class Heart:
    """See the module."""

    def __init__(
        self,
        api: Api,
        identity: Callable[[], Identity],
        storage: Storage,
        use: MachineUse,
        link: BrokerLink,
        states: Callable[[], tuple[ServerState, ...]],
        on_answer: Callable[[BeatAnswer], None],
        problem: str = "",
    ) -> None:
        self._api, self._identity, self._storage, self._use = api, identity, storage, use
        self._link, self._states, self._on_answer = link, states, on_answer
        self._problem = problem  # of this machine, told to its owner for as long as the agent runs
        self._sequence = 0
        self._changed = asyncio.Event()
        self._boot = boot_id()
        self.last_answered_at: float | None = None

    def changed(self) -> None:
        """Beat soon: something that the control plane wants to know has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Beat until cancelled."""
        backoff = Backoff()
        while True:
            try:
                answer = await self._api.post("/v1/agent/beat", self._beat(), BeatAnswer, self._identity())
                self.last_answered_at = time.time()
                backoff.reset()
                self._on_answer(answer)
                pause = max(1, answer.next_seconds) * random.uniform(1 - BEAT_JITTER, 1 + BEAT_JITTER)  # noqa: S311
            except (ApiUnreachable, ApiRefused) as error:
                log.info("no answer to the beat: %s", error)
                wanted = error.retry_after if isinstance(error, ApiRefused) else None
                pause = backoff.next(at_least=wanted or 0.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()
                    await asyncio.sleep(GATHER_SECONDS)
            self._changed.clear()

    def _beat(self) -> Beat:
        self._sequence = max(self._sequence + 1, time.time_ns() // 1_000_000)
        use = self._use.read()
        issues = [self._problem[:200]] if self._problem else []
        if abs(self._api.skew) > CLOCK_WARNING.total_seconds():
            issues.append(f"clock: {-self._api.skew:+.0f} s from the control plane's")
        return Beat(
            sequence=self._sequence,
            sent_at=datetime.now(UTC),
            agent_version=__version__,
            boot_id=self._boot,
            cpu_percent=use.cpu_percent,
            memory_used_mib=use.memory_used_mib,
            disk_free_mib=use.disks[0].free_mib,
            disks=use.disks,
            received_kib_s=use.received_kib_s,
            sent_kib_s=use.sent_kib_s,
            journal_depth=self._storage.report_count,
            reports_dropped=self._storage.reports_dropped,
            link=self._link.state,
            servers=self._states()[:500],
            issues=tuple(issues),
        )
