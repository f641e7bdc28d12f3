"""Brokers and a bare SQLite file, asked to do the same with messages; one neutral AMQP 1.0 client talks to both brokers."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.encode import described, encode
from tests.benchmarks.harness import MissingPeer, Work
from tests.benchmarks.machine import children_of, cpu_seconds, pinned
from tests.contract.servicebus.target import Target, local_part
from tests.contract.servicebus.wire import WireClient, text_message
from tests.support.processes import free_port, wait_for_port

BODY = b"x" * 1024
BATCH = 50
BATCH_FORMAT = 0x80013700
CREDIT = 100


class Broker:
    """A broker process with one durable queue, and how the neutral client reaches it."""

    queue = "bench"

    async def connect(self) -> WireClient:
        """A connection that may send and receive."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the process."""

    def stop(self) -> None:
        """End it."""

    def pids(self) -> Sequence[int]:
        """Its processes."""
        raise NotImplementedError


class Ours(Broker):
    """The endpoint of this repository, FULL."""

    def __init__(self, *extra: str) -> None:
        self._extra = extra
        self._folder = ""
        self.target: Target | None = None

    def start(self) -> None:
        self._folder = tempfile.mkdtemp()
        self.target = local_part(Path(self._folder), "--queue", self.queue, *self._extra)
        assert self.target.part is not None
        self.target.part.command = pinned(0, self.target.part.command)
        self.target.part.start()

    async def connect(self, queue: str = "") -> WireClient:
        assert self.target is not None
        client = await WireClient.connect(self.target.ports["amqp"])
        name = queue or self.queue
        assert await client.put_token(self.target.token(name), f"sb://localhost/{name}") == 202
        return client

    def stop(self) -> None:
        if self.target is not None and self.target.part is not None:
            self.target.part.kill()
            shutil.rmtree(self._folder, ignore_errors=True)

    def pids(self) -> Sequence[int]:
        assert self.target is not None
        assert self.target.part is not None
        assert self.target.part.process is not None
        return [self.target.part.process.pid]


