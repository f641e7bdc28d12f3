"""Forgetting finished instances after their time."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time

from local.durable.core.kernel import Kernel

EVERY_SECONDS = 60.0
BATCH = 200  # about 5 ms of deleting: the loop stays quick


class Retention:
    """Deletes instances that finished longer ago than the set time, a few at a time."""

    def __init__(self, kernel: Kernel, keep_seconds: float | None) -> None:
        self._kernel, self._keep = kernel, keep_seconds
        self._task: asyncio.Task[None] | None = None
        self.last_turn = time.monotonic()

    def start(self) -> None:
        """Begin."""
        if self._keep is not None:
            self._task = asyncio.get_running_loop().create_task(self._run(self._keep))

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def turn(self, keep_seconds: float) -> int:
        """Delete everything that is due now; how many instances."""
        deleted = 0
        while True:
            before = self._kernel.now() - int(keep_seconds * 1e6)
            keys = self._kernel.store.finished_before(before, BATCH)
            if not keys:
                return deleted
            with self._kernel.committer.unit():
                for key in keys:
                    self._kernel.store.delete(key)
            deleted += len(keys)
            self._kernel.counters.purged += len(keys)
            await self._kernel.committer.committed()

    async def _run(self, keep_seconds: float) -> None:
        while True:
            try:
                await self.turn(keep_seconds)
            except sqlite3.Error as error:
                self._kernel.log(f"purging finished instances failed, next try in {EVERY_SECONDS:g} s: {error}")
            self.last_turn = time.monotonic()
            await asyncio.sleep(EVERY_SECONDS)
