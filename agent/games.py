"""Ending the games of this machine while no agent runs, when everything is to be quiet."""

from __future__ import annotations

import asyncio
import contextlib
import json

from agent.config import Config
from agent.drivers.base import Driver, Handle, Plan
from agent.owners import Owners
from agent.storage import Storage, StoredServer
from shared.messaging import codec
from shared.messaging.limits import MAX_PAYLOAD_BYTES
from shared.messaging.server_spec import Launch, ServerSpec


async def end_games(config: Config, storage: Storage, driver: Driver) -> int:
    """Stop every game that runs, each as its template says, within its own time; how many those were.

    The desired state stays, so the next run starts them again.

    Args:
        config: names the folder.
        storage: the agent's, which nobody else has open.
        driver: the agent's.
    """
    return sum(await asyncio.gather(*(_end(config, storage, driver, server) for server in storage.servers())))


async def _end(config: Config, storage: Storage, driver: Driver, server: StoredServer) -> bool:
    remembered = json.loads(server.state)
    token = remembered.get("handle")
    if not isinstance(token, dict):
        return False
    user = None
    handle = Handle(server.id, str(token.get("token", "")), float(token.get("started_at", 0)))
    with contextlib.suppress(KeyError):  # a user of the settings that is gone: its processes are found by their ids
        user = Owners(config.path, config.game_user).of(server.id)
    plan = Plan(server.id, config.path / "servers" / server.id, Launch(("none",)), user=user)
    running = await driver.adopt(plan, handle)
    if running is None:
        return False
    await running.stop(codec.from_json(ServerSpec, server.spec, MAX_PAYLOAD_BYTES).stop)
    storage.put_server_state(server.id, json.dumps({**remembered, "handle": None, "state": "stopped"}))
    return True
