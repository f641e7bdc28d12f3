"""The management API: queues and their properties, and what it refuses."""

from __future__ import annotations

import datetime

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.servicebus import ServiceBusMessage
from azure.servicebus.exceptions import MessagingEntityNotFoundError, ServiceBusError

from tests.contract.servicebus.target import Queues, Target, eventually


def test_create_get_update_delete(target: Target, queues: Queues) -> None:
    queue = queues.make(
        lock_duration="PT45S", max_delivery_count=7, requires_duplicate_detection=True,
        duplicate_detection_history_time_window=datetime.timedelta(minutes=5), requires_session=True,
        default_message_time_to_live="P1D", dead_lettering_on_message_expiration=True, user_metadata="of <a> test & co",
        max_size_in_megabytes=2048,
    )  # fmt: skip
    found = queues.properties(queue)
    assert found.name == queue
    assert found.lock_duration == datetime.timedelta(seconds=45)
    assert found.default_message_time_to_live == datetime.timedelta(days=1)
    assert found.duplicate_detection_history_time_window == datetime.timedelta(minutes=5)
    assert (found.max_delivery_count, found.max_size_in_megabytes) == (7, 2048)
    assert found.requires_session
    assert found.requires_duplicate_detection
    assert found.dead_lettering_on_message_expiration
    assert found.user_metadata == "of <a> test & co"
    found.max_delivery_count = 3
    found.lock_duration = datetime.timedelta(minutes=5)
    queues.admin.update_queue(found)
    again = queues.properties(queue)
    assert (again.max_delivery_count, again.lock_duration) == (3, datetime.timedelta(minutes=5))
    assert again.user_metadata == "of <a> test & co"
    runtime = queues.admin.get_queue_runtime_properties(queue)
    assert runtime.total_message_count == 0
    assert runtime.created_at_utc is not None
    queues.admin.delete_queue(queue)
    with pytest.raises(ResourceNotFoundError):
        queues.properties(queue)


def test_names_are_taken_once_whatever_their_case(queues: Queues) -> None:
    queue = queues.make("Mixed-Case", max_delivery_count=77)
    with pytest.raises(ResourceExistsError):
        queues.admin.create_queue(queue.upper())
    assert queues.properties(queue.lower()).max_delivery_count == 77


def test_what_is_not_there(queues: Queues) -> None:
    for act in (queues.admin.get_queue, queues.admin.delete_queue, queues.admin.get_queue_runtime_properties):
        with pytest.raises(ResourceNotFoundError):
            act("t-nothing")


@pytest.mark.parametrize(
    "properties",
    [
        {"lock_duration": "PT6M"},
        {"max_delivery_count": 0},
        {"max_delivery_count": 2001},
        {"max_size_in_megabytes": 7000},
        {"duplicate_detection_history_time_window": "P8D"},
        {"status": "Sleeping"},
        {"lock_duration": "soon"},
    ],
    ids=str,
)
def test_values_out_of_bounds(queues: Queues, properties: dict[str, object]) -> None:
    with pytest.raises((HttpResponseError, ValueError)):
        queues.make(**properties)


def test_forwarding_and_partitioning_are_refused_here(queues: Queues, needs) -> None:  # type: ignore[no-untyped-def]
    needs("exact")
    for properties in ({"forward_to": "elsewhere"}, {"enable_partitioning": True}):
        with pytest.raises(HttpResponseError):
            queues.make(**properties)


def test_topics_are_refused_here(queues: Queues, needs) -> None:  # type: ignore[no-untyped-def]
    needs("exact")
    with pytest.raises(HttpResponseError):
        queues.admin.create_topic("t-topic")
    assert list(queues.admin.list_topics()) == []


def test_what_is_fixed_at_creation(queues: Queues) -> None:
    found = queues.properties(queues.make())
    found.requires_session = True
    with pytest.raises(HttpResponseError):
        queues.admin.update_queue(found)


def test_listing_goes_beyond_one_page(target: Target, queues: Queues, needs) -> None:  # type: ignore[no-untyped-def]
    needs("many")
    made = {queues.make("many") for _ in range(120)}
    assert made <= {one.name for one in queues.admin.list_queues()}
    assert made <= {one.name for one in queues.admin.list_queues_runtime_properties()}


def test_nested_names(queues: Queues) -> None:
    queue = queues.make("tenants/t1/nodes/n1")
    assert queues.properties(queue).name == queue


def test_the_namespace_tells_of_itself(queues: Queues) -> None:
    assert queues.admin.get_namespace_properties().messaging_sku is not None


def test_management_needs_the_right_key_and_right(target: Target, needs) -> None:  # type: ignore[no-untyped-def]
    needs("sas")
    key = target.admin_connection.split("SharedAccessKey=")[1].split(";")[0]
    with target.admin(target.admin_connection.replace(key, "wrong")) as admin, pytest.raises(ClientAuthenticationError):
        admin.get_queue("x")


def test_management_needs_manage(target: Target, needs) -> None:  # type: ignore[no-untyped-def]
    needs("lax")
    assert target.data is not None
    key = (target.data / "rule-send.key").read_text().strip()
    connection = target.admin_connection.replace("RootManageSharedAccessKey", "send").replace("test-key", key)
    with target.admin(connection) as admin, pytest.raises(ClientAuthenticationError):
        admin.create_queue("t-not-allowed")


def test_deleting_a_queue_ends_its_links(target: Target, queues: Queues) -> None:
    queue = queues.make()
    with target.client(retry_total=0) as client, client.get_queue_receiver(queue) as receiver:
        with client.get_queue_sender(queue) as sender:
            sender.send_messages(ServiceBusMessage("x"))
            assert len(receiver.receive_messages(max_wait_time=5)) == 1
            queues.admin.delete_queue(queue)
            with pytest.raises(ServiceBusError):
                sender.send_messages(ServiceBusMessage("y"), timeout=20)
        with pytest.raises((MessagingEntityNotFoundError, ServiceBusError)):
            receiver.receive_messages(max_wait_time=10)
    queues.admin.create_queue(queue)
    assert queues.admin.get_queue_runtime_properties(queue).total_message_count == 0


def test_an_idle_queue_goes_by_itself_and_a_used_one_stays(target: Target, queues: Queues, needs) -> None:  # type: ignore[no-untyped-def]
    needs("lax")
    idle, used = (queues.make(auto_delete_on_idle="PT1S") for _ in range(2))
    with target.client() as client, client.get_queue_receiver(used) as receiver:
        receiver.receive_messages(max_wait_time=0.1)
        names = lambda: {one.name for one in queues.admin.list_queues()}  # noqa: E731
        assert eventually(lambda: idle not in names())
        assert used in names()
