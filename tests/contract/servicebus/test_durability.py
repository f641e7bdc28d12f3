"""`kill -9` in the middle of it: nothing acknowledged is lost, nothing settled comes back, counts never go down."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.exceptions import MessageLockLostError, ServiceBusError

from tests.contract.servicebus.target import Target, local_part
from tests.support.processes import Part, free_port

pytestmark = pytest.mark.local_only
LOCK_SECONDS = 5
STUBBORN = {"retry_total": 30, "retry_backoff_factor": 0.05, "retry_backoff_max": 0.5}


@pytest.fixture(autouse=True)
def _can_restart(needs) -> None:  # type: ignore[no-untyped-def]
    needs("restart")


def restart(target: Target, *, kill: bool = True) -> None:
    assert target.part is not None
    if kill:
        target.part.kill()
    else:
        assert target.part.stop() == 0
    target.part.start()


def test_everything_survives_a_kill(tmp_path: Path) -> None:
    own = local_part(tmp_path)
    assert own.part is not None
    with own.part:
        admin = own.admin()
        admin.create_queue("q", requires_duplicate_detection=True, max_delivery_count=5, lock_duration="PT5M")
        admin.create_queue("s", requires_session=True)
        with own.client() as client:
            with client.get_queue_sender("q") as sender:
                sender.send_messages([ServiceBusMessage(str(n), message_id=f"id-{n}") for n in range(6)])
            with client.get_queue_sender("s") as sender:
                sender.send_messages(ServiceBusMessage("in session", session_id="one"))
            with client.get_queue_receiver("q") as receiver:
                found = receiver.receive_messages(6, max_wait_time=5)
                done, dead, deferred, tried, held, _ = found
                receiver.complete_message(done)
                receiver.dead_letter_message(dead, reason="why")
                receiver.defer_message(deferred)
                receiver.abandon_message(tried)
            with client.get_queue_receiver("s", session_id="one") as receiver:
                receiver.session.set_state(b"remembered")
        restart(own)
        assert admin.get_queue("q").max_delivery_count == 5
        with own.client() as client:
            with client.get_queue_sender("q") as sender:
                sender.send_messages(ServiceBusMessage("again", message_id="id-0"))  # still known as a duplicate
                sender.send_messages(ServiceBusMessage("new"))
            with client.get_queue_receiver("q") as receiver:
                again = {str(one): one for one in receiver.receive_messages(10, max_wait_time=5)}
                assert set(again) == {"3", "4", "5", "new"}
                assert again["3"].delivery_count == 1
                assert again["new"].sequence_number > 6
                with pytest.raises(MessageLockLostError):
                    receiver.complete_message(held)
                (kept,) = receiver.receive_deferred_messages(deferred.sequence_number)
                assert str(kept) == "2"
            with client.get_queue_receiver("q", sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
                (buried,) = receiver.receive_messages(1, max_wait_time=5)
                assert (str(buried), buried.dead_letter_reason) == ("1", "why")
            with client.get_queue_receiver("s", session_id="one") as receiver:
                assert receiver.session.get_state() == b"remembered"
                assert [str(one) for one in receiver.receive_messages(1, max_wait_time=5)] == ["in session"]
        admin.close()


class Ledger:
    """What the clients were told."""

    def __init__(self) -> None:
        self.acknowledged: set[str] = set()
        self.delivered: dict[str, int] = {}
        self.completed: dict[str, float] = {}  # when the confirmation had come
        self.came_back: list[str] = []
        self.stop = threading.Event()
        self.drained = threading.Event()

    def send(self, target: Target, worker: int) -> None:
        number = 0
        with target.client(**STUBBORN) as client, client.get_queue_sender("load") as sender:
            while not self.stop.is_set():
                names = [f"{worker}-{number + i}" for i in range(random.choice((1, 1, 20)))]
                number += len(names)
                try:
                    sender.send_messages([ServiceBusMessage(name, message_id=name) for name in names], timeout=30)
                except ServiceBusError:
                    continue  # not acknowledged: whether it is there is open
                self.acknowledged.update(names)

    def receive(self, target: Target) -> None:
        while not self.drained.is_set():
            try:
                with target.client(**STUBBORN) as client, client.get_queue_receiver("load") as receiver:
                    self._receive(receiver)
            except ServiceBusError:
                continue

    def _receive(self, receiver) -> None:  # type: ignore[no-untyped-def]
        while not self.drained.is_set():
            for message in receiver.receive_messages(20, max_wait_time=0.5):
                name = str(message)
                self.delivered[name] = self.delivered.get(name, 0) + 1
                # Delivered after it was confirmed as completed? The endpoint's own stamp tells, for a message may lie
                # in one receiver's hands while another, after the restart, gets it too and completes it.
                handed_out = message.locked_until_utc.timestamp() - LOCK_SECONDS
                if handed_out > self.completed.get(name, float("inf")):
                    self.came_back.append(name)
                try:
                    receiver.complete_message(message)
                except MessageLockLostError:
                    continue
                self.completed[name] = time.time()


@pytest.mark.slow
def test_killed_while_senders_and_receivers_run(tmp_path: Path) -> None:
    own, ledger = local_part(tmp_path), Ledger()
    assert own.part is not None
    with own.part:
        admin = own.admin()
        # Without duplicate detection the SDK's own repetition of an unanswered send would look like a return.
        admin.create_queue(
            "load", requires_duplicate_detection=True, lock_duration=f"PT{LOCK_SECONDS}S", max_delivery_count=2000
        )
        senders = [threading.Thread(target=ledger.send, args=(own, worker)) for worker in range(2)]
        receivers = [threading.Thread(target=ledger.receive, args=(own,)) for _ in range(2)]
        for thread in senders + receivers:
            thread.start()
        for _ in range(4):
            target_count = len(ledger.acknowledged) + 150
            deadline = time.monotonic() + 30
            while len(ledger.acknowledged) < target_count and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(random.random() * 0.05)
            restart(own)
        ledger.stop.set()
        for thread in senders:
            thread.join(60)
        deadline = time.monotonic() + 60
        while not ledger.acknowledged <= ledger.delivered.keys() and time.monotonic() < deadline:
            time.sleep(0.05)
        ledger.drained.set()
        for thread in receivers:
            thread.join(60)
        admin.close()
    assert len(ledger.acknowledged) >= 600
    assert ledger.acknowledged - ledger.delivered.keys() == set()
    assert ledger.came_back == []
    with sqlite3.connect(own.data / "servicebus.sqlite") as database:  # type: ignore[operator]
        left = {
            bytes(bare).rpartition(b"\xa0")[2][1:].decode() for (bare,) in database.execute("SELECT bare FROM messages")
        }
    database.close()
    assert left & ledger.completed.keys() == set()


def test_a_clean_stop_is_quick_and_keeps_everything(tmp_path: Path) -> None:
    own = local_part(tmp_path, "--queue", "q")
    assert own.part is not None
    with own.part:
        with own.client(retry_total=0) as client, client.get_queue_sender("q") as sender:
            sender.send_messages(ServiceBusMessage("x"))
            started = time.monotonic()
            restart(own, kill=False)
            assert time.monotonic() - started < 10
        with own.client() as client, client.get_queue_receiver("q") as receiver:
            assert [str(one) for one in receiver.receive_messages(1, max_wait_time=5)] == ["x"]


def start_fails(*arguments: str, log: Path) -> str:
    part = Part.module("local.servicebus", *arguments, log=log)
    part.start()
    assert part.process is not None
    assert part.process.wait(30) == 2
    lines = part.output().strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_a_start_that_cannot_be_says_why_in_one_line(tmp_path: Path) -> None:
    own = local_part(tmp_path)
    assert own.part is not None
    assert own.data is not None
    ports = ["--port", str(free_port()), "--admin-port", str(free_port())]
    with own.part:
        assert "in use" in start_fails("--data", str(own.data), *ports, log=tmp_path / "locked.log")
        taken = ["--port", str(own.ports["amqp"]), "--admin-port", str(free_port())]
        line = start_fails("--data", str(tmp_path / "other"), *taken, log=tmp_path / "port.log")
        assert str(own.ports["amqp"]) in line
    file = own.data / "servicebus.sqlite"
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version=99")
    database.close()
    assert "newer" in start_fails("--data", str(own.data), *ports, log=tmp_path / "newer.log")
    for leftover in own.data.glob("servicebus.sqlite*"):
        leftover.unlink()
    file.write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    assert "damaged" in start_fails("--data", str(own.data), *ports, log=tmp_path / "damaged.log")


def test_keys_and_certificates_are_made_once_and_kept_private(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("amqp", "admin")}
    arguments = ["--data", str(tmp_path / "data"), "--port", str(ports["amqp"]), "--admin-port", str(ports["admin"])]
    part = Part.module("local.servicebus", *arguments, log=tmp_path / "log", port=ports["amqp"])
    with part:
        assert part.stop() == 0
    secrets = [tmp_path / "data" / name for name in ("root.key", "ca.key", "server.key")]
    before = [path.read_bytes() for path in secrets]
    assert [path.stat().st_mode & 0o777 for path in secrets] == [0o600] * 3
    with part:
        connection = next(line.split(": ", 1)[1] for line in part.output().splitlines() if "RootManage" in line)
        with (
            ServiceBusClient.from_connection_string(connection, retry_total=0) as client,
            pytest.raises(ServiceBusError),
        ):
            client.get_queue_sender("missing").send_messages(ServiceBusMessage("x"), timeout=10)
    assert [path.read_bytes() for path in secrets] == before


async def test_a_receiver_blocked_in_its_iterator_goes_on_after_a_restart(tmp_path: Path) -> None:
    own = local_part(tmp_path, "--queue", "q")
    assert own.part is not None
    with own.part:
        async with own.aio(**STUBBORN) as client, client.get_queue_receiver("q") as receiver:

            async def first() -> str:
                async for message in receiver:
                    await receiver.complete_message(message)
                    return str(message)
                return ""

            waiting = asyncio.create_task(first())
            await asyncio.sleep(1)
            await asyncio.to_thread(restart, own)
            async with own.aio(**STUBBORN) as other, other.get_queue_sender("q") as sender:
                await sender.send_messages(ServiceBusMessage("after the restart"))
            assert await asyncio.wait_for(waiting, 60) == "after the restart"
