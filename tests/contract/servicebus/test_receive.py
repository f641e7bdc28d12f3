"""Receiving and settling: one holder a lock, what counts as an attempt, where a message ends up."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from azure.servicebus import AutoLockRenewer, ServiceBusMessage, ServiceBusReceiver, ServiceBusSubQueue
from azure.servicebus.exceptions import MessageAlreadySettled, MessageLockLostError, MessageNotFoundError

from tests.contract.servicebus.target import Queues, Target, eventually


@contextmanager
def opened(target: Target, queue: str, **options: Any) -> Iterator[ServiceBusReceiver]:
    with target.client() as client, client.get_queue_receiver(queue, **options) as receiver:
        yield receiver


def send(target: Target, queue: str, *messages: str | ServiceBusMessage) -> None:
    with target.client() as client, client.get_queue_sender(queue) as sender:
        sender.send_messages(
            [one if isinstance(one, ServiceBusMessage) else ServiceBusMessage(one) for one in messages]
        )


def take(receiver: ServiceBusReceiver, count: int, wait: float = 10) -> list[Any]:
    found: list[Any] = []
    while len(found) < count and (some := receiver.receive_messages(count - len(found), max_wait_time=wait)):
        found.extend(some)
    return found


def test_the_four_outcomes(target: Target, queues: Queues) -> None:
    queue = queues.make(max_delivery_count=10)
    send(target, queue, "complete", "abandon", "dead", "defer")
    with opened(target, queue) as receiver:
        complete, abandon, dead, defer = take(receiver, 4)
        assert [one.sequence_number for one in (complete, abandon, dead, defer)] == [1, 2, 3, 4]
        assert complete.delivery_count == 0
        assert complete.lock_token is not None
        receiver.complete_message(complete)
        receiver.abandon_message(abandon)
        receiver.dead_letter_message(dead, reason="no good", error_description="it smelt")
        receiver.defer_message(defer)
        (again,) = take(receiver, 1)
        assert (str(again), again.delivery_count) == ("abandon", 1)
        receiver.complete_message(again)
        with pytest.raises(MessageAlreadySettled):
            receiver.complete_message(again)
        (deferred,) = receiver.receive_deferred_messages(defer.sequence_number)
        assert (str(deferred), deferred.sequence_number) == ("defer", 4)
        receiver.complete_message(deferred)
        with pytest.raises(MessageNotFoundError):
            receiver.receive_deferred_messages(defer.sequence_number)
    with opened(target, queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        (gone,) = take(receiver, 1)
        assert (gone.dead_letter_reason, gone.dead_letter_error_description) == ("no good", "it smelt")
        assert (str(gone), gone.sequence_number) == ("dead", 3)
        receiver.complete_message(gone)


def test_a_lock_runs_out_and_counts(target: Target, queues: Queues) -> None:
    queue = queues.make(lock_duration=f"PT{target.lock_seconds}S", max_delivery_count=2)
    send(target, queue, "slow")
    with opened(target, queue) as receiver, opened(target, queue) as other:
        (held,) = take(receiver, 1)
        assert other.receive_messages(max_wait_time=0.3) == []
        (again,) = take(other, 1, wait=target.lock_seconds * 4)
        assert again.delivery_count == 1
        with pytest.raises(MessageLockLostError):
            receiver.complete_message(held)
        with pytest.raises(MessageLockLostError):
            receiver.renew_message_lock(held)
        other.abandon_message(again)
    with opened(target, queue, sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        (dead,) = take(receiver, 1)
        assert dead.dead_letter_reason == "MaxDeliveryCountExceeded"
        receiver.complete_message(dead)


def test_a_renewed_lock_holds(target: Target, queues: Queues) -> None:
    queue = queues.make(lock_duration=f"PT{target.lock_seconds}S")
    send(target, queue, "kept", "renewed by the helper")
    with opened(target, queue) as receiver, AutoLockRenewer() as renewer:
        first, second = take(receiver, 2)
        renewer.register(receiver, second, max_lock_renewal_duration=60)
        start = first.locked_until_utc
        deadline = time.monotonic() + target.lock_seconds * 1.5
        while time.monotonic() < deadline:
            receiver.renew_message_lock(first)
            time.sleep(0.2)
        assert first.locked_until_utc > start
        receiver.complete_message(first)
        receiver.complete_message(second)
    assert eventually(lambda: queues.admin.get_queue_runtime_properties(queue).total_message_count == 0)


def test_receive_and_delete_takes_for_good(target: Target, queues: Queues) -> None:
    queue = queues.make()
    send(target, queue, *(f"m{number}" for number in range(20)))
    with opened(target, queue, receive_mode="receiveanddelete", prefetch_count=5) as receiver:
        assert [str(one) for one in take(receiver, 20)] == [f"m{number}" for number in range(20)]
        assert receiver.receive_messages(max_wait_time=0.3) == []


def test_prefetched_but_unread_messages_come_back_uncounted(target: Target, queues: Queues) -> None:
    queue = queues.make()
    send(target, queue, *(f"m{number}" for number in range(10)))
    with opened(target, queue, prefetch_count=10) as receiver:
        (first,) = take(receiver, 1)
        receiver.complete_message(first)
    with opened(target, queue) as receiver:
        rest = take(receiver, 9)
        assert [str(one) for one in rest] == [f"m{number}" for number in range(1, 10)]
        if target.name == "local":
            assert {one.delivery_count for one in rest} == {0}


def test_a_lock_outlives_its_link_and_the_message_can_still_be_settled(target: Target, queues: Queues) -> None:
    queue = queues.make(lock_duration="PT30S")
    send(target, queue, "held")
    with opened(target, queue) as receiver:
        (held,) = take(receiver, 1)
        receiver._handler._connection._transport.sock.close()  # the network goes away under the SDK
        receiver.complete_message(held)
    assert eventually(lambda: queues.admin.get_queue_runtime_properties(queue).total_message_count == 0)


def test_peek_changes_nothing(target: Target, queues: Queues) -> None:
    queue = queues.make()
    send(target, queue, *(f"m{number}" for number in range(5)))
    with opened(target, queue) as receiver:
        assert [str(one) for one in receiver.peek_messages(3)] == ["m0", "m1", "m2"]
        assert [str(one) for one in receiver.peek_messages(10)] == ["m3", "m4"]
        assert [one.sequence_number for one in receiver.peek_messages(10, sequence_number=4)] == [4, 5]
        assert receiver.peek_messages(10, sequence_number=6) == []
        assert [str(one) for one in take(receiver, 5)] == [f"m{number}" for number in range(5)]


def test_time_to_live_removes_or_buries(target: Target, queues: Queues) -> None:
    plain, buried = queues.make(), queues.make(dead_lettering_on_message_expiration=True)
    brief = datetime.timedelta(seconds=1)
    for queue in (plain, buried):
        send(target, queue, ServiceBusMessage("brief", time_to_live=brief), "lasting")
    with opened(target, buried, sub_queue=ServiceBusSubQueue.DEAD_LETTER) as receiver:
        (dead,) = take(receiver, 1, wait=30)
        assert (str(dead), dead.dead_letter_reason) == ("brief", "TTLExpiredException")
        receiver.complete_message(dead)
    with opened(target, plain) as receiver:
        (left,) = take(receiver, 1)
        assert str(left) == "lasting"
        receiver.complete_message(left)
    assert eventually(lambda: queues.admin.get_queue_runtime_properties(plain).total_message_count == 0)


def test_the_queues_own_time_to_live_is_the_upper_bound(target: Target, queues: Queues) -> None:
    queue = queues.make(default_message_time_to_live="PT1S")
    send(target, queue, ServiceBusMessage("x", time_to_live=datetime.timedelta(hours=1)))
    assert eventually(lambda: queues.admin.get_queue_runtime_properties(queue).total_message_count == 0, 60)


def test_runtime_counts(target: Target, queues: Queues) -> None:
    queue = queues.make()
    send(target, queue, "active", "to be buried")
    with target.client() as client, client.get_queue_sender(queue) as sender:
        sender.schedule_messages(
            ServiceBusMessage("later"), datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        )
    with opened(target, queue) as receiver:
        _, second = take(receiver, 2)
        receiver.dead_letter_message(second)

    def counts() -> tuple[int, int, int]:
        found = queues.admin.get_queue_runtime_properties(queue)
        return found.active_message_count, found.dead_letter_message_count, found.scheduled_message_count

    assert eventually(lambda: counts() == (1, 1, 1)), counts()
    assert queues.admin.get_queue_runtime_properties(queue).size_in_bytes > 0


def test_many_receivers_share_the_work_and_none_gets_what_another_holds(target: Target, queues: Queues) -> None:
    queue = queues.make()
    send(target, queue, *(f"m{number}" for number in range(40)))
    with opened(target, queue) as one, opened(target, queue) as two:
        seen: list[str] = []
        while len(seen) < 40:
            for receiver in (one, two):
                for message in receiver.receive_messages(5, max_wait_time=5):
                    seen.append(str(message))
                    receiver.complete_message(message)
    assert sorted(seen) == sorted(f"m{number}" for number in range(40))
