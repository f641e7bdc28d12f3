"""The seam between the agent's core and what it does: parts that handle commands, and what they are given to work with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agent.config import Config
from agent.drivers.base import Driver
from agent.outbox import Outbox
from agent.owners import Owners
from agent.storage import Storage
from shared.messaging.agent_api import ServerState
from shared.messaging.commands import Command, CommandType
from shared.messaging.reports import Outcome

log = logging.getLogger("meridian.agent")


@dataclass(slots=True)
class Context:
    """What a part works with. One event loop; nothing here is for threads."""

    config: Config
    storage: Storage
    driver: Driver
    outbox: Outbox
    owners: Owners
    changed: Callable[[], None] = lambda: None  # call it when a server's state changed: the node beats at once
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something beside; its failure is logged, and it is cancelled when the agent ends."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)

    async def cancel_all(self) -> None:
        """End everything that was spawned."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


#: Does what a command asks and tells how it ended. It may be called again for the same command after the agent was
#: killed in the middle, so it must look at what is, and do what is missing.
Handler = Callable[[Command], Awaitable[Outcome]]


class Part(Protocol):
    """Something the agent can do."""

    def handlers(self) -> Mapping[CommandType, Handler]:
        """The commands that it answers to; a type has one part."""

    async def start(self) -> None:
        """Take up what was left behind: adopt what runs, start what should. Works without the control plane."""

    async def close(self) -> None:
        """The agent ends; games run on."""

    def states(self) -> tuple[ServerState, ...]:
        """The servers' states for the next beat."""
