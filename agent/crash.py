"""What follows when a game ends: pure decisions, so that a table can test them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from agent.drivers.base import Exit
from shared.messaging.server_spec import CrashPolicy


@dataclass(frozen=True, slots=True)
class CrashHistory:
    """The ends that count, kept on disk: a restart of the agent or the machine must not forgive a crash loop."""

    ends: tuple[float, ...] = ()
    delay: float = 0.0  # the last back-off, 0 after none


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, when (seconds since the epoch), and what to remember."""

    action: Literal["stay_down", "start_at", "crash_loop"]
    history: CrashHistory
    at: float = 0.0
    reason: str = ""


def after_exit(policy: CrashPolicy, history: CrashHistory, ended: Exit, started_at: float) -> Decision:
    """Decide about a server that ended although it was meant to run."""
    if policy.restart == "never":
        return Decision("stay_down", history, reason=f"ended {ended.how}; its policy is never to restart")
    if policy.restart == "on_failure" and ended.clean:
        return Decision("stay_down", CrashHistory(), reason="ended by itself with code 0")
    lasted = max(0.0, ended.at - started_at)  # a clock that was set back in between tells nothing
    if lasted >= policy.reset_seconds:
        history = CrashHistory()
    ends = (*(end for end in history.ends if abs(ended.at - end) < policy.loop_seconds), ended.at)[-policy.loop_count :]
    if len(ends) >= policy.loop_count:
        reason = f"ended {len(ends)} times within {policy.loop_seconds:.0f} s, the last time {ended.how}"
        return Decision("crash_loop", replace(history, ends=ends), reason=reason)
    delay = min(policy.longest_seconds, history.delay * 2 if history.delay else policy.initial_seconds)
    reason = f"ended {ended.how} after {lasted:.0f} s; starts again in {delay:.0f} s"
    return Decision("start_at", CrashHistory(ends, delay), at=ended.at + delay, reason=reason)
