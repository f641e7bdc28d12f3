"""The aio client: the same conversation, many at once."""

from __future__ import annotations

import asyncio
import datetime

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.aio import AutoLockRenewer
from azure.servicebus.exceptions import MessageLockLostError, MessageSizeExceededError, MessagingEntityNotFoundError

from tests.contract.servicebus.target import Queues, Target


async def test_send_receive_and_all_outcomes(target: Target, queues: Queues) -> None:
    queue = queues.make()
    async with target.aio() as client, client.get_queue_sender(queue) as sender:
        batch = await sender.create_message_batch()
        for text in ("complete", "abandon", "dead", "defer"):
            batch.add_message(ServiceBusMessage(text))
        await sender.send_messages(batch)
        numbers = await sender.schedule_messages(
            ServiceBusMessage("later"), datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        )
        await sender.cancel_scheduled_messages(numbers)
        with pytest.raises(MessageSizeExceededError):
            await sender.send_messages(ServiceBusMessage("x" * 300_000), timeout=20)
        async with client.get_queue_receiver(queue) as receiver:
            found = await receiver.receive_messages(4, max_wait_time=5)
            assert [str(one) for one in found] == ["complete", "abandon", "dead", "defer"]
            await receiver.complete_message(found[0])
            await receiver.abandon_message(found[1])
            await receiver.dead_letter_message(found[2], reason="r", error_description="d")
            await receiver.defer_message(found[3])
            (deferred,) = await receiver.receive_deferred_messages(found[3].sequence_number)
            await receiver.renew_message_lock(deferred)
            await receiver.complete_message(deferred)
            assert [str(one) for one in await receiver.peek_messages(10, sequence_number=1)] == ["abandon"]
        async with client.get_queue_receiver(queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
            (dead,) = await receiver.receive_messages(1, max_wait_time=5)
            assert (dead.dead_letter_reason, dead.dead_letter_error_description) == ("r", "d")
            await receiver.complete_message(dead)


async def test_eight_senders_and_eight_receivers(target: Target, queues: Queues) -> None:
    queue = queues.make()
    async with target.aio() as client:

        async def send(worker: int) -> None:
            async with client.get_queue_sender(queue) as sender:
                for number in range(25):
                    await sender.send_messages(ServiceBusMessage(f"{worker}-{number}"))

        seen: list[str] = []

        async def receive() -> None:
            async with client.get_queue_receiver(queue, prefetch_count=4) as receiver:
                while len(seen) < 200:
                    for message in await receiver.receive_messages(5, max_wait_time=0.5):
                        await receiver.complete_message(message)
                        seen.append(str(message))

        await asyncio.gather(*(send(worker) for worker in range(8)), *(receive() for _ in range(8)))
    assert sorted(seen) == sorted(f"{worker}-{number}" for worker in range(8) for number in range(25))


async def test_sessions_and_lock_renewal(target: Target, queues: Queues) -> None:
    queue = queues.make(requires_session=True, lock_duration="PT5S")  # the helper looks once a second
    async with target.aio() as client:
        async with client.get_queue_sender(queue) as sender:
            await sender.send_messages(ServiceBusMessage("x", session_id="s"))
        async with AutoLockRenewer() as renewer, client.get_queue_receiver(queue, session_id="s") as receiver:
            renewer.register(receiver, receiver.session, max_lock_renewal_duration=60)
            (message,) = await receiver.receive_messages(1, max_wait_time=5)
            await receiver.session.set_state(b"s1")
            await asyncio.sleep(6)
            assert await receiver.session.get_state() == b"s1"
            await receiver.complete_message(message)


async def test_refusals_are_the_right_exceptions(target: Target, queues: Queues) -> None:
    queue = queues.make(lock_duration=f"PT{target.lock_seconds}S")
    async with target.aio(retry_total=0) as client:
        with pytest.raises(MessagingEntityNotFoundError):
            async with client.get_queue_receiver("t-nowhere") as receiver:
                await receiver.receive_messages(max_wait_time=5)
        async with client.get_queue_sender(queue) as sender:
            await sender.send_messages(ServiceBusMessage("x"))
        async with client.get_queue_receiver(queue) as receiver:
            (message,) = await receiver.receive_messages(1, max_wait_time=5)
            await asyncio.sleep(target.lock_seconds + 0.3)
            with pytest.raises(MessageLockLostError):
                await receiver.complete_message(message)


async def test_a_receiver_that_waits_gets_the_message_at_once(target: Target, queues: Queues) -> None:
    queue = queues.make()
    async with target.aio() as client, client.get_queue_receiver(queue) as receiver:
        waiting = asyncio.create_task(receiver.receive_messages(1, max_wait_time=30))
        async with client.get_queue_sender(queue) as sender:
            await sender.send_messages(ServiceBusMessage("wake up"))
            (message,) = await asyncio.wait_for(waiting, 10)
        assert str(message) == "wake up"
        await receiver.complete_message(message)
