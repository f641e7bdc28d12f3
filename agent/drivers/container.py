"""Games in containers, over the Docker Engine API. The engine keeps them running; we keep their ids."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any

from agent.console import Console
from agent.drivers import proc
from agent.drivers.base import DriverError, Exit, Handle, Plan, Usage
from agent.drivers.container_plan import PLACE, description, limited
from agent.drivers.ending import Ending
from agent.drivers.engine import Engine, EngineRefused, encoded
from agent.drivers.group import out_of_memory
from agent.drivers.ports import check_free


class ContainerDriver:
    """See `agent.drivers.base.Driver`."""

    name = "container"

    def __init__(self, folder: Path, socket: Path, image: str = "") -> None:
        self._folder, self._image = folder, image
        self._socket = socket
        self.engine = Engine(socket)
        self._running: dict[str, ContainerServer] = {}

    async def start(self, plan: Plan) -> ContainerServer:
        """See `Driver.start`. A container that is left of an earlier start is removed first."""
        if plan.server_id in self._running:
            raise DriverError("already_running", f"{plan.server_id} runs already")
        check_free(plan.ports)
        name = _name(plan.server_id)
        with contextlib.suppress(EngineRefused):
            await self.engine.call("DELETE", f"/containers/{name}?force=1&v=1")
        made_of = description(plan, self._image)
        await self.fetch(made_of["Image"])
        made = await self.engine.call("POST", f"/containers/create?name={encoded(name)}", made_of)
        try:
            attached = await self._attach(made["Id"])
            await self.engine.call("POST", f"/containers/{made['Id']}/start")
        except EngineRefused as error:
            await self.engine.call("DELETE", f"/containers/{made['Id']}?force=1&v=1")
            raise DriverError("start_failed", error.reason) from None
        found = await self.engine.call("GET", f"/containers/{made['Id']}/json")
        token = json.dumps(
            {
                "id": made["Id"],
                "pid": found["State"]["Pid"],
                "lines": self._next_line(plan.server_id),
                "limits": limited(plan),
            }
        )
        return self._follow(plan.server_id, Handle(plan.server_id, token, time.time()), attached)

    @staticmethod
    def root(folder: Path) -> str:  # noqa: ARG004  # every server's is the same
        """See `Driver.root`."""
        return PLACE

    async def fetch(self, image: str) -> None:
        """See `Driver.fetch`."""
        if image:
            await self.engine.pull(image)

    async def adopt(self, plan: Plan, handle: Handle) -> ContainerServer | None:
        """See `Driver.adopt`."""
        container = _of(handle)
        try:
            found = await self.engine.call("GET", f"/containers/{container}/json")
        except EngineRefused:
            return None
        if not found["State"]["Running"]:
            return None
        return self._follow(plan.server_id, handle, await self._attach(container))

    async def find(self, server_id: str) -> Handle | None:
        """See `Driver.find`. A server's container is found by its name."""
        try:
            found = await self.engine.call("GET", f"/containers/{_name(server_id)}/json")
        except EngineRefused:
            return None
        if not found["State"]["Running"]:
            return None
        token = {"id": found["Id"], "pid": found["State"]["Pid"], "lines": self._next_line(server_id), "limits": ()}
        return Handle(server_id, json.dumps(token), time.time())

    async def end(self, server_id: str) -> None:
        """See `Driver.end`."""
        with contextlib.suppress(EngineRefused):
            await self.engine.call("DELETE", f"/containers/{_name(server_id)}?force=1&v=1")

    async def last_exit(self, handle: Handle) -> Exit:
        """See `Driver.last_exit`."""
        try:
            found = await self.engine.call("GET", f"/containers/{_of(handle)}/json")
        except EngineRefused:
            return Exit(None, time.time())
        return Exit(_code(int(found["State"]["ExitCode"])), time.time(), _why_killed(found))

    async def close(self) -> None:
        """See `Driver.close`."""
        for server in tuple(self._running.values()):
            await server.let_go()
        self._running.clear()

    def forget(self, server: ContainerServer) -> None:
        """A server has ended; the numbering of its lines is kept for the next start."""
        self._running.pop(server.handle.server_id, None)
        place = self._folder / server.handle.server_id
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        (place / "lines").write_text(str(server.console.next_number))

    def _next_line(self, server_id: str) -> int:
        try:
            return int((self._folder / server_id / "lines").read_text())
        except (OSError, ValueError):
            return 1

    def _follow(self, server_id: str, handle: Handle, attached: socket.socket) -> ContainerServer:
        server = ContainerServer(self, handle, attached)
        self._running[server_id] = server
        return server

    async def _attach(self, container: str) -> socket.socket:
        """The standard input: a connection that the engine turns into the raw stream."""
        connection = socket.socket(socket.AF_UNIX)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, str(self._socket))
        head = f"POST /v1.41/containers/{container}/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: engine\r\n"
        await loop.sock_sendall(connection, f"{head}Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer and len(answer) < 65_536:
            piece = await loop.sock_recv(connection, 4096)
            if not piece:
                break
            answer += piece
        if not answer.startswith((b"HTTP/1.1 101", b"HTTP/1.1 200")):
            connection.close()
            raise DriverError("engine_refused", f"the engine attaches nothing: {answer[:100]!r}")
        return connection


class ContainerServer(Ending):
    """See `agent.drivers.base.Running`."""

    def __init__(self, driver: ContainerDriver, handle: Handle, attached: socket.socket) -> None:
        super().__init__()
        self.handle = handle
        token = json.loads(handle.token)
        self._driver, self._id, self._pid, self._stdin = driver, str(token["id"]), int(token["pid"]), attached
        self._family = proc.Family(self._pid)
        self.console = Console(int(token["lines"]))
        self.limits_applied: tuple[str, ...] = tuple(token["limits"])
        self._tasks = [asyncio.create_task(self._wait_for_end()), asyncio.create_task(self._read_output())]

    @property
    def pid(self) -> int | None:
        """The container's first process."""
        return self._pid if proc.start_time(self._pid) is not None else None

    async def _read_output(self) -> None:
        with contextlib.suppress(OSError, EOFError, DriverError, ValueError):
            path = f"/containers/{self._id}/logs?follow=1&stdout=1&stderr=1&tail=all"
            async with self._driver.engine.stream("GET", path) as reply:
                async for piece in reply.chunks():
                    self.console.feed(piece)

    async def _wait_for_end(self) -> None:
        code: int | None = None
        killed = ""
        with contextlib.suppress(DriverError):
            found = await self._driver.engine.call("POST", f"/containers/{self._id}/wait", seconds=None)
            code = _code(int(found["StatusCode"]))
            killed = _why_killed(await self._driver.engine.call("GET", f"/containers/{self._id}/json"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):  # the last lines
                await asyncio.shield(self._tasks[1])
        self.console.flush()
        self._stdin.close()
        self._family.close()
        self._driver.forget(self)
        self._has_ended(code, killed)

    async def let_go(self) -> None:
        """Stop following; the container runs on."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._stdin.close()
        self._family.close()

    def write(self, line: str) -> None:
        """See `Running.write`."""
        if self._ended.done():
            raise DriverError("not_running", "the server does not run")
        data = line.encode() + b"\n"
        try:
            if self._stdin.send(data) < len(data):
                raise DriverError("input_full", "the game does not read its input")
        except BlockingIOError:
            raise DriverError("input_full", "the game does not read its input") from None
        except OSError as error:
            raise DriverError("not_running", f"the game's input is closed: {error.strerror}") from None

    async def _signal(self, name: str) -> None:
        with contextlib.suppress(EngineRefused):  # it ended by itself meanwhile
            await self._driver.engine.call("POST", f"/containers/{self._id}/kill?signal={encoded(name)}")

    def usage(self) -> Usage | None:
        """See `Running.usage`."""
        return None if self._ended.done() else self._family.usage()

    def bound_ports(self) -> tuple[str, ...]:
        """See `Running.bound_ports`."""
        return () if self._ended.done() else proc.bound_ports(self._pid)


def _name(server_id: str) -> str:
    return f"meridian-{server_id.lower()}"


def _of(handle: Handle) -> str:
    return encoded(str(json.loads(handle.token).get("id", "none")))


def _why_killed(found: Any) -> str:
    """See `agent.drivers.base.Exit.killed`; `found` is the engine's description of the container."""
    return out_of_memory(found["HostConfig"]["Memory"]) if found["State"]["OOMKilled"] else ""


def _code(status: int) -> int:
    return 128 - status if 128 < status <= 192 else status
