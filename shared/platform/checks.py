"""Asking what we depend on whether it answers, each within a time of its own, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from shared.platform.clock import Clock
from shared.platform.errors import Fault

PATIENCE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something that we need: how to ask it, and what happens to callers while it is away."""

    ask: Callable[[], Awaitable[object]]
    without_it: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one dependency answered."""

    name: str
    ok: bool
    milliseconds: float
    reason: str
    without_it: str


async def ask_all(dependencies: Mapping[str, Dependency], clock: Clock) -> list[Finding]:
    """Ask every dependency at once; a refusal, an error of its client and silence are findings, not failures."""
    return list(await asyncio.gather(*(_ask(name, each, clock) for name, each in dependencies.items())))


async def _ask(name: str, dependency: Dependency, clock: Clock) -> Finding:
    begun = clock.monotonic()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await dependency.ask()
        ok, reason = True, ""
    except TimeoutError:
        ok, reason = False, f"no answer within {PATIENCE_SECONDS:g} s"
    except Fault as fault:
        ok, reason = False, fault.reason
    except Exception as error:  # noqa: BLE001 - whatever a client raises about its dependency is what this is asked for
        ok, reason = False, type(error).__name__
    return Finding(name, ok, round((clock.monotonic() - begun) * 1000, 1), reason, dependency.without_it)
