"""Games as plain processes of this machine, each in a session of its own, living on when the agent ends."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path

from agent.drivers import proc
from agent.drivers.base import DriverError, Exit, Handle, Plan
from agent.drivers.cgroups import find_groups
from agent.drivers.group import Groups, vanish
from agent.drivers.outputs import Outputs
from agent.drivers.ports import check_free
from agent.drivers.process_server import ProcessServer
from agent.drivers.programs import RUNTIMES, check_runtime, find_runtime, own_program
from agent.drivers.shim import SERVER_VARIABLE, WRITTEN, kill_group, read_status, spawn
from agent.drivers.tail import Tail
from agent.jail import PathEscapes, inside


class ProcessDriver:
    """See `agent.drivers.base.Driver`."""

    name = "process"

    def __init__(self, folder: Path, groups: Groups | None = None, runtimes: tuple[str, ...] = RUNTIMES) -> None:
        self._folder = folder
        self._groups = groups or find_groups()
        self._runtimes = runtimes
        self._running: dict[str, ProcessServer] = {}
        self._outputs = Outputs()

    @staticmethod
    def root(folder: Path) -> str:
        """See `Driver.root`."""
        return str(folder.resolve())

    async def fetch(self, image: str) -> None:
        """See `Driver.fetch`. A process runs in nothing but its machine."""

    async def start(self, plan: Plan) -> ProcessServer:
        """See `Driver.start`."""
        if plan.server_id in self._running:
            raise DriverError(
                "already_running", f"{plan.server_id} runs as process {self._running[plan.server_id].pid}"
            )
        check_free(plan.ports)
        command, directory = self._command(plan)
        tail = self._tail(plan.server_id)
        tail.begin_anew()
        group = self._groups.make(plan.server_id, plan.limits)
        try:
            shim = spawn(self._home(plan.server_id), plan, command, directory, group)
        except OSError as error:
            tail.close()
            raise DriverError("start_failed", f"{plan.launch.argv[0]}: {error.strerror}") from None
        handle = Handle(plan.server_id, _token(shim.pid, proc.start_time(shim.pid)), time.time())
        return self._follow(
            ProcessServer(self._forget, self._home(plan.server_id), handle, shim.pid, tail, group, shim, plan.user)
        )

    async def adopt(self, plan: Plan, handle: Handle) -> ProcessServer | None:
        """See `Driver.adopt`. The same process id with another start time is another process."""
        pid = _living_pid(handle)
        if pid is None:
            return None
        group = self._groups.of(plan.server_id, pid, plan.limits)
        return self._follow(
            ProcessServer(
                self._forget,
                self._home(plan.server_id),
                handle,
                pid,
                self._tail(plan.server_id),
                group,
                None,
                plan.user,
            )
        )

    async def find(self, server_id: str) -> Handle | None:
        """See `Driver.find`. The shim wrote its id down before anything else; its environment says whose it is."""
        written = self._folder / server_id / WRITTEN
        try:
            pid, began = int(written.read_text()), written.stat().st_mtime
        except (OSError, ValueError):
            return None
        start = proc.start_time(pid)
        if start is None or proc.environment(pid).get(SERVER_VARIABLE) != server_id:
            return None
        return Handle(server_id, _token(pid, start), began)

    async def end(self, server_id: str) -> None:
        """See `Driver.end`."""
        handle = await self.find(server_id)
        if handle is None or (pid := _living_pid(handle)) is None:
            return
        group = self._groups.of(server_id, pid)
        group.kill()
        kill_group(pid, signal.SIGKILL)
        while _living_pid(handle) is not None:  # noqa: ASYNC110  # it is nobody's child: nothing tells us
            await asyncio.sleep(0.02)
        await asyncio.to_thread(vanish, group)

    async def last_exit(self, handle: Handle) -> Exit:
        """See `Driver.last_exit`."""
        status = self._home(handle.server_id) / "status"
        code = read_status(status)
        group = self._groups.left(handle.server_id)
        why = group.why_killed()
        await asyncio.to_thread(vanish, group)  # with what it left behind
        return Exit(code, status.stat().st_mtime if code is not None else time.time(), why)

    async def close(self) -> None:
        """See `Driver.close`."""
        self._outputs.close()
        for server in tuple(self._running.values()):
            server.let_go()
        self._running.clear()

    def _forget(self, server: ProcessServer) -> None:
        self._outputs.forget(server.tail)
        self._running.pop(server.handle.server_id, None)

    def _follow(self, server: ProcessServer) -> ProcessServer:
        self._running[server.handle.server_id] = server
        server.watch()
        self._outputs.follow(server.tail)
        return server

    def _home(self, server_id: str) -> Path:
        home = inside(self._folder, server_id)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return home

    def _tail(self, server_id: str) -> Tail:
        return Tail(self._home(server_id))

    def _command(self, plan: Plan) -> tuple[list[str], Path]:
        try:
            directory = inside(plan.folder, plan.launch.directory)
            program = self._program(plan, directory)
        except PathEscapes as error:
            raise DriverError("path_escapes", str(error)) from None
        if not directory.is_dir():
            raise DriverError("no_such_folder", f"{plan.launch.directory} is not a folder of this server")
        return [program, *plan.launch.argv[1:]], directory

    def _program(self, plan: Plan, directory: Path) -> str:
        name = plan.launch.argv[0]
        if "/" in name:
            return str(own_program(plan, directory))
        check_runtime(name, self._runtimes)
        return find_runtime(name, plan.user)


def _token(pid: int, start: int | None) -> str:
    return json.dumps({"pid": pid, "start": start, "boot": proc.boot_id()})


def _living_pid(handle: Handle) -> int | None:
    try:
        token = json.loads(handle.token)
        pid, start, boot = int(token["pid"]), int(token["start"]), str(token["boot"])
    except (ValueError, KeyError, TypeError):
        return None
    return pid if boot == proc.boot_id() and proc.start_time(pid) == start else None
