"""Work in the background: ended items are taken away. They are invisible from the second they end; this frees their space."""

from __future__ import annotations

import asyncio
import logging

from local.cosmos import ttl
from local.cosmos.engine import Engine

PURGE_SECONDS = 5.0
log = logging.getLogger("cosmos")


async def keep_house(engine: Engine, period: float = PURGE_SECONDS) -> None:
    """Purge until cancelled."""
    while True:
        await asyncio.sleep(period)
        await purge_all(engine)


async def purge_all(engine: Engine) -> int:
    """One round over all containers; how many items went."""
    total = 0
    for container in list(engine.storage.containers.values()):
        if container.default_ttl is None:
            continue
        gone = ttl.PURGE_BATCH
        # The container may be dropped while this waits for a commit.
        while (
            gone == ttl.PURGE_BATCH
            and engine.storage.containers.get((container.database.id, container.id)) is container
        ):
            with engine.storage.committer.unit() as db:
                gone = ttl.purge(db, container, int(engine.clock()))
            await engine.storage.committer.committed()
            total += gone
    return total
