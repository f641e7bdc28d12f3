"""What agents feel: how long a command and its report take, what a thousand waiting agents cost, how soon all is back."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from local.servicebus.amqp import performatives as p
from tests.benchmarks.harness import Aim, Bench, Work, bench
from tests.benchmarks.machine import cpu_seconds, pinned, private_bytes
from tests.benchmarks.servicebus_sides import BATCH_FORMAT, BODY, Client, Ours, acknowledged
from tests.contract.servicebus.target import local_part
from tests.contract.servicebus.wire import WireClient, body_of, text_message
from tests.support.processes import free_port, wait_for_port

AGENTS = 1000
STORED = 100_000
IDLE_SECONDS = 20.0

_FLOOR = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
file = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
while True:
    peer, _ = listener.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    at = 0
    while data := peer.recv(65536):
        for _ in range(2):
            os.pwrite(file, data.ljust(4096, b"x"), at % 262144)
            os.fdatasync(file)
            at += 4096
        peer.sendall(data)
"""


class RoundTrip(Client):
    """A command to an agent's queue, and the agent's report back: sent, stored, delivered, twice."""

    def __init__(self, name: str) -> None:
        super().__init__(name, Ours("--queue", "reports"))

    async def open(self) -> None:
        ours = self.broker
        assert isinstance(ours, Ours)
        self._console, self._listener = await ours.connect(), await ours.connect("reports")
        self._agent, self._reporter = await ours.connect(), await ours.connect("reports")
        await self._console.open_sender(2, "bench")
        await self._reporter.open_sender(2, "reports")
        await self._agent.open_receiver(3, "bench", 1)
        await self._listener.open_receiver(3, "reports", 1)
        self._counts = [0, 0]
        self._task = asyncio.create_task(self._work())

    async def _next(self, client: WireClient, index: int) -> bytes:
        """Receive, complete with confirmation, grant the next credit."""
        _, fields, payload = await client.next(p.TRANSFER)
        client.settle(fields[1])
        await acknowledged(client)
        self._counts[index] += 1
        client.flow(3, 1, self._counts[index])
        return body_of(payload)

    async def _work(self) -> None:
        """The agent: complete the command (its journal has it), then report."""
        while True:
            body = await self._next(self._agent, 0)
            self._reporter.transfer(2, text_message(body))
            await acknowledged(self._reporter)

    async def _round(self, seconds: float) -> list[float]:
        times, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            start = time.perf_counter()
            self._console.transfer(2, text_message(BODY))
            assert await self._next(self._listener, 1) == BODY
            times.append(time.perf_counter() - start)
            await acknowledged(self._console)
        return times

    def run(self, seconds: float) -> Work:
        times = self.call(self._round(seconds))
        self.done += len(times)
        return Work(len(times), latencies=times)


class Floor:
    """A TCP echo that syncs twice before it answers: what a durable round trip cannot go below."""

    name = "TCP echo and two fdatasyncs"

    def start(self) -> None:
        import socket

        self._folder, port = tempfile.mkdtemp(), free_port()
        command = pinned(0, [sys.executable, "-c", _FLOOR, str(port), f"{self._folder}/file"])
        self._process = subprocess.Popen(command)
        wait_for_port(port, self._process)
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.run(0.3)

    def run(self, seconds: float) -> Work:
        times, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            start = time.perf_counter()
            self._socket.sendall(BODY)
            left = len(BODY)
            while left:
                left -= len(self._socket.recv(left))
            times.append(time.perf_counter() - start)
        return Work(len(times), latencies=times)

    def pids(self) -> Sequence[int]:
        return [self._process.pid]

    def check(self) -> None:
        assert os.path.getsize(f"{self._folder}/file") > 0  # noqa: PTH202 - one figure of a file

    def stop(self) -> None:
        self._socket.close()
        self._process.kill()
        self._process.wait(30)
        shutil.rmtree(self._folder, ignore_errors=True)


