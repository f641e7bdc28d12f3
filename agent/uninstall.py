"""Leaving a machine as it was found."""

from __future__ import annotations

from pathlib import Path

from agent.config import Config
from agent.games import end_games
from agent.identity import KEY, NEW_KEY, NODE
from agent.storage import Storage


async def uninstall(config: Config, *, keep_servers: bool) -> None:
    """End every game that runs, and delete keys and journal."""
    from agent.app import make_driver

    database = config.path / "agent.db"
    if database.exists():
        storage, driver = Storage(database), make_driver(config)
        await end_games(config, storage, driver, graceful=False)
        await driver.close()
        storage.close()
    doomed = [KEY, NEW_KEY, NODE, "status.json"] + (
        [] if keep_servers else ["agent.db", "agent.db-wal", "agent.db-shm"]
    )
    for name in doomed:
        Path(config.path / name).unlink(missing_ok=True)  # noqa: ASYNC240  # the last thing this process does
