"""Starts the parts in order, keeps them alive, stops them in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Sequence

from local.supervisor.console import Console
from local.supervisor.parts import Part, start_order
from local.supervisor.process import PartProcess, Refused

# The parts' own words about their start come first, so that the table of addresses is what stays on the screen.
SETTLE_SECONDS = 0.3


class Supervisor:
    """The house as a whole."""

    def __init__(self, parts: Sequence[Part], console: Console) -> None:
        self._waves = start_order(tuple(parts))
        self._console = console
        self.processes = {part.name: PartProcess(part, console) for part in parts}
        self._leave = asyncio.Event()
        self._started: set[str] = set()

    async def run(self, *, stay: bool = True) -> int:
        """Bring the house up; the exit code.

        Args:
            stay: stay until told to stop; else leave when every part has been started and every job is done.
        """
        self._listen_for_signals()
        try:
            started = await self._unless_told_to_leave(self._start())
            if started and stay:
                await self._unless_told_to_leave(self._watch())
        except Refused as refusal:
            self._console.notice(str(refusal), trouble=True)
            return 2
        finally:
            await self._stop()
        return 0 if stay else int(any(process.failed for process in self.processes.values()))

    def leave(self) -> None:
        """Begin to stop."""
        self._leave.set()

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.leave)

    async def _start(self) -> None:
        begun = time.monotonic()
        services = {part.name for wave in self._waves for part in wave if not part.once}
        for wave in self._waves:
            async with _first_refusal() as group:
                for part in wave:
                    group.create_task(self.processes[part.name].start())
            # The jobs of the last waves work on a house that is up, so its addresses come before their words.
            if services and services <= {part.name for part in wave} | self._started:
                await asyncio.sleep(SETTLE_SECONDS)
                self._table(time.monotonic() - begun)
                for process in self.processes.values():
                    process.hushed = False
                services = set()
            self._started |= {part.name for part in wave}

    async def _watch(self) -> None:
        async with _first_refusal() as group:
            for process in self.processes.values():
                if not process.part.once:
                    group.create_task(process.wait())

    async def _unless_told_to_leave(self, work: Coroutine[None, None, None]) -> bool:
        """Whether the work ended by itself."""
        task = asyncio.create_task(work)
        leaving = asyncio.create_task(self._leave.wait())
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if task.done():
            task.result()
            return True
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Refused):
            await task
        return False

    async def _stop(self) -> None:
        self._console.notice("stopping")
        for wave in reversed(self._waves):
            await asyncio.gather(*(self.processes[part.name].stop() for part in wave))
        self._console.notice("stopped")

    def _table(self, seconds: float) -> None:
        rows = [(what, where) for wave in reversed(self._waves) for part in wave for what, where in part.addresses]
        width = max((len(what) for what, _ in rows), default=0)
        self._console.plain()
        self._console.notice(f"Meridian Console is up after {seconds:.1f} s")
        for what, where in rows:
            self._console.plain(f"  {what.ljust(width)}  {where}")
        self._console.plain("  Ctrl-C stops everything")
        self._console.plain()


@contextlib.asynccontextmanager
async def _first_refusal() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group whose first Refused comes out as itself rather than inside an exception group."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except* Refused as refusals:
        raise refusals.exceptions[0] from None
