"""Sending: acknowledged is stored; what is too large, too much or nowhere is refused with the right exception."""

from __future__ import annotations

import uuid

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch
from azure.servicebus.amqp import AmqpAnnotatedMessage, AmqpMessageBodyType
from azure.servicebus.exceptions import (
    MessageSizeExceededError,
    MessagingEntityDisabledError,
    MessagingEntityNotFoundError,
    ServiceBusError,
    ServiceBusQuotaExceededError,
)

from tests.contract.servicebus.target import Queues, Target


def texts(target: Target, queue: str, count: int) -> list[str]:
    """Take messages out and give their bodies."""
    with target.client() as client, client.get_queue_receiver(queue, receive_mode="receiveanddelete") as receiver:
        found: list[str] = []
        while len(found) < count and (some := receiver.receive_messages(count, max_wait_time=5)):
            found.extend(str(one) for one in some)
        return found


def test_single_list_and_batch_arrive_once_and_in_order(target: Target, queues: Queues) -> None:
    queue = queues.make()
    with target.client() as client, client.get_queue_sender(queue) as sender:
        sender.send_messages(ServiceBusMessage("one"))
        sender.send_messages([ServiceBusMessage("two"), ServiceBusMessage("three")])
        batch = sender.create_message_batch()
        for number in range(100):
            batch.add_message(ServiceBusMessage(f"b{number}"))
        sender.send_messages(batch)
    assert texts(target, queue, 103) == ["one", "two", "three", *(f"b{n}" for n in range(100))]


def test_properties_and_every_kind_of_body_come_back_as_they_went(target: Target, queues: Queues) -> None:
    queue = queues.make()
    own = {"text": "ü", "int": 7, "float": 1.5, "flag": True, "uuid": uuid.UUID(int=5), "bytes": b"\x00\x01"}
    sent = ServiceBusMessage(
        b"\x00binary\xff", application_properties=own, message_id="id-1", correlation_id="corr", subject="subj",
        content_type="application/json", reply_to="back", to="there", reply_to_session_id="rs",
    )  # fmt: skip
    value = AmqpAnnotatedMessage(value_body={"key": [1, "two", None]}, annotations={"x-mine": "kept"})
    sequence = AmqpAnnotatedMessage(sequence_body=[[1, 2], ["three"]])
    with target.client() as client:
        with client.get_queue_sender(queue) as sender:
            for message in (sent, value, sequence):
                sender.send_messages(message)
        with client.get_queue_receiver(queue, receive_mode="receiveanddelete") as receiver:
            got = []
            while len(got) < 3:
                got.extend(receiver.receive_messages(3, max_wait_time=5))
    first, second, third = got
    assert b"".join(first.body) == b"\x00binary\xff"
    assert first.application_properties == {
        b"text": "ü".encode(), b"int": 7, b"float": 1.5, b"flag": True, b"uuid": uuid.UUID(int=5), b"bytes": b"\x00\x01"
    }  # fmt: skip
    assert (first.message_id, first.correlation_id, first.subject) == ("id-1", "corr", "subj")
    assert (first.content_type, first.reply_to, first.to, first.reply_to_session_id) == (
        "application/json", "back", "there", "rs"
    )  # fmt: skip
    assert first.enqueued_time_utc is not None
    assert second.raw_amqp_message.body_type == AmqpMessageBodyType.VALUE
    assert second.raw_amqp_message.body == {b"key": [1, b"two", None]}
    assert second.raw_amqp_message.annotations[b"x-mine"] == b"kept"
    assert third.raw_amqp_message.body_type == AmqpMessageBodyType.SEQUENCE
    assert list(third.raw_amqp_message.body) == [[1, 2], [b"three"]]


def test_a_message_of_many_frames(target: Target, queues: Queues) -> None:
    queue, body = queues.make(), "x" * 250_000
    with target.client() as client, client.get_queue_sender(queue) as sender:
        sender.send_messages(ServiceBusMessage(body))
    assert texts(target, queue, 1) == [body]


