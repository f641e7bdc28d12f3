"""What can be set about the engine, with the reason of each default."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from local.common.database import Synchronous
from local.common.errors import StartError

ExecutorMode = Literal["live", "replay", "check"]


@dataclass(frozen=True, slots=True)
class Invocation:
    """One finished call of a function by the engine, for the host's log and meter.

    Attributes:
        kind: "orchestrator", "activity" or "entity".
        name: the function's name.
        instance_id: the orchestration (or entity) it ran for.
        seconds: how long it took.
        error: None, or the text of its failure.
        replayed: for an orchestrator, history events that were replayed before the new ones.
    """

    kind: str
    name: str
    instance_id: str
    seconds: float
    error: str | None = None
    replayed: int = 0


@dataclass(frozen=True, slots=True)
class DurableOptions:
    """Settings of a `DurableEngine`.

    Attributes:
        task_hub: name shown to clients; the real extension takes it from host.json.
        synchronous: "FULL" survives power loss, "NORMAL" the death of the process (SQLite's pragma of that name).
        activity_concurrency: activities that run at once; the real extension's default is ten per core.
        entity_batch: most operations handed to an entity in one call (50 on the Consumption plan).
        executor: "live" keeps generators between episodes, "replay" replays the whole history in each, "check" does both
            and fails an orchestration whose results differ.
        live_orchestrators: instances kept in memory at most, about 12 KiB each; the one used longest ago makes room.
        short_timer_seconds, long_timer_hop_seconds: a timer longer than the first is cut into hops of the second
            (Azure Storage: 6 and 3 days).
        retention_seconds: finished instances are purged this long after their end; None keeps them for ever.
        coalesce_after_seconds: after an episode longer than this, the instance rests 1.5 times its length, so that the
            results of a wide fan-out come in batches.
        on_invocation: called after each function call of the engine.
        log: called with a line about something a person should see.
    """

    task_hub: str = "MeridianHub"
    synchronous: Synchronous = "FULL"
    activity_concurrency: int = 10 * (os.cpu_count() or 1)
    entity_batch: int = 50
    executor: ExecutorMode = "live"
    live_orchestrators: int = 2_000
    short_timer_seconds: float = 6 * 86_400
    long_timer_hop_seconds: float = 3 * 86_400
    retention_seconds: float | None = 30 * 86_400
    coalesce_after_seconds: float = 0.020
    on_invocation: Callable[[Invocation], None] | None = None
    log: Callable[[str], None] | None = None


def options_for(
    host_json: Mapping[str, object], environment: Mapping[str, str], base: DurableOptions | None = None
) -> DurableOptions:
    """What `extensions.durableTask` of a host.json and the environment ask for.

    Of host.json: `hubName`, `maxConcurrentActivityFunctions`, `maxEntityOperationBatchSize`. Of the environment, for what
    Azure has no word for: `DURABLE_EXECUTOR` (live, replay, check) and `DURABLE_RETENTION_DAYS` (0: keep for ever).

    Raises:
        StartError: a value is not of its kind.
    """
    options = base or DurableOptions()
    if hub := host_json.get("hubName"):
        options = replace(options, task_hub=str(hub))
    for name, field in _HOST_JSON.items():
        value = host_json.get(name)
        if value is not None:
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise StartError(f"host.json: extensions.durableTask.{name} is {value!r}; write a number from 1")
            options = replace(options, **{field: value})  # type: ignore[arg-type]  # the field's name is a value here
    mode = environment.get("DURABLE_EXECUTOR", options.executor)
    known: dict[str, ExecutorMode] = {name: name for name in get_args(ExecutorMode)}
    if mode not in known:
        raise StartError(f"DURABLE_EXECUTOR is {mode!r}; write one of {', '.join(known)}")
    options = replace(options, executor=known[mode])
    if text := environment.get("DURABLE_RETENTION_DAYS"):
        try:
            days = float(text)
        except ValueError:
            days = -1.0
        if not 0 <= days < float("inf"):
            raise StartError(f"DURABLE_RETENTION_DAYS is {text!r}; write a number of days, 0 to keep for ever")
        options = replace(options, retention_seconds=days * 86_400 or None)
    return options


_HOST_JSON = {
    "maxConcurrentActivityFunctions": "activity_concurrency",
    "maxEntityOperationBatchSize": "entity_batch",
}
