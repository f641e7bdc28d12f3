"""Commands about the node itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from agent import __version__
from agent.context import Context, Handler
from agent.metrics import read_hardware, read_platform
from shared.messaging import codec
from shared.messaging.agent_api import ServerState
from shared.messaging.commands import Command, CommandType
from shared.messaging.reports import Outcome, ReportType, Status

TOLD: Final = "driver.told"  # in the agent's folder: the driver that the control plane knows of


class NodePart:
    """Answers to `node.*`."""

    def __init__(self, context: Context, diagnose: Callable[[], Awaitable[list[str]]], update: Handler) -> None:
        self._context, self._diagnose, self._update = context, diagnose, update

    def handlers(self) -> Mapping[CommandType, Handler]:
        """See `Part.handlers`."""
        return {
            CommandType.NODE_PING: self._ping,
            CommandType.NODE_INVENTORY: self._inventory,
            CommandType.NODE_DOCTOR: self._doctor,
            CommandType.NODE_UPDATE: self._update,
        }

    async def start(self) -> None:
        """See `Part.start`. A driver that was changed since it was last told is told: it decides what can be placed here."""
        config, told = self._context.config, self._context.config.path / TOLD
        before = told.read_text() if told.exists() else "process"
        if before != config.driver:
            await self._tell()
            told.write_text(config.driver)

    async def close(self) -> None:
        """See `Part.close`."""

    def states(self) -> tuple[ServerState, ...]:
        """See `Part.states`."""
        return ()

    async def _ping(self, _: Command) -> Outcome:
        return Outcome(
            Status.SUCCEEDED, result={"agent_version": __version__, "time": codec.to_wire(datetime.now(UTC))}
        )

    async def _inventory(self, _: Command) -> Outcome:
        return Outcome(Status.SUCCEEDED, result=await self._tell())

    async def _tell(self) -> dict[str, Any]:
        config = self._context.config
        hardware = await asyncio.to_thread(read_hardware, config.path)
        found = {"hardware": codec.to_wire(hardware), "platform": codec.to_wire(read_platform(config.driver))}
        self._context.outbox.add(ReportType.NODE_INVENTORY, found)
        return found

    async def _doctor(self, _: Command) -> Outcome:
        return Outcome(Status.SUCCEEDED, output_tail=tuple(await self._diagnose()))
