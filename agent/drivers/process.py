"""Games as plain processes of this machine, each in a session of its own, living on when the agent ends.

A game is started by a small fixed shell script, the shim, that waits for it and writes its exit code to a file. That
costs 100 KB and gives what a child of the agent cannot have: after an agent restart the game is nobody's child, and its
exit code would be lost. The script's text is ours; program and arguments reach it as positional parameters, which a
shell passes on without reading them.

    agent ── shim (leads the session and process group) ── game ── its children
              stdin   a FIFO, held open by the shim: it has no end when the agent goes
              stdout  console.log, opened for appending
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

from agent.console import Console
from agent.drivers import proc
from agent.drivers.base import DriverError, Exit, Handle, Plan, Usage
from agent.drivers.cgroups import Group, Groups
from agent.drivers.ports import check_free
from agent.drivers.programs import RUNTIMES, check_runtime, own_program
from agent.drivers.tail import LOG, Tail
from agent.jail import PathEscapes, inside
from shared.messaging.server_spec import Stop

_READ_CALM, _READ_BUSY = 2.0, 0.1

# trap with a command, unlike trap '', is reset in the child: the game sees its signals, the shim outlives them.
_SHIM: Final = """
status=$1 joins=$2; shift 2
trap : HUP INT QUIT TERM
IFS=:
for join in $joins; do echo $$ >"$join" || exit 125; done
unset IFS
"$@"
echo $? >"$status"
"""


class ProcessDriver:
    """See `agent.drivers.base.Driver`."""

    name = "process"

    def __init__(self, folder: Path, groups: Groups | None = None, runtimes: tuple[str, ...] = RUNTIMES) -> None:
        self._folder = folder
        self._groups = groups or Groups()
        self._runtimes = runtimes
        self._running: dict[str, ProcessServer] = {}
        self._reader: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

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
            shim = _spawn(self._home(plan.server_id), command, directory, _environment(plan), group)
        except OSError as error:
            tail.close()
            raise DriverError("start_failed", f"{plan.launch.argv[0]}: {error.strerror}") from None
        token = json.dumps({"pid": shim.pid, "start": proc.start_time(shim.pid), "boot": proc.boot_id()})
        handle = Handle(plan.server_id, token, time.time())
        return self._follow(ProcessServer(self, self._home(plan.server_id), handle, shim.pid, tail, group, shim))

    async def adopt(self, plan: Plan, handle: Handle) -> ProcessServer | None:
        """See `Driver.adopt`. The same process id with another start time is another process."""
        pid = _living_pid(handle)
        if pid is None:
            return None
        group = self._groups.make(plan.server_id, plan.limits)
        return self._follow(
            ProcessServer(self, self._home(plan.server_id), handle, pid, self._tail(plan.server_id), group, None)
        )

    async def last_exit(self, handle: Handle) -> Exit:
        """See `Driver.last_exit`."""
        status = self._home(handle.server_id) / "status"
        code = _read_status(status)
        return Exit(code, status.stat().st_mtime if code is not None else time.time())

    async def close(self) -> None:
        """See `Driver.close`."""
        if self._reader is not None:
            self._reader.cancel()
        for server in tuple(self._running.values()):
            server.let_go()
        self._running.clear()

    def forget(self, server_id: str) -> None:
        """A server has ended."""
        self._running.pop(server_id, None)

    def _follow(self, server: ProcessServer) -> ProcessServer:
        self._running[server.handle.server_id] = server
        server.watch()
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_outputs())
        self._wake.set()
        return server

    async def _read_outputs(self) -> None:
        """One loop for all servers: often while output comes or somebody listens, else each two seconds."""
        while self._running:
            busy = False
            for server in tuple(self._running.values()):
                busy |= server.tail.read() or server.console.listened or server.young
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_READ_BUSY if busy else _READ_CALM):
                    await self._wake.wait()

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
        return [*_as_user(plan.user), program, *plan.launch.argv[1:]], directory

    def _program(self, plan: Plan, directory: Path) -> str:
        name = plan.launch.argv[0]
        if "/" in name:
            return str(own_program(plan, directory))
        check_runtime(name, self._runtimes)
        found = shutil.which(name)
        if found is None:
            raise DriverError("no_such_program", f"{name!r} is not installed on this machine")
        return found


class ProcessServer:
    """See `agent.drivers.base.Running`."""

    def __init__(
        self,
        driver: ProcessDriver,
        home: Path,
        handle: Handle,
        shim_pid: int,
        tail: Tail,
        group: Group,
        child: subprocess.Popen[bytes] | None,
    ) -> None:
        self.handle, self.tail = handle, tail
        self.limits_applied = group.applied
        self._driver, self._home, self._shim, self._group, self._child = driver, home, shim_pid, group, child
        self._ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._pidfd = -1
        self._stdin = -1

    @property
    def console(self) -> Console:
        """See `Running.console`."""
        return self.tail.console

    @property
    def young(self) -> bool:
        """Whether it has just been started: then its first lines are waited for."""
        return time.time() - self.handle.started_at < 10

    @property
    def pid(self) -> int | None:
        """The game's own process, below the shim."""
        return next(iter(proc.children(self._shim)), None)

    def watch(self) -> None:
        """Have the loop call us when the shim ends, whoever's child it is."""
        self._pidfd = os.pidfd_open(self._shim)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_end)

    def let_go(self) -> None:
        """Stop watching; the game runs on."""
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1
        if self._child is not None:
            self._child.returncode = self._child.poll() or 0  # it is meant to outlive us: no warning about that
        self.tail.close()

    def _on_end(self) -> None:
        code = _read_status(self._home / "status")
        _kill_group(
            self._shim, signal.SIGKILL
        )  # what it left behind; before the wait, while the id is surely still ours
        if self._child is not None:
            shim_code = self._child.wait()
            code = code if code is not None else (shim_code if shim_code < 0 else None)
        self.tail.finish()
        self.let_go()
        self._group.remove()
        self._driver.forget(self.handle.server_id)
        if not self._ended.done():
            self._ended.set_result(Exit(code, time.time()))

    async def wait(self) -> Exit:
        """See `Running.wait`."""
        return await asyncio.shield(self._ended)

    def write(self, line: str) -> None:
        """See `Running.write`."""
        if self._ended.done():
            raise DriverError("not_running", "the server does not run")
        try:
            if self._stdin < 0:
                self._stdin = os.open(self._home / "stdin", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.write(self._stdin, line.encode() + b"\n")
        except BlockingIOError:
            raise DriverError("input_full", "the game does not read its input: 64 KiB wait already") from None
        except OSError as error:
            raise DriverError("not_running", f"the game's input is closed: {error.strerror}") from None

    async def stop(self, stop: Stop) -> Exit:
        """See `Running.stop`."""
        if stop.method == "command":
            with contextlib.suppress(DriverError):  # a game that does not read is ended by the time-out
                self.write(stop.value)
        else:
            _kill_group(self._shim, signal.Signals[stop.value])
        try:
            async with asyncio.timeout(stop.timeout_seconds):
                return await self.wait()
        except TimeoutError:
            return await self.kill()

    async def kill(self) -> Exit:
        """See `Running.kill`."""
        if not self._ended.done():
            _kill_group(self._shim, signal.SIGKILL)
        return await self.wait()

    def usage(self) -> Usage | None:
        """See `Running.usage`."""
        return None if self._ended.done() else proc.usage(self._shim)

    def bound_ports(self) -> tuple[str, ...]:
        """See `Running.bound_ports`."""
        return () if self._ended.done() else proc.bound_ports(self._shim)


def _spawn(
    home: Path, command: list[str], directory: Path, environment: dict[str, str], group: Group
) -> subprocess.Popen[bytes]:
    fifo, status = home / "stdin", home / "status"
    status.unlink(missing_ok=True)
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo, 0o600)
    # Opened for both ends the FIFO neither blocks here nor ever ends for the game.
    with (
        os.fdopen(os.open(fifo, os.O_RDWR | os.O_CLOEXEC), "r+b", buffering=0) as stdin,
        os.fdopen(os.open(home / LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab") as log,
    ):
        joins = ":".join(map(str, group.join))
        shim = ["/bin/sh", "-c", _SHIM, "meridian-shim", str(status), joins, *command]
        return subprocess.Popen(
            shim, stdin=stdin, stdout=log, stderr=log, cwd=directory, env=environment, start_new_session=True
        )


def _as_user(user: str | None) -> list[str]:
    """The words before a command that give it another user and take every privilege; nothing without the rights."""
    if user is None or os.geteuid() != 0:
        return []
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise DriverError("no_such_user", f"this machine has no user {user!r}") from None
    identity = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups"]
    return ["/usr/bin/setpriv", *identity, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all", "--"]


def _environment(plan: Plan) -> dict[str, str]:
    """What the game finds in its environment: nothing of ours but where programs are, and the language."""
    base = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(plan.folder), "LANG": "C.UTF-8", "TZ": "UTC"}
    for name in ("PATH", "LANG", "TZ"):
        base[name] = os.environ.get(name, base[name])
    return {**base, **plan.launch.env, "MERIDIAN_SERVER_ID": plan.server_id}


def _living_pid(handle: Handle) -> int | None:
    try:
        token = json.loads(handle.token)
        pid, start, boot = int(token["pid"]), int(token["start"]), str(token["boot"])
    except (ValueError, KeyError, TypeError):
        return None
    return pid if boot == proc.boot_id() and proc.start_time(pid) == start else None


def _read_status(path: Path) -> int | None:
    """The exit code as the shim saw it: a shell tells death by signal n as 128 + n."""
    try:
        code = int(path.read_text())
    except (OSError, ValueError):
        return None
    return 128 - code if 128 < code <= 128 + signal.NSIG else code


def _kill_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
