"""Tokens: what is signed, for where, until when, by whom; and what a link may do with it."""

from __future__ import annotations

import asyncio
import time

import pytest
from azure.core.credentials import AzureSasCredential
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient as AioClient
from azure.servicebus.exceptions import (
    MessagingEntityNotFoundError,
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusError,
)
from azure.servicebus.management import AuthorizationRule

from tests.contract.servicebus.target import QUICK, Queues, Target


@pytest.fixture(autouse=True)
def _with_sas(needs) -> None:  # type: ignore[no-untyped-def]
    needs("sas")


def send(target: Target, connection: str, queue: str) -> None:
    with target.client(connection, retry_total=0) as client, client.get_queue_sender(queue) as sender:
        sender.send_messages(ServiceBusMessage("x"), timeout=20)


def receive(target: Target, connection: str, queue: str) -> int:
    with target.client(connection, retry_total=0) as client, client.get_queue_receiver(queue) as receiver:
        return len(receiver.receive_messages(max_wait_time=0.5))


def test_a_token_for_the_queue_opens_it(target: Target, queues: Queues) -> None:
    queue = queues.make()
    send(target, target.with_token(target.token(queue)), queue)
    assert receive(target, target.with_token(target.token("")), queue) == 1


@pytest.mark.parametrize("case", ["expired", "wrong key", "unknown rule", "other queue", "name prefix", "wrong host"])
def test_tokens_that_open_nothing(target: Target, queues: Queues, case: str) -> None:
    queue = queues.make("10")
    token = {
        "expired": lambda: target.token(queue, life=-5),
        "wrong key": lambda: target.token(queue, key="not-the-key"),
        "unknown rule": lambda: target.token(queue, rule="nobody"),
        "other queue": lambda: target.token(f"{queue}x"),
        "name prefix": lambda: target.token(queue[:-1]),
        "wrong host": lambda: target.token(queue).replace(target.host, f"x{target.host}"),
    }[case]()
    with pytest.raises(ServiceBusAuthenticationError):
        send(target, target.with_token(token), queue)


def test_a_token_says_which_side_it_opens(target: Target, queues: Queues, needs) -> None:  # type: ignore[no-untyped-def]
    needs("lax")
    queue = queues.make()
    keys = {name: (target.data / f"rule-{name}.key").read_text().strip() for name in ("listen", "send")}
    listen, write = (target.with_token(target.token(queue, rule=name, key=key)) for name, key in keys.items())
    send(target, write, queue)
    assert receive(target, listen, queue) == 1
    with pytest.raises(ServiceBusAuthorizationError):
        send(target, listen, queue)
    with pytest.raises(ServiceBusAuthorizationError):
        receive(target, write, queue)


def test_rules_of_the_queue_open_the_queue_alone(target: Target, queues: Queues) -> None:
    rules = [
        AuthorizationRule(
            type="SharedAccessAuthorizationRule", claim_type="SharedAccessKey", claim_value="None",
            rights=["Send"], key_name="agents", primary_key="p" * 44, secondary_key="s" * 44,
        )
    ]  # fmt: skip
    queue, other = queues.make(authorization_rules=rules), queues.make()
    for key in ("p" * 44, "s" * 44):
        send(target, target.with_token(target.token(queue, rule="agents", key=key)), queue)
    with pytest.raises(ServiceBusAuthorizationError):
        receive(target, target.with_token(target.token(queue, rule="agents", key="p" * 44)), queue)
    with pytest.raises(ServiceBusAuthenticationError):
        send(target, target.with_token(target.token(other, rule="agents", key="p" * 44)), other)


def test_nested_names_go_by_whole_segments(target: Target, queues: Queues) -> None:
    queue = queues.make("tenant/nodes/n1")
    parent = queue.rsplit("/", 1)[0]
    send(target, target.with_token(target.token(parent)), queue)
    with pytest.raises(ServiceBusAuthenticationError):
        send(target, target.with_token(target.token(parent[:-1])), queue)


def test_what_may_not_be_opened_is_not_told_to_be_missing(target: Target, needs) -> None:  # type: ignore[no-untyped-def]
    needs("lax")
    key = (target.data / "rule-listen.key").read_text().strip()
    with pytest.raises(ServiceBusAuthorizationError):
        send(target, target.with_token(target.token("t-missing", rule="listen", key=key)), "t-missing")
    with pytest.raises(MessagingEntityNotFoundError):
        receive(target, target.with_token(target.token("t-missing", rule="listen", key=key)), "t-missing")


def test_a_wrong_key_in_the_connection_string(target: Target, queues: Queues) -> None:
    key = target.connection.split("SharedAccessKey=")[1].split(";")[0]
    with pytest.raises(ServiceBusAuthenticationError):
        send(target, target.connection.replace(key, "wrong"), queues.make())


async def test_an_expired_token_ends_its_link_and_a_fresh_one_keeps_it(target: Target, queues: Queues, needs) -> None:  # type: ignore[no-untyped-def]
    needs("lax")
    queue = queues.make()
    async with (
        target.aio(target.with_token(target.token(queue, life=2)), retry_total=0) as client,
        client.get_queue_receiver(queue) as receiver,
    ):
        started = time.monotonic()
        with pytest.raises(ServiceBusError):
            await asyncio.wait_for(receiver.receive_messages(max_wait_time=30), 40)
        assert time.monotonic() - started < 15


@pytest.mark.slow
async def test_a_token_can_be_replaced_while_the_receiver_waits(target: Target, queues: Queues, needs) -> None:  # type: ignore[no-untyped-def]
    """The SDK puts the token again in the last tenth of its life (whole seconds), from the same credential."""
    needs("lax")
    queue = queues.make()
    credential = AzureSasCredential(target.token(queue, life=11))
    options = target.custom("tls")
    async with (
        AioClient(target.host, credential, **{**QUICK, "retry_total": 0}, **options) as client,
        client.get_queue_receiver(queue) as receiver,
    ):
        waiting = asyncio.create_task(receiver.receive_messages(max_wait_time=20))
        await asyncio.sleep(1)
        credential.update(target.token(queue, life=600))
        await asyncio.sleep(10.5)  # beyond the first token's end
        async with target.aio() as other, other.get_queue_sender(queue) as sender:
            await sender.send_messages(ServiceBusMessage("still there"))
        assert [str(one) for one in await waiting] == ["still there"]


def test_a_client_takes_a_sas_credential(target: Target, queues: Queues) -> None:
    queue = queues.make()
    credential = AzureSasCredential(target.token(queue))
    with (
        ServiceBusClient(target.host, credential, **QUICK, **target.custom("tls")) as client,
        client.get_queue_sender(queue) as sender,
    ):
        sender.send_messages(ServiceBusMessage("x"))
    assert queues.admin.get_queue_runtime_properties(queue).active_message_count == 1
