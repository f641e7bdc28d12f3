"""What goes wrong on a network and in a service: the SDK must recover or be told, in time, and the endpoint must not care."""

from __future__ import annotations

import asyncio
import datetime
import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.exceptions import (
    MessageLockLostError,
    OperationTimeoutError,
    ServiceBusAuthenticationError,
    ServiceBusError,
    ServiceBusServerBusyError,
)

from local.servicebus.amqp import performatives as p
from tests.contract.servicebus.target import Queues, Target, eventually
from tests.contract.servicebus.wire import WireClient, body_of, text_message

pytestmark = pytest.mark.local_only
CALM = {
    "busy_every": 0, "disposition_delay_seconds": 0, "connection_quota": 0, "drop_every": 0, "clock_offset_ms": 0
}  # fmt: skip


def ask(target: Target, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=target.ca)
    request = urllib.request.Request(
        f"https://localhost:{target.ports['admin']}/_local/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, context=context, timeout=10) as response:
        found: dict[str, Any] = json.load(response)
        return found


@pytest.fixture(autouse=True)
def _calm(target: Target, needs) -> Iterator[None]:  # type: ignore[no-untyped-def]
    needs("faults")
    yield
    ask(target, "faults", CALM)


@pytest.mark.parametrize("fault", ["detach", "close_connections", "abort_connections"])
def test_open_links_recover_unaided(target: Target, queues: Queues, fault: str) -> None:
    queue = queues.make()
    with (
        target.client(retry_total=3) as client,
        client.get_queue_sender(queue) as sender,
        client.get_queue_receiver(queue) as receiver,
    ):
        sender.send_messages(ServiceBusMessage("before"))
        (first,) = receiver.receive_messages(1, max_wait_time=5)
        receiver.complete_message(first)
        ask(target, "faults", {fault: queue})
        sender.send_messages(ServiceBusMessage("after"), timeout=30)
        found: list[str] = []
        deadline = time.monotonic() + 30
        while not found and time.monotonic() < deadline:
            for message in receiver.receive_messages(1, max_wait_time=5):
                found.append(str(message))
                receiver.complete_message(message)
        assert found == ["after"]


def test_a_busy_server_is_tried_again_or_told(target: Target, queues: Queues) -> None:
    queue = queues.make()
    with target.client(retry_total=3) as client, client.get_queue_sender(queue) as sender:
        ask(target, "faults", {"busy_every": 2})
        for number in range(4):
            sender.send_messages(ServiceBusMessage(str(number)), timeout=30)
    with target.client(retry_total=0) as client, client.get_queue_sender(queue) as sender:
        ask(target, "faults", {"busy_every": 1})
        with pytest.raises(ServiceBusServerBusyError):
            sender.send_messages(ServiceBusMessage("x"), timeout=10)
    assert queues.admin.get_queue_runtime_properties(queue).active_message_count == 4


def test_an_acknowledgement_that_is_late_or_lost(target: Target, queues: Queues) -> None:
    queue = queues.make()
    with target.client(retry_total=0) as client, client.get_queue_sender(queue) as sender:
        sender.send_messages(ServiceBusMessage("opens the link"))
        ask(target, "faults", {"disposition_delay_seconds": 0.5})
        started = time.monotonic()
        sender.send_messages(ServiceBusMessage("slow"), timeout=20)
        assert time.monotonic() - started >= 0.5
        ask(target, "faults", {"disposition_delay_seconds": 0, "drop_every": 1})
        with pytest.raises(OperationTimeoutError):
            sender.send_messages(ServiceBusMessage("never answered"), timeout=1)
        ask(target, "faults", {"drop_every": 0})


def test_the_connection_quota(target: Target, queues: Queues) -> None:
    queue = queues.make()
    with target.client(retry_total=0) as client, client.get_queue_sender(queue) as sender:
        sender.send_messages(ServiceBusMessage("in time"))
        ask(target, "faults", {"connection_quota": 1})
        with pytest.raises(ServiceBusError), client.get_queue_receiver(queue) as receiver:
            receiver.receive_messages(max_wait_time=1)
        sender.send_messages(ServiceBusMessage("still served"), timeout=10)


def test_a_clock_that_jumps(target: Target, queues: Queues) -> None:
    """Locks run out, scheduled messages come, tokens die: all by the endpoint's clock."""
    queue = queues.make(lock_duration="PT1M")
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
    with (
        target.client(retry_total=0) as client,
        client.get_queue_sender(queue) as sender,
        client.get_queue_receiver(queue) as receiver,
    ):
        sender.send_messages(ServiceBusMessage("held"))
        sender.schedule_messages(ServiceBusMessage("later"), later)
        (held,) = receiver.receive_messages(1, max_wait_time=5)
        ask(target, "faults", {"clock_offset_ms": 600_000})
        with pytest.raises(MessageLockLostError):
            receiver.complete_message(held)
        found: set[str] = set()
        while len(found) < 2:
            some = receiver.receive_messages(2, max_wait_time=10)
            assert some
            found |= {str(one) for one in some}
        assert found == {"held", "later"}
    with (
        target.client(target.with_token(target.token(queue, life=60)), retry_total=0) as client,
        pytest.raises(ServiceBusAuthenticationError),
        client.get_queue_sender(queue) as sender,
    ):
        sender.send_messages(ServiceBusMessage("x"), timeout=10)


async def authorised(target: Target, queue: str, context: ssl.SSLContext | None = None) -> WireClient:
    client = await WireClient.connect(target.ports["tls" if context else "amqp"], context)
    assert await client.put_token(target.token(queue), f"sb://localhost/{queue}") == 202
    return client


def memory(target: Target) -> int:
    assert target.part is not None
    assert target.part.process is not None
    return int(psutil.Process(target.part.process.pid).memory_info().rss)


async def test_a_consumer_that_does_not_read_costs_neither_memory_nor_the_others(
    target: Target, queues: Queues
) -> None:
    queue = queues.make(lock_duration="PT5M")
    sender = await authorised(target, queue)
    await sender.open_sender(2, queue)
    for _ in range(800):  # 48 MB
        sender.transfer(2, text_message(b"x" * 60_000))
        await sender.next(p.DISPOSITION)
    before = memory(target)
    slow = await authorised(target, queue)
    await slow.open_receiver(2, queue, 1000)
    await asyncio.sleep(0.5)  # it has asked for everything and reads nothing
    brisk = await authorised(target, queue)
    await brisk.open_receiver(2, queue, 1000)
    got = 0
    while got < 500:
        _, fields, _ = await brisk.next(p.TRANSFER)
        got += fields[5] is not True
    assert memory(target) - before < 24 << 20
    for client in (sender, slow, brisk):
        await client.close()


async def test_connections_dropped_without_close_leave_nothing_behind(target: Target, queues: Queues) -> None:
    queue = queues.make()
    base = ask(target, "meter")["connections"]["now"]
    clients = [await authorised(target, queue) for _ in range(50)]
    for client in clients:
        await client.open_receiver(2, queue, 10)
    assert ask(target, "meter")["connections"]["now"] >= base + 50
    for client in clients:
        client.writer.transport.abort()
    assert await asyncio.to_thread(eventually, lambda: ask(target, "meter")["connections"]["now"] <= base)
    receiver = await authorised(target, queue)
    await receiver.open_sender(3, queue)
    await receiver.open_receiver(2, queue, 1)
    receiver.transfer(3, text_message("for the living"))
    _, _, payload = await receiver.next(p.TRANSFER)
    assert body_of(payload) == b"for the living"
    await receiver.close()


async def test_a_disposition_over_all_numbers_there_are(target: Target, queues: Queues) -> None:
    """One frame whose range spans 2^32 numbers must cost no more than what is unsettled."""
    queue = queues.make()
    client = await authorised(target, queue)
    await client.open_sender(3, queue)
    await client.open_receiver(2, queue, 5)
    for number in range(5):
        client.transfer(3, text_message(str(number)))
    for _ in range(5):
        await client.next(p.TRANSFER)
    started = time.monotonic()
    body = p.disposition(p.RECEIVER, 0, 0xFFFFFFFF, p.ACCEPTED_STATE).replace(b"\x41\x00\x53\x24", b"\x42\x00\x53\x24")
    client.send_frame(body)
    _, fields, _ = await client.next(p.DISPOSITION)
    while fields[0] is not False:
        _, fields, _ = await client.next(p.DISPOSITION)
    assert time.monotonic() - started < 5
    await client.close()
    assert queues.admin.get_queue_runtime_properties(queue).total_message_count == 0


@pytest.mark.slow
async def test_a_thousand_idle_receivers_over_tls(target: Target, queues: Queues) -> None:
    """Every agent has a queue of its own and waits on it."""
    context = ssl.create_default_context(cafile=target.ca)
    names = [queues.make() for _ in range(50)]
    started = time.monotonic()
    gate = asyncio.Semaphore(100)

    async def agent(number: int) -> WireClient:
        async with gate:
            client = await authorised(target, names[number % 50], context)
            await client.open_receiver(2, names[number % 50], 1)
            return client

    clients = await asyncio.gather(*(agent(number) for number in range(1000)))
    took = time.monotonic() - started
    assert memory(target) < 160 << 20, "with what the tests before have left behind"
    # Delivery to one of them is as quick as if it were alone.
    with target.client() as client, client.get_queue_sender(names[7]) as sender:
        sender.send_messages(ServiceBusMessage("wake"))
    waiting = [asyncio.create_task(one.next(p.TRANSFER)) for one in clients[7::50]]
    done, rest = await asyncio.wait(waiting, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    for task in rest:
        task.cancel()
    for one in clients:
        one.writer.transport.abort()
    assert took < 30


def test_threads_that_send_while_links_are_torn_lose_nothing(target: Target, queues: Queues) -> None:
    queue = queues.make(requires_duplicate_detection=True)
    sent: list[str] = []

    def work(worker: int) -> None:
        with target.client(retry_total=10) as client, client.get_queue_sender(queue) as sender:
            for number in range(30):
                name = f"{worker}-{number}"
                sender.send_messages(ServiceBusMessage(name, message_id=name), timeout=60)
                sent.append(name)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        ask(target, "faults", {"abort_connections": True})
        time.sleep(0.7)
    assert len(sent) == 90
    assert queues.admin.get_queue_runtime_properties(queue).active_message_count == 90
