"""Heavy libraries load at first use; this brings the first use forward, into the quiet after the first answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from typing import Final

from shared.platform import telemetry

PAUSE_SECONDS: Final = 0.5
MODULES: Final = (
    "cryptography.x509",
    "jwt",
    "azure.cosmos.aio",
    "azure.durable_functions",
    "azure.servicebus.aio",
    "azure.identity.aio",
)
_log = telemetry.log("warmup")


def schedule(modules: Sequence[str], then: Callable[[], Awaitable[object]]) -> None:
    """A little later, import the modules in a thread, then run `then` on the loop. Nothing waits for it.

    Outside of a running loop (a script, a test that calls services itself) it does nothing. A failure is only logged: the
    first real use meets the same one and reports it where somebody asked.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return

    def after() -> None:
        task = loop.create_task(_connect(then))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)

    def load() -> None:
        for name in modules:
            try:
                import_module(name)
            except ImportError as error:
                _log.warning("not warmed", extra={"module_name": name, "reason": str(error)})
        if not loop.is_closed():
            loop.call_soon_threadsafe(after)

    loop.call_later(PAUSE_SECONDS, lambda: threading.Thread(target=load, name="warm-up", daemon=True).start())


_tasks: set[asyncio.Task[None]] = set()


async def _connect(then: Callable[[], Awaitable[object]]) -> None:
    from shared.platform.errors import Fault

    try:
        await then()
    except Fault as fault:
        _log.warning("not connected ahead", extra={"code": fault.code})
