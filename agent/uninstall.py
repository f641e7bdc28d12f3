"""Leaving a machine as it was found."""

from __future__ import annotations

import json
from pathlib import Path

from agent.config import Config
from agent.drivers.base import Handle, Plan
from agent.identity import KEY, NEW_KEY, NODE
from agent.storage import Storage
from shared.messaging.server_spec import Launch


async def uninstall(config: Config, *, keep_servers: bool) -> None:
    """End every game that runs, and delete keys and journal."""
    from agent.app import make_driver

    database = config.path / "agent.db"
    if database.exists():
        storage, driver = Storage(database), make_driver(config)
        for server in storage.servers():
            token = json.loads(server.state).get("handle")
            if isinstance(token, dict):
                handle = Handle(server.id, str(token.get("token", "")), float(token.get("started_at", 0)))
                plan = Plan(server.id, config.path / "servers" / server.id, Launch(("none",)))
                running = await driver.adopt(plan, handle)
                if running is not None:
                    await running.kill()
        await driver.close()
        storage.close()
    doomed = [KEY, NEW_KEY, NODE, "status.json"] + (
        [] if keep_servers else ["agent.db", "agent.db-wal", "agent.db-shm"]
    )
    for name in doomed:
        Path(config.path / name).unlink(missing_ok=True)  # noqa: ASYNC240  # the last thing this process does