@bench("servicebus-round-trip")
def round_trip(run: Bench) -> None:
    """Command to an agent and report back (FULL), against a TCP echo with two fdatasyncs."""
    ours, floor = RoundTrip("command and report"), Floor()
    run.compare(
        [ours, floor],
        [Aim(ours.name, floor.name, "p50", at_most=12.0), Aim(ours.name, floor.name, "p99", at_most=40.0)],
    )


@bench("servicebus-idle")
def idle(run: Bench) -> None:
    """A thousand agents over TLS, each waiting on its queue with its own token: memory, CPU, time to attach."""
    with tempfile.TemporaryDirectory() as folder:
        names = [part for number in range(AGENTS) for part in ("--queue", f"cmd-{number}")]
        target = local_part(Path(folder), *names)
        assert target.part is not None
        with target.part:
            assert target.part.process is not None
            asyncio.run(_idle(run, target.part.process.pid, target.ports["tls"], target.ca or "", target.token))


async def _idle(run: Bench, pid: int, port: int, ca: str, token) -> None:  # type: ignore[no-untyped-def]
    context, gate = ssl.create_default_context(cafile=ca), asyncio.Semaphore(50)

    async def agent(number: int) -> WireClient:
        async with gate:
            client, queue = await WireClient.connect(port, context), f"cmd-{number}"
            assert await client.put_token(token(queue), f"sb://localhost/{queue}") == 202
            await client.open_receiver(2, queue, 1)
            return client

    cpu, start = cpu_seconds([pid]), time.monotonic()
    agents = await asyncio.gather(*(agent(number) for number in range(AGENTS)))
    run.figure("broker CPU of one attach over TLS", round((cpu_seconds([pid]) - cpu) / AGENTS * 1e6), "us")
    run.figure("all attached after (client included)", round(time.monotonic() - start, 2), "s")
    await asyncio.sleep(3)
    cpu = cpu_seconds([pid])
    await asyncio.sleep(IDLE_SECONDS)
    share = (cpu_seconds([pid]) - cpu) / IDLE_SECONDS * 100
    run.figure(f"CPU with {AGENTS} idle receivers", round(share, 3), "% of a core", at_most=0.5)
    run.figure(f"memory (USS) with {AGENTS} idle receivers", round(private_bytes(pid) / 2**20, 1), "MiB", at_most=100)
    for one in agents:
        one.writer.transport.abort()


@bench("servicebus-reload")
def reload(run: Bench) -> None:
    """A start with 100,000 stored messages of 1 KiB: until it answers, and the memory it takes."""
    with tempfile.TemporaryDirectory() as folder:
        target = local_part(Path(folder), "--queue", "bench", "--sync", "NORMAL")
        part = target.part
        assert part is not None
        with part:
            asyncio.run(_fill(target.ports["amqp"], target.token("bench")))
            part.kill()
            start = time.monotonic()
            part.start()
            assert part.process is not None
            run.figure("start with 100,000 stored messages", round(time.monotonic() - start, 2), "s")
            run.figure("memory (USS) after it", round(private_bytes(part.process.pid) / 2**20, 1), "MiB")
            count = target.admin().get_queue_runtime_properties("bench").active_message_count
            assert count == STORED, f"{count} messages came back"
        other = Path(folder) / "empty"
        other.mkdir()
        empty = local_part(other).part
        assert empty is not None
        start = time.monotonic()
        with empty:
            run.figure("start with none", round(time.monotonic() - start, 2), "s")


async def _fill(port: int, token: str) -> None:
    from local.servicebus.amqp.encode import described, encode

    client = await WireClient.connect(port)
    assert await client.put_token(token, "sb://localhost/bench") == 202
    await client.open_sender(2, "bench")
    batch = b"".join(described(0x75, encode(text_message(BODY))) for _ in range(50))
    for _ in range(STORED // 50):
        client.transfer(2, batch, message_format=BATCH_FORMAT)
        await acknowledged(client)
    await client.close()
