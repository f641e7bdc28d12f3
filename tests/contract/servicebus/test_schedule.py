"""Scheduled messages: invisible until their time, cancelled once, counted."""

from __future__ import annotations

import datetime
import time

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.exceptions import MessageNotFoundError

from tests.contract.servicebus.target import Queues, Target, eventually


def soon(seconds: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)


def test_a_scheduled_message_comes_at_its_time_with_a_new_number(target: Target, queues: Queues) -> None:
    queue = queues.make()
    with target.client() as client, client.get_queue_sender(queue) as sender:
        due = soon(2)
        numbers = sender.schedule_messages([ServiceBusMessage("a"), ServiceBusMessage("b")], due)
        annotated = ServiceBusMessage("c", scheduled_enqueue_time_utc=due)
        sender.send_messages(annotated)
        sender.send_messages(ServiceBusMessage("now"))
        assert len(set(numbers)) == 2
        with client.get_queue_receiver(queue) as receiver:
            (first,) = receiver.receive_messages(1, max_wait_time=5)
            assert str(first) == "now"
            receiver.complete_message(first)
            states = {str(one): one.state.name for one in receiver.peek_messages(10, sequence_number=1)}
            assert states == {"a": "SCHEDULED", "b": "SCHEDULED", "c": "SCHEDULED"}
            found = []
            while len(found) < 3:
                some = receiver.receive_messages(3 - len(found), max_wait_time=20)
                assert some, "the scheduled messages did not come"
                found.extend(some)
            arrived = time.time()
            assert arrived >= due.timestamp() - (0.05 if target.name == "local" else 1)
            assert sorted(str(one) for one in found) == ["a", "b", "c"]
            assert not {one.sequence_number for one in found} & set(numbers)
            lag = max((one.enqueued_time_utc - due).total_seconds() for one in found)
            assert lag < (0.5 if target.name == "local" else 5)
            for one in found:
                receiver.complete_message(one)


def test_cancelling_twice_fails_the_second_time(target: Target, queues: Queues) -> None:
    queue = queues.make()
    with target.client() as client, client.get_queue_sender(queue) as sender:
        numbers = sender.schedule_messages([ServiceBusMessage("a"), ServiceBusMessage("b")], soon(3600))
        sender.cancel_scheduled_messages(numbers[0])
        with pytest.raises(MessageNotFoundError):
            sender.cancel_scheduled_messages(numbers[0])
        with pytest.raises(MessageNotFoundError):
            sender.cancel_scheduled_messages(987654)

    def count() -> int:
        return int(queues.admin.get_queue_runtime_properties(queue).scheduled_message_count)

    assert eventually(lambda: count() == 1), count()