class RabbitMQ(Broker):
    """RabbitMQ with its AMQP 1.0 plugin, a durable queue and durable messages. `RABBITMQ_HOME` says where it is."""

    queue = "/queue/bench"

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._folder, self._port = "", 0

    def start(self) -> None:
        homes = [
            os.environ.get("RABBITMQ_HOME", ""),
            *map(str, Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*")),
        ]
        home = next((one for one in homes if one and Path(one, "sbin", "rabbitmq-server").exists()), None)
        if home is None or shutil.which("erl") is None:
            raise MissingPeer("rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server)")
        self._folder, self._port = tempfile.mkdtemp(), free_port()
        folder = Path(self._folder)
        (folder / "enabled_plugins").write_text("[rabbitmq_amqp1_0].\n")
        epmd = free_port()
        settings = {
            "RABBITMQ_HOME": home, "RABBITMQ_BASE": self._folder, "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log", "RABBITMQ_PID_FILE": f"{folder}/pid", "HOME": self._folder,
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port), "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_NODENAME": f"bench{self._port}@localhost", "ERL_EPMD_PORT": str(epmd),
            # Its schedulers spin while idle unless told not to, which would be counted against it.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
        }  # fmt: skip
        environment = {**os.environ, **settings}
        self._daemon = subprocess.Popen(
            [_epmd(), "-port", str(epmd)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_port(epmd, self._daemon)
        command = pinned(0, [f"{home}/sbin/rabbitmq-server"])
        with (folder / "out").open("wb") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_for_port(self._port, self._process)

    async def connect(self) -> WireClient:
        for _ in range(100):  # it listens before its plugin does
            try:
                return await WireClient.connect(self._port, host="127.0.0.1", login="guest:guest")
            except (ConnectionError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.1)
        raise ConnectionError("RabbitMQ does not speak AMQP 1.0")

    def stop(self) -> None:
        if self._process is not None:
            for pid in reversed(children_of(self._process.pid)):
                os.kill(pid, 9)
            self._process.wait(30)
            self._daemon.kill()
            self._daemon.wait(30)
            shutil.rmtree(self._folder, ignore_errors=True)

    def pids(self) -> Sequence[int]:
        assert self._process is not None
        return children_of(self._process.pid)


def _epmd() -> str:
    erl = Path(shutil.which("erl") or "").resolve()
    found = shutil.which("epmd") or next(iter(erl.parent.parent.glob("erts-*/bin/epmd")), None)
    if found is None:
        raise MissingPeer("epmd is not installed")
    return str(found)


class Client:
    """A side that drives a broker with the neutral client from an event loop of its own."""

    def __init__(self, name: str, broker: Broker) -> None:
        self.name, self.broker = name, broker
        self.loop = asyncio.new_event_loop()
        self.done = 0

    def call(self, work: Awaitable[Any]) -> Any:
        """Run a coroutine to its end."""
        return self.loop.run_until_complete(work)

    def start(self) -> None:
        self.broker.start()
        self.call(self.open())
        self.run(0.5)

    async def open(self) -> None:
        """Open links."""

    def pids(self) -> Sequence[int]:
        return self.broker.pids()

    def run(self, seconds: float) -> Work:
        raise NotImplementedError

    def check(self) -> None:
        assert self.done > 0, "nothing was done"

    def stop(self) -> None:
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.call(asyncio.gather(*tasks, return_exceptions=True) if tasks else asyncio.sleep(0))
        self.broker.stop()
        self.loop.close()


class Sender(Client):
    """Sends, with some messages unacknowledged at a time; `batch` puts that many into one Service Bus batch."""

    def __init__(self, name: str, broker: Broker, *, window: int = 1, batch: int = 1) -> None:
        super().__init__(name, broker)
        self._window, self._batch = window, batch
        single = text_message(BODY, "id-0123456789")
        self._payload = single if batch == 1 else b"".join(described(0x75, encode(single)) for _ in range(batch))

    async def open(self) -> None:
        self._client = await self.broker.connect()
        await self._client.open_sender(2, self.broker.queue)
        self._sink = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        """Take the messages out again between the slices, so that no queue grows without end."""
        self._receiver = await self.broker.connect()
        await self._receiver.open_receiver(3, self.broker.queue, 0, 0)

    def run(self, seconds: float) -> Work:
        before = cpu_seconds(self.pids())
        sent = self.call(self._send(seconds))
        cpu = cpu_seconds(self.pids()) - before
        self.call(empty(self._receiver, sent * self._batch))
        self.done += sent
        return Work(sent * self._batch, cpu)

    async def _send(self, seconds: float) -> int:
        await self._sink
        client, sent, open_ = self._client, 0, 0
        kind = BATCH_FORMAT if self._batch > 1 else 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            client.transfer(2, self._payload, message_format=kind)
            sent, open_ = sent + 1, open_ + 1
            while open_ >= self._window:
                open_ -= await acknowledged(client)
        while open_:
            open_ -= await acknowledged(client)
        return sent


async def acknowledged(client: WireClient) -> int:
    """Wait for an acknowledgement; of how many messages."""
    _, fields, _ = await client.next(p.DISPOSITION)
    state = fields[4]
    assert getattr(state, "descriptor", None) == p.ACCEPTED, f"not accepted: {state}"
    first, last = fields[1], fields[1] if fields[2] is None else fields[2]
    assert isinstance(first, int)
    assert isinstance(last, int)
    return last - first + 1


async def empty(receiver: WireClient, count: int) -> None:
    """Receive and settle that many messages."""
    done, granted = getattr(receiver, "delivered", 0), 0
    target = done + count
    receiver.flow(3, min(CREDIT, count), done)
    granted = min(CREDIT, count)
    while done < target:
        _, fields, _ = await receiver.next(p.TRANSFER)
        if fields[5] is True:
            continue
        receiver.settle(fields[1], settled=True)
        done, granted = done + 1, granted - 1
        if granted <= CREDIT // 2 and done + granted < target:
            granted = min(CREDIT, target - done)
            receiver.flow(3, granted, done)
    receiver.delivered = done  # type: ignore[attr-defined]  # the link's delivery-count, kept with the link
    await receiver.writer.drain()


class Receiver(Client):
    """Receives and completes: as many as there is time for, after as many were put there unmeasured."""

    GUESS = 4000  # messages a second, refined by each slice

    def __init__(self, name: str, broker: Broker, *, confirmed: bool) -> None:
        super().__init__(name, broker)
        self._confirmed, self._rate = confirmed, self.GUESS

    async def open(self) -> None:
        self._client = await self.broker.connect()
        await self._client.open_sender(2, self.broker.queue)
        self._receiver = await self.broker.connect()
        await self._receiver.open_receiver(3, self.broker.queue, 0, 1 if self._confirmed else 0)

    def run(self, seconds: float) -> Work:
        count = max(50, int(self._rate * seconds))
        self.call(self._fill(count))
        before, start = cpu_seconds(self.pids()), time.perf_counter()
        self.call(self._one_by_one(count) if self._confirmed else empty(self._receiver, count))
        self._rate = int(count / (time.perf_counter() - start))
        self.done += count
        return Work(count, cpu_seconds(self.pids()) - before)

    async def _fill(self, count: int) -> None:
        sent = acked = 0
        payload = text_message(BODY, "id-0123456789")
        while acked < count:
            while sent < count and sent - acked < 64:
                self._client.transfer(2, payload)
                sent += 1
            acked += await acknowledged(self._client)

    async def _one_by_one(self, count: int) -> None:
        """The next only when the completion of the last is confirmed, as the SDK does."""
        receiver = self._receiver
        done = getattr(receiver, "delivered", 0)
        for number in range(done, done + count):
            receiver.flow(3, 1, number)
            _, fields, _ = await receiver.next(p.TRANSFER)
            receiver.settle(fields[1])
            await acknowledged(receiver)
        receiver.delivered = done + count  # type: ignore[attr-defined]  # the link's delivery-count, kept with the link


class BareSqlite:
    """The same rows in the same journal mode, written by nothing but sqlite3."""

    def __init__(self, name: str, *, rows: int, delete: bool = False) -> None:
        self.name, self._rows, self._delete = name, rows, delete
        self._count = 0

    def start(self) -> None:
        self._folder = tempfile.mkdtemp()
        self._db = sqlite3.connect(f"{self._folder}/bare.sqlite", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE messages (id INTEGER PRIMARY KEY, queue INTEGER, message_id TEXT, bare BLOB)")
        self.run(0.3)

    def _insert(self, rows: int) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        for _ in range(rows):
            self._db.execute("INSERT INTO messages (queue, message_id, bare) VALUES (1, ?, ?)", ("id-0123456789", BODY))
        self._db.execute("COMMIT")

    def _remove(self, ids: list[int]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        for one in ids:
            self._db.execute("DELETE FROM messages WHERE id = ?", (one,))
        self._db.execute("COMMIT")

    def run(self, seconds: float) -> Work:
        units = 0
        if self._delete:
            self._insert(4000)
            ids = [row[0] for row in self._db.execute("SELECT id FROM messages")]
        cpu, end = time.process_time(), time.monotonic() + seconds
        while time.monotonic() < end:
            if self._delete:
                if len(ids) < self._rows:
                    break
                self._remove([ids.pop() for _ in range(self._rows)])
            else:
                self._insert(self._rows)
            units += self._rows
        cpu = time.process_time() - cpu
        self._count += units
        self._db.execute("DELETE FROM messages")
        return Work(units, cpu)

    def pids(self) -> Sequence[int]:
        return []

    def check(self) -> None:
        assert self._count > 0
        assert self._db.execute("SELECT count(*) FROM messages").fetchone()[0] == 0

    def stop(self) -> None:
        self._db.close()
        shutil.rmtree(self._folder, ignore_errors=True)
