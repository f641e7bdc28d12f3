"""Many agents in one process: `python -m tests.support.crowd FOLDER API`.

Each is the agent itself, with its own key, journal, outbox, line to the broker and heart; the driver alone is not the
real one: it starts no game, and says at once that it listens. Tokens come in one line of JSON; "up" is printed when all
lines are up; at the next line each agent tells what runs, as JSON, and all end.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable
from pathlib import Path

from agent.app import Agent
from agent.config import Config, load_config
from agent.console import Console
from agent.drivers.base import Driver, Exit, Handle, Plan, Running, Usage
from agent.enrol import enrol
from shared.messaging.server_spec import Stop

JOIN_AT_ONCE = 10


class IdleGame:
    """A game that does nothing."""

    def __init__(self, plan: Plan) -> None:
        self.handle = Handle(plan.server_id, "idle", time.time())
        self.pid: int | None = None
        self.console = Console()
        self.limits_applied: tuple[str, ...] = ()
        self._bound = tuple(f"{port.protocol}/{port.port}" for port in plan.ports)
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Exit] = loop.create_future()
        # As with a real one, what it says comes after its start.
        loop.call_soon(self.console.feed, f"listening on {', '.join(self._bound)}\n".encode())

    def wait(self) -> Awaitable[Exit]:
        """See `Running.wait`."""
        return asyncio.shield(self._ended)

    def write(self, line: str) -> None:
        """See `Running.write`."""

    async def stop(self, stop: Stop) -> Exit:
        """See `Running.stop`."""
        return await self.kill()

    async def kill(self) -> Exit:
        """See `Running.kill`."""
        if not self._ended.done():
            self._ended.set_result(Exit(0, time.time()))
        return await self._ended

    def usage(self) -> Usage | None:
        """See `Running.usage`."""
        return None if self._ended.done() else Usage(0.0, 0.0, 1)

    def bound_ports(self) -> tuple[str, ...]:
        """See `Running.bound_ports`."""
        return () if self._ended.done() else self._bound


class IdleDriver:
    """Starts idle games, and knows which run."""

    name = "process"

    def __init__(self) -> None:
        self.games: dict[str, IdleGame] = {}

    def root(self, folder: Path) -> str:
        """See `Driver.root`."""
        return str(folder)

    async def fetch(self, image: str) -> None:
        """See `Driver.fetch`."""

    async def find(self, server_id: str) -> Handle | None:
        """See `Driver.find`."""
        game = self.games.get(server_id)
        return game.handle if game is not None and game.bound_ports() else None

    async def end(self, server_id: str) -> None:
        """See `Driver.end`."""
        if server_id in self.games:
            await self.games[server_id].kill()

    async def start(self, plan: Plan) -> Running:
        """See `Driver.start`."""
        self.games[plan.server_id] = game = IdleGame(plan)
        return game

    async def adopt(self, plan: Plan, handle: Handle) -> Running | None:
        """See `Driver.adopt`."""
        return None

    async def last_exit(self, handle: Handle) -> Exit:
        """See `Driver.last_exit`."""
        return Exit(None, time.time())

    async def close(self) -> None:
        """See `Driver.close`."""

    def running(self) -> dict[str, tuple[str, ...]]:
        """The ports of each game that runs."""
        return {id: bound for id, game in self.games.items() if (bound := game.bound_ports())}


async def join(folder: Path, api: str, token: str, number: int, room: asyncio.Semaphore) -> tuple[Agent, IdleDriver]:
    """Enrol an agent; it does not run yet."""
    config: Config = load_config(None, {}, {"folder": str(folder / f"a{number}"), "api_url": api})
    async with room:
        await enrol(config, token, f"agent-{number}")
    agent, driver = Agent(config), IdleDriver()
    as_driver: Driver = driver
    agent.context.driver = as_driver
    return agent, driver


async def crowd(folder: Path, api: str, tokens: list[str]) -> None:
    """Enrol them all, let them work, tell what runs, end."""
    room = asyncio.Semaphore(JOIN_AT_ONCE)
    members = await asyncio.gather(*(join(folder, api, token, number, room) for number, token in enumerate(tokens)))
    tasks = [asyncio.create_task(agent.run()) for agent, _ in members]
    while not all(agent.link.state == "up" for agent, _ in members):
        for task in tasks:
            if task.done():
                task.result()
        await asyncio.sleep(0.05)
    print("up", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    told = {agent.identity.papers.node_id: driver.running() for agent, driver in members}
    for agent, _ in members:
        agent.stop("the test is over")
    await asyncio.gather(*tasks)
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    asyncio.run(crowd(Path(sys.argv[1]), sys.argv[2], json.loads(sys.stdin.readline())))
