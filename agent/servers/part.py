"""The agent's part that keeps servers: takes the `server.*` commands, samples what runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from agent.console import Console
from agent.context import Context, Handler
from agent.drivers.base import DriverError
from agent.servers.keeper import Keeper
from agent.servers.preparing import Preparer
from agent.servers.probes import answers, players, query_of
from agent.servers.watching import ConsoleWatch
from shared.messaging import codec
from shared.messaging.agent_api import ServerState
from shared.messaging.commands import Command, CommandType
from shared.messaging.reports import Outcome, Status
from shared.messaging.server_messages import (
    COMMANDS,
    ApplyServer,
    CancelInstall,
    KillServer,
    RemoveServer,
    Sample,
    SendLine,
    WatchConsole,
)
from shared.messaging.server_spec import ServerSpec

log = logging.getLogger("meridian.servers")
T = TypeVar("T")

SAMPLE_SECONDS: Final = 10.0
MINUTE: Final = 60.0
SAMPLES_A_REPORT: Final = 5
HEALTH_MISSES: Final = 3


class ServersPart:
    """See `agent.context.Part`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._preparer = Preparer(context.config.path, context.config.game_user)
        self._keepers: dict[str, Keeper] = {}
        self._watches: dict[str, ConsoleWatch] = {}

    def handlers(self) -> Mapping[CommandType, Handler]:
        """See `Part.handlers`."""
        return {
            CommandType.SERVER_APPLY: self._apply,
            CommandType.SERVER_REMOVE: self._remove,
            CommandType.SERVER_KILL: self._kill,
            CommandType.SERVER_CANCEL: self._cancel,
            CommandType.SERVER_CONSOLE: self._write,
            CommandType.SERVER_WATCH: self._watch,
        }

    async def start(self) -> None:
        """See `Part.start`."""
        for stored in self._context.storage.servers():
            try:
                spec = codec.from_json(ServerSpec, stored.spec, 1 << 20)
                keeper = Keeper(self._context, self._preparer, spec, stored.state)
                self._keepers[stored.id] = keeper
                await keeper.take_up()
            except (codec.WireError, DriverError, ValueError) as error:
                log.error("%s cannot be taken up: %s", stored.id, error)  # noqa: TRY400  # one server must not stop the others
        self._context.spawn(self._sample(), "sample servers")

    async def close(self) -> None:
        """See `Part.close`."""

    def states(self) -> tuple[ServerState, ...]:
        """See `Part.states`."""
        return tuple(ServerState(id, keeper.spec.revision, keeper.state) for id, keeper in self._keepers.items())

    # ---------------------------------------------------------------- commands

    async def _apply(self, command: Command) -> Outcome:
        wanted = _payload(ApplyServer, command)
        spec = wanted.spec
        keeper = self._keepers.get(spec.server_id)
        if keeper is None:
            keeper = self._keepers[spec.server_id] = Keeper(self._context, self._preparer, spec)
        return await keeper.apply(spec, wanted.task_id)

    async def _remove(self, command: Command) -> Outcome:
        wanted = _payload(RemoveServer, command)
        keeper = self._keepers.get(wanted.server_id)
        self._context.storage.raise_floor(wanted.server_id, wanted.revision)
        if keeper is None:
            await self._preparer.remove(wanted.server_id)
            return Outcome(Status.SUCCEEDED, "already_removed", "there is no such server on this node")
        outcome = await keeper.remove(wanted.task_id)
        if outcome.status is Status.SUCCEEDED:
            self._keepers.pop(wanted.server_id, None)
            self._watches.pop(wanted.server_id, None)
        return outcome

    async def _kill(self, command: Command) -> Outcome:
        wanted = _payload(KillServer, command)
        keeper = self._keepers.get(wanted.server_id)
        return _absent(wanted.server_id) if keeper is None else await keeper.kill(wanted.revision, wanted.task_id)

    async def _cancel(self, command: Command) -> Outcome:
        wanted = _payload(CancelInstall, command)
        keeper = self._keepers.get(wanted.server_id)
        found = keeper is not None and keeper.cancel(wanted.task_id)
        return Outcome(
            Status.SUCCEEDED, "ok" if found else "not_at_work", "" if found else "nothing is done for that task"
        )

    async def _write(self, command: Command) -> Outcome:
        wanted = _payload(SendLine, command)
        keeper = self._keepers.get(wanted.server_id)
        if keeper is None or keeper.running is None:
            return Outcome(Status.REJECTED, "not_running", "the server does not run: nothing reads its input")
        try:
            keeper.running.write(wanted.line)
        except DriverError as error:
            return Outcome(Status.FAILED, error.code, error.reason)
        return Outcome(Status.SUCCEEDED)

    async def _watch(self, command: Command) -> Outcome:
        wanted = _payload(WatchConsole, command)
        if wanted.server_id not in self._keepers:
            return _absent(wanted.server_id)
        watch = self._watches.get(wanted.server_id)
        if watch is None:
            watch = ConsoleWatch(self._context, wanted.server_id, lambda: self._console(wanted.server_id))
            self._watches[wanted.server_id] = watch
        watch.prolong(wanted.seconds, wanted.since)
        return Outcome(Status.SUCCEEDED)

    def _console(self, server_id: str) -> Console | None:
        keeper = self._keepers.get(server_id)
        return keeper.running.console if keeper is not None and keeper.running is not None else None

    # ---------------------------------------------------------------- sampling

    async def _sample(self) -> None:
        """Each 10 s what runs is looked at; minutes are kept and told five at a time, a change of players at once."""
        meters: dict[str, _Meter] = {}
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            for server_id, keeper in tuple(self._keepers.items()):
                if keeper.running is None or keeper.state not in ("running", "starting"):
                    meters.pop(server_id, None)
                    continue
                meter = meters.setdefault(server_id, _Meter())
                await self._look(keeper, meter)

    async def _look(self, keeper: Keeper, meter: _Meter) -> None:
        running, now = keeper.running, time.time()
        usage = running.usage() if running else None
        if usage is not None:
            keeper.usage = (meter.percent(usage.cpu_seconds, now), round(usage.memory_mib, 1))
        before = keeper.players
        probe = query_of(keeper.spec)
        if probe is not None and keeper.state == "running":
            keeper.players = await players(probe, keeper.spec)
        if keeper.spec.health is not None and keeper.state == "running" and running is not None:
            well = (
                keeper.players is not None
                if probe is keeper.spec.health
                else await answers(keeper.spec.health, keeper.spec, running)
            )
            meter.misses = 0 if well else meter.misses + 1
            if meter.misses >= HEALTH_MISSES:
                meter.misses = 0
                log.warning("%s does not answer: killed, its crash policy decides", keeper.spec.server_id)
                await running.kill()
                return
        if now - meter.minute >= MINUTE:
            meter.minute = now
            online = keeper.players.online if keeper.players else None
            keeper.samples.append(Sample(round(now, 1), *keeper.usage, players=online))
        moved = (before.online if before else None) != (keeper.players.online if keeper.players else None)
        if moved or len(keeper.samples) >= SAMPLES_A_REPORT:
            keeper.tell(None)


class _Meter:
    """What is remembered of a running server between two looks."""

    def __init__(self) -> None:
        self.minute = time.time()
        self.misses = 0
        self._cpu: tuple[float, float] | None = None

    def percent(self, cpu_seconds: float, now: float) -> float:
        """Of one core, since the last look."""
        before, self._cpu = self._cpu, (cpu_seconds, now)
        if before is None or now <= before[1]:
            return 0.0
        return round(max(0.0, cpu_seconds - before[0]) / (now - before[1]) * 100, 1)


def _payload(cls: type[T], command: Command) -> T:
    """The command's content. The envelope's server must be the content's.

    Raises:
        WireError: it is not of the form, or names another server than its envelope.
    """
    assert COMMANDS[command.type.value] is cls
    found: Any = codec.from_wire(cls, command.payload)
    inner = found.spec.server_id if isinstance(found, ApplyServer) else found.server_id
    if inner != command.server_id:
        raise codec.WireError(f"server_id: {inner[:40]!r} is not the envelope's server")
    return found  # type: ignore[no-any-return]


def _absent(server_id: str) -> Outcome:
    return Outcome(Status.REJECTED, "no_such_server", f"this node has no server {server_id}")
