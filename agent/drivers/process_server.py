"""One game as a process: watched by its shim's end, written to, stopped, measured."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from agent.console import Console
from agent.drivers import proc
from agent.drivers.base import DriverError, Handle, Usage
from agent.drivers.ending import Ending
from agent.drivers.group import Group, vanish
from agent.drivers.shim import end_user, kill_group, read_status
from agent.drivers.tail import Tail
from agent.owners import GameUser


class ProcessServer(Ending):
    """See `agent.drivers.base.Running`."""

    def __init__(
        self,
        forget: Callable[[ProcessServer], None],
        home: Path,
        handle: Handle,
        shim_pid: int,
        tail: Tail,
        group: Group,
        child: subprocess.Popen[bytes] | None,
        user: GameUser | None,
    ) -> None:
        super().__init__()
        self.handle, self.tail = handle, tail
        self._user = user if user is not None and user.alone else None
        self.limits_applied = group.applied
        self._forget, self._home, self._shim, self._group, self._child = forget, home, shim_pid, group, child
        self._pidfd = -1
        self._stdin = -1
        self._family: proc.Family | None = None
        self._emptying: asyncio.Task[None] | None = None

    @property
    def console(self) -> Console:
        """See `Running.console`."""
        return self.tail.console

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
        if self._family is not None:
            self._family.close()
            self._family = None
        self._group.close()
        if self._child is not None:
            self._child.returncode = self._child.poll() or 0  # it is meant to outlive us: no warning about that
        self.tail.close()

    def _on_end(self) -> None:
        code = read_status(self._home / "status")
        # What it left behind; before the wait, while the id is surely still ours.
        self._group.kill()
        kill_group(self._shim, signal.SIGKILL)
        if self._user is not None:
            end_user(self._user)
        if self._child is not None:
            shim_code = self._child.wait()
            code = code if code is not None else (shim_code if shim_code < 0 else None)
        self.tail.finish()
        self.let_go()
        self._forget(self)
        self._emptying = asyncio.create_task(self._tell(code, self._group.why_killed()))

    async def _tell(self, code: int | None, killed: str) -> None:
        """Tell the end once its group is gone, so that a new start finds nothing of the old."""
        await asyncio.to_thread(vanish, self._group)
        self._has_ended(code, killed)

    def write(self, line: str) -> None:
        """See `Running.write`."""
        if self._pidfd < 0:
            raise DriverError("not_running", "the server does not run")
        try:
            if self._stdin < 0:
                self._stdin = os.open(self._home / "stdin", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.write(self._stdin, line.encode() + b"\n")
        except BlockingIOError:
            raise DriverError("input_full", "the game does not read its input: 64 KiB wait already") from None
        except OSError as error:
            raise DriverError("not_running", f"the game's input is closed: {error.strerror}") from None

    async def _signal(self, name: str) -> None:
        if self._pidfd < 0:
            return  # its id may be another's by now
        if name == "SIGKILL":
            self._group.kill()
        kill_group(self._shim, signal.Signals[name])

    def usage(self) -> Usage | None:
        """See `Running.usage`."""
        if self._pidfd < 0:
            return None
        if (counted := self._group.usage()) is not None:
            return counted
        if self._family is None:
            pid = self.pid
            if pid is None:
                return None
            self._family = proc.Family(pid)
        return self._family.usage()

    def bound_ports(self) -> tuple[str, ...]:
        """See `Running.bound_ports`."""
        return () if self._pidfd < 0 else proc.bound_ports(self._shim, self._user.uid if self._user else None)
