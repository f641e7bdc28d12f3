"""One part as a living process: started, read, restarted when it dies, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import time
from collections import deque
from enum import StrEnum

from local.supervisor.console import Console
from local.supervisor.parts import Part, restart_delay

STEADY_SECONDS = 60.0  # a part that lived this long has started well; the next death counts as the first
READY_SECONDS = 90.0  # a guard: Node on a slow disk needs several seconds, nothing needs this
STOP_SECONDS = 10.0  # between the request to stop and the kill
UNSAID_LINES = 30  # of a quiet part, told if it fails
REFUSED = 2  # the exit code of a part that printed one line and will not start however often it is tried
LINE_LIMIT_BYTES = 1024 * 1024
PR_SET_PDEATHSIG = 1  # prctl(2)


class Refused(Exception):
    """A part will not start, and has said why in its own line."""


class State(StrEnum):
    """Where a part stands."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    DEAD = "dead"
    STOPPED = "stopped"


class PartProcess:
    """Keeps one part alive.

    The child gets a session of its own, so that Ctrl-C in the terminal reaches the supervisor alone and parts are
    stopped in order; and a parent-death signal, so that they end even when the supervisor is killed.
    """

    def __init__(self, part: Part, console: Console) -> None:
        self.part = part
        self.state = State.WAITING
        self.deaths = 0
        self.ready_seconds = 0.0
        self.hushed = part.quiet  # until the house is up
        self._console = console
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._first_ready = asyncio.Event()
        self._unsaid: deque[str] = deque(maxlen=UNSAID_LINES)
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it lives."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def failed(self) -> bool:
        """Whether it has ended badly, and is not being started again."""
        return self.state is State.DEAD

    async def start(self) -> None:
        """Start the part and return when it is ready (or, for a job, when it has ended well).

        Raises:
            Refused: it will not start.
        """
        port = self.part.port
        if port is not None and await _accepts(port):
            # A stranger's answer on that port would be taken for the part's own.
            raise Refused(
                f"port {port} for {self.part.name} is in use; stop what uses it, or choose another with {self.part.port_option}"
            )
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.part.name}")
        waiter = asyncio.create_task(self._first_ready.wait())
        done, _ = await asyncio.wait({self._keeper, waiter}, return_when=asyncio.FIRST_COMPLETED)
        if waiter not in done:
            waiter.cancel()
            await self._keeper

    async def wait(self) -> None:
        """Return when the part is given up.

        Raises:
            Refused: it came to a point from which a restart does not help.
        """
        if self._keeper is not None:
            await self._keeper

    async def stop(self) -> None:
        """Ask the part to end, wait, and kill what has not ended."""
        self._stopping = True
        process = self._process
        if process is not None and process.returncode is None:
            self._signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            except TimeoutError:
                self._console.notice(f"{self.part.name} did not stop within {STOP_SECONDS:.0f} s: killed", trouble=True)
                self._signal(signal.SIGKILL)
                await process.wait()
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError, Refused):
                await self._keeper
        if self.part.farewell and self.state is not State.WAITING:
            await self._say_farewell()
        self.state = State.STOPPED

    async def _say_farewell(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *self.part.farewell,
            env={**os.environ, **self.part.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        await self._read(process)
        await process.wait()

    async def _keep(self) -> None:
        while True:
            begun = time.monotonic()
            code = await self._live(begun)
            if self._stopping or (self.part.once and code == 0):
                return
            self._speak_up()
            if self.part.optional:
                self.state = State.DEAD
                self._console.notice(
                    f"{self.part.name} did not succeed ({_cause(code)}); everything else is up", trouble=True
                )
                return
            if code == REFUSED:
                self.state = State.DEAD
                raise Refused(f"{self.part.name} will not start; its last line says why")
            self.state = State.DEAD
            self.deaths = 1 if time.monotonic() - begun > STEADY_SECONDS else self.deaths + 1
            delay = restart_delay(self.deaths, random.random())  # noqa: S311 - spreads restarts, guards nothing
            self._console.notice(
                f"{self.part.name} ended ({_cause(code)}); starting it again in {delay:.1f} s", trouble=True
            )
            await asyncio.sleep(delay)

    async def _live(self, begun: float) -> int:
        """One life of the process, from start to exit code."""
        self.state = State.STARTING
        self._process = await asyncio.create_subprocess_exec(
            *self.part.command,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self.part.env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
            limit=LINE_LIMIT_BYTES,
        )
        reader = asyncio.create_task(self._read(self._process))
        if not self.part.once:
            readiness = asyncio.create_task(self._await_ready(self._process, begun))
            code = await self._process.wait()
            readiness.cancel()
        else:
            code = await self._process.wait()
            if code == 0:
                self._ready(begun)
        await reader
        return code

    async def _await_ready(self, process: asyncio.subprocess.Process, begun: float) -> None:
        if self.part.port is None:
            self._ready(begun)
            return
        while process.returncode is None and time.monotonic() - begun < READY_SECONDS:
            if await _answers(self.part.port, self.part.ready_path):
                self._ready(begun)
                return
            await asyncio.sleep(0.03)
        if process.returncode is None:
            self._console.notice(
                f"{self.part.name} has not answered on port {self.part.port} for {READY_SECONDS:.0f} s", trouble=True
            )
            self._signal(signal.SIGKILL)

    def _ready(self, begun: float) -> None:
        self.state = State.READY
        self.ready_seconds = time.monotonic() - begun
        if self._first_ready.is_set():
            self._console.notice(f"{self.part.name} is back after {self.ready_seconds:.1f} s")
        self._first_ready.set()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line above the limit: its rest is read as lines of its own
                continue
            if not line:
                return
            self._hear(line.decode(errors="replace").rstrip("\n"))

    def _hear(self, text: str) -> None:
        """A line: for everybody; or of a quiet part while the house starts or stops for its log, and in case it fails."""
        if self.hushed or (self.part.quiet and self._stopping):
            self._unsaid.append(text)
            self._console.keep(self.part.name, text)
        else:
            self._console.line(self.part.name, text)

    def _speak_up(self) -> None:
        """It failed: what it has said so far is told after all."""
        for text in self._unsaid:
            self._console.show(self.part.name, text)
        self._unsaid.clear()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _answers(port: int, path: str) -> bool:
    """Whether the part is ready: the port accepts, and the path (if there is one) is answered with 200."""
    if not path:
        return await _accepts(port)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
        status = await reader.readline()
        writer.close()
    except OSError:
        return False
    return b" 200 " in status


def _die_with_parent() -> None:
    # Runs between fork and exec: nothing here may allocate much or take a lock.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _cause(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
