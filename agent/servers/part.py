"""The agent's part that keeps servers: takes the `server.*` commands, samples what runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agent.console import Console
from agent.context import Context, Handler
from agent.drivers.base import DriverError
from agent.drivers.cgroups import find_groups
from agent.servers.errors import StepFailed
from agent.servers.keeper import Keeper
from agent.servers.preparing import Preparer
from agent.servers.sampling import sample
from agent.servers.watching import ConsoleWatch
from shared.messaging import codec
from shared.messaging.agent_api import ServerState
from shared.messaging.commands import Command, CommandType
from shared.messaging.reports import Outcome, Status
from shared.messaging.server_messages import (
    ALREADY_REMOVED,
    COMMANDS,
    ApplyServer,
    CancelInstall,
    KillServer,
    RemoveServer,
    SendLine,
    WatchConsole,
)
from shared.messaging.server_spec import ServerSpec

if TYPE_CHECKING:
    from agent.servers.scripts import ScriptRunner

log = logging.getLogger("meridian.servers")
T = TypeVar("T")


class ServersPart:
    """See `agent.context.Part`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        config, contact = context.config, context.config.contact or context.config.api_url
        self._preparer = Preparer(
            config.path, context.owners, context.driver, find_groups(), _scripts(context), contact
        )
        self._keepers: dict[str, Keeper] = {}
        self._watches: dict[str, ConsoleWatch] = {}
        self._left_over: set[str] = set()  # folders of servers of which nothing else is known: this disk was restored

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
            except (codec.WireError, DriverError, StepFailed, ValueError) as error:
                log.error("%s cannot be taken up: %s", stored.id, error)  # noqa: TRY400  # one server must not stop the others
        self._left_over = self._preparer.present() - self._keepers.keys()
        self._context.spawn(sample(self._keepers), "sample servers")

    async def close(self) -> None:
        """See `Part.close`."""

    def states(self) -> tuple[ServerState, ...]:
        """See `Part.states`."""
        kept = tuple(
            ServerState(id, keeper.known.spec.revision, keeper.known.state) for id, keeper in self._keepers.items()
        )
        return kept + tuple(ServerState(id, 0, "left_over") for id in sorted(self._left_over))

    # ---------------------------------------------------------------- commands

    async def _apply(self, command: Command) -> Outcome:
        wanted = _payload(ApplyServer, command)
        spec = wanted.spec
        keeper = self._keepers.get(spec.server_id)
        if keeper is None:
            keeper = self._keepers[spec.server_id] = Keeper(self._context, self._preparer, spec)
            self._left_over.discard(spec.server_id)
        return await keeper.apply(spec, wanted.task_id)

    async def _remove(self, command: Command) -> Outcome:
        wanted = _payload(RemoveServer, command)
        keeper = self._keepers.get(wanted.server_id)
        self._context.storage.raise_floor(wanted.server_id, wanted.revision)
        if keeper is None:
            await self._context.driver.end(wanted.server_id)
            await self._preparer.remove(wanted.server_id)
            self._left_over.discard(wanted.server_id)
            return Outcome(Status.SUCCEEDED, ALREADY_REMOVED, "there is no such server on this node")
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
        if keeper is None or keeper.known.running is None:
            return Outcome(Status.REJECTED, "not_running", "the server does not run: nothing reads its input")
        try:
            keeper.known.running.write(wanted.line)
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
        return keeper.known.running.console if keeper is not None and keeper.known.running is not None else None


def _scripts(context: Context) -> ScriptRunner | None:
    """What runs install scripts: nothing where games are processes."""
    config = context.config
    if config.driver != "container":
        return None
    from agent.drivers.engine import Engine  # most agents never need them
    from agent.servers.scripts import ScriptRunner

    return ScriptRunner(Engine(Path(config.container_socket)), config.install_images, config.install_network)


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