def test_too_large_is_refused_and_the_sender_goes_on(target: Target, queues: Queues) -> None:
    queue = queues.make()
    with target.client() as client, client.get_queue_sender(queue) as sender:
        with pytest.raises(MessageSizeExceededError):
            sender.send_messages(ServiceBusMessage("x" * 300_000), timeout=20)
        with pytest.raises(MessageSizeExceededError):
            ServiceBusMessageBatch(max_size_in_bytes=1000).add_message(ServiceBusMessage("x" * 2000))
        sender.send_messages(ServiceBusMessage("small"), timeout=20)
    assert texts(target, queue, 1) == ["small"]


def test_a_queue_that_is_not_there(target: Target) -> None:
    with target.client() as client:
        with (
            pytest.raises(MessagingEntityNotFoundError),
            client.get_queue_sender("t-never-made") as sender,
        ):
            sender.send_messages(ServiceBusMessage("x"), timeout=20)
        with (
            pytest.raises(MessagingEntityNotFoundError),
            client.get_queue_receiver("t-never-made") as receiver,
        ):
            receiver.receive_messages(max_wait_time=5)


def test_topics_are_refused(target: Target, needs) -> None:  # type: ignore[no-untyped-def]
    needs("exact")
    with (
        target.client() as client,
        pytest.raises(ServiceBusError),
        client.get_subscription_receiver("topic", "subscription") as receiver,
    ):
        receiver.receive_messages(max_wait_time=5)


def test_a_full_queue(target: Target, queues: Queues, needs) -> None:  # type: ignore[no-untyped-def]
    needs("lax")
    queue = queues.make(max_size_in_megabytes=1)
    with target.client() as client, client.get_queue_sender(queue) as sender:
        for _ in range(4):
            sender.send_messages(ServiceBusMessage("x" * 250_000))
        with pytest.raises(ServiceBusQuotaExceededError):
            sender.send_messages(ServiceBusMessage("x" * 250_000), timeout=20)
    assert len(texts(target, queue, 4)) == 4


def test_a_disabled_queue(target: Target, queues: Queues) -> None:
    queue = queues.make()
    properties = queues.properties(queue)
    properties.status = "SendDisabled"
    queues.admin.update_queue(properties)
    with (
        target.client() as client,
        pytest.raises(MessagingEntityDisabledError),
        client.get_queue_sender(queue) as sender,
    ):
        sender.send_messages(ServiceBusMessage("x"), timeout=20)


def test_duplicates_within_the_window_are_taken_and_dropped(target: Target, queues: Queues) -> None:
    queue = queues.make(requires_duplicate_detection=True)
    with target.client() as client, client.get_queue_sender(queue) as sender:
        sender.send_messages(ServiceBusMessage("first", message_id="same"))
        sender.send_messages(ServiceBusMessage("second", message_id="same"))
        sender.send_messages([ServiceBusMessage("a", message_id="a"), ServiceBusMessage("b", message_id="a")])
        sender.send_messages(ServiceBusMessage("no id"))
    assert queues.admin.get_queue_runtime_properties(queue).active_message_count == 3
    assert texts(target, queue, 3) == ["first", "a", "no id"]


def test_the_window_ends(target: Target, queues: Queues, needs) -> None:  # type: ignore[no-untyped-def]
    needs("lax")
    queue = queues.make(requires_duplicate_detection=True, duplicate_detection_history_time_window="PT0.2S")
    with target.client() as client:
        with client.get_queue_sender(queue) as sender:
            sender.send_messages(ServiceBusMessage("first", message_id="same"))
        # Opening the next sender takes longer than the window.
        with client.get_queue_sender(queue) as sender:
            sender.send_messages(ServiceBusMessage("second", message_id="same"))
    assert texts(target, queue, 2) == ["first", "second"]
