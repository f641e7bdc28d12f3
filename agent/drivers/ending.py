"""How a game ends, whatever it runs in: waited for by many, asked for politely, forced after its time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod

from agent.drivers.base import DriverError, Exit
from shared.messaging.server_spec import Stop


class Ending(ABC):
    """The part of `agent.drivers.base.Running` that is about its end."""

    def __init__(self) -> None:
        self._ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    @abstractmethod
    def write(self, line: str) -> None:
        """See `Running.write`."""

    @abstractmethod
    async def _signal(self, name: str) -> None:
        """Send a signal, by its name, to all of its processes; one that has ended by itself meanwhile is no fault."""

    def _has_ended(self, code: int | None, killed: str) -> None:
        """See `Exit`."""
        if not self._ended.done():
            self._ended.set_result(Exit(code, time.time(), killed))

    async def wait(self) -> Exit:
        """See `Running.wait`."""
        return await asyncio.shield(self._ended)

    async def stop(self, stop: Stop) -> Exit:
        """See `Running.stop`."""
        if stop.method == "command":
            with contextlib.suppress(DriverError):  # a game that does not read is ended by the time-out
                self.write(stop.value)
        else:
            await self._signal(stop.value)
        try:
            async with asyncio.timeout(stop.timeout_seconds):
                return await self.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> Exit:
        """See `Running.kill`."""
        if not self._ended.done():
            await self._signal("SIGKILL")
        return await self.wait()
