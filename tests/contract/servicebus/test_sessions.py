"""Sessions: order and exclusion by session id, the next free one, state, locks."""

from __future__ import annotations

import datetime

import pytest
from azure.servicebus import NEXT_AVAILABLE_SESSION, ServiceBusMessage
from azure.servicebus.exceptions import (
    OperationTimeoutError,
    ServiceBusError,
    SessionCannotBeLockedError,
    SessionLockLostError,
)

from tests.contract.servicebus.target import Queues, Target


def send(target: Target, queue: str, *pairs: tuple[str, str]) -> None:
    with target.client() as client, client.get_queue_sender(queue) as sender:
        for session, text in pairs:
            sender.send_messages(ServiceBusMessage(text, session_id=session))


def test_one_session_at_a_time_in_order(target: Target, queues: Queues) -> None:
    queue = queues.make(requires_session=True)
    send(target, queue, ("a", "a1"), ("b", "b1"), ("a", "a2"))
    with target.client(retry_total=0) as client, client.get_queue_receiver(queue, session_id="a") as first:
        got = first.receive_messages(10, max_wait_time=5)
        got += first.receive_messages(10, max_wait_time=1) if len(got) < 2 else []
        assert [str(one) for one in got] == ["a1", "a2"]
        assert [one.session_id for one in got] == ["a", "a"]
        with pytest.raises(SessionCannotBeLockedError), client.get_queue_receiver(queue, session_id="a") as second:
            second.receive_messages(max_wait_time=1)
        for one in got:
            first.complete_message(one)
        with client.get_queue_receiver(queue, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=10) as second:
            (message,) = second.receive_messages(1, max_wait_time=5)
            assert (second.session.session_id, str(message)) == ("b", "b1")
            second.complete_message(message)


def test_no_free_session_is_told_in_time(target: Target, queues: Queues) -> None:
    queue = queues.make(requires_session=True)
    with (
        target.client(retry_total=0) as client,
        pytest.raises(OperationTimeoutError),
        client.get_queue_receiver(queue, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=1) as receiver,
    ):
        receiver.receive_messages(max_wait_time=1)


def test_state_is_kept_with_the_session(target: Target, queues: Queues) -> None:
    queue = queues.make(requires_session=True)
    send(target, queue, ("s", "x"), ("other", "y"))
    with target.client() as client:
        with client.get_queue_receiver(queue, session_id="s") as receiver:
            assert receiver.session.get_state() in (None, b"")
            receiver.session.set_state(b"where I was")
            assert receiver.session.get_state() == b"where I was"
        with client.get_queue_receiver(queue, session_id="s") as receiver:
            assert receiver.session.get_state() == b"where I was"
            before = receiver.session.locked_until_utc
            receiver.session.renew_lock()
            assert receiver.session.locked_until_utc >= before
            receiver.session.set_state(None)
            assert receiver.session.get_state() in (None, b"")


def test_a_session_lock_runs_out(target: Target, queues: Queues) -> None:
    queue = queues.make(requires_session=True, lock_duration=f"PT{target.lock_seconds}S")
    send(target, queue, ("s", "x"))
    with target.client(retry_total=0) as client, client.get_queue_receiver(queue, session_id="s") as receiver:
        (message,) = receiver.receive_messages(1, max_wait_time=5)
        until = receiver.session.locked_until_utc
        assert until - datetime.datetime.now(datetime.UTC) <= datetime.timedelta(seconds=target.lock_seconds + 1)
        with client.get_queue_receiver(
            queue, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=target.lock_seconds * 4
        ) as other:
            (again,) = other.receive_messages(1, max_wait_time=5)
            assert str(again) == "x"
            other.complete_message(again)
        with pytest.raises(SessionLockLostError):
            receiver.complete_message(message)


def test_sessions_are_asked_for_where_needed_and_only_there(target: Target, queues: Queues) -> None:
    with_sessions, without = queues.make(requires_session=True), queues.make()
    with target.client(retry_total=0) as client:
        with client.get_queue_sender(with_sessions) as sender, pytest.raises(ServiceBusError):
            sender.send_messages(ServiceBusMessage("no session"), timeout=20)
        with pytest.raises(ServiceBusError), client.get_queue_receiver(with_sessions) as receiver:
            receiver.receive_messages(max_wait_time=1)
        with pytest.raises(ServiceBusError), client.get_queue_receiver(without, session_id="s") as receiver:
            receiver.receive_messages(max_wait_time=1)
