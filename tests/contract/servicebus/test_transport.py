"""TLS and WebSocket with the certificate authority of the target, sync and aio; and what is not AMQP at all."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.request

import pytest
from azure.core.credentials import AzureSasCredential
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient as AioClient
from azure.servicebus.exceptions import ServiceBusError

from tests.contract.servicebus.target import QUICK, Queues, Target


@pytest.mark.parametrize("kind", ["tls", "websocket"])
def test_sync_over(target: Target, queues: Queues, needs, kind: str) -> None:  # type: ignore[no-untyped-def]
    needs(kind)
    queue = queues.make()
    with target.client(target.secure(), **target.custom(kind)) as client:
        with client.get_queue_sender(queue) as sender:
            sender.send_messages(ServiceBusMessage("x" * 200_000))
        with client.get_queue_receiver(queue) as receiver:
            (message,) = receiver.receive_messages(max_wait_time=10)
            assert len(str(message)) == 200_000
            receiver.complete_message(message)


@pytest.mark.parametrize("kind", ["tls", "websocket"])
async def test_aio_with_a_token_for_one_queue_over(target: Target, queues: Queues, needs, kind: str) -> None:  # type: ignore[no-untyped-def]
    """How an agent connects: two tokens, hence two clients."""
    needs(kind)
    queue = queues.make()
    credential = AzureSasCredential(target.token(queue))
    async with AioClient(target.host, credential, **QUICK, **target.custom(kind)) as client:
        async with client.get_queue_sender(queue) as sender:
            await sender.send_messages(ServiceBusMessage("x" * 200_000))
        async with client.get_queue_receiver(queue, prefetch_count=5) as receiver:
            (message,) = await receiver.receive_messages(max_wait_time=10)
            assert len(str(message)) == 200_000
            await receiver.complete_message(message)


def test_a_certificate_of_another_authority_is_not_taken(target: Target, queues: Queues, needs) -> None:  # type: ignore[no-untyped-def]
    needs("lax")
    options = {**target.custom("tls"), "connection_verify": None}
    with (
        pytest.raises(ServiceBusError),
        ServiceBusClient.from_connection_string(target.secure(), **{**QUICK, "retry_total": 0}, **options) as client,
        client.get_queue_sender(queues.make()) as sender,
    ):
        sender.send_messages(ServiceBusMessage("x"), timeout=10)


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"AMQP\x02\x01\x00\x00"]
)
def test_what_is_not_amqp_is_shown_the_door(target: Target, needs, junk: bytes) -> None:  # type: ignore[no-untyped-def]
    needs("lax")
    with socket.create_connection(("127.0.0.1", target.ports["amqp"]), timeout=5) as peer:
        peer.sendall(junk)
        answer = b""
        while some := peer.recv(100):
            answer += some
        assert answer[:4] in (b"AMQP", b"")


def test_the_meter_counts_what_would_be_billed(target: Target, queues: Queues, needs) -> None:  # type: ignore[no-untyped-def]
    needs("lax")
    queue = queues.make()
    with target.client() as client:
        with client.get_queue_sender(queue) as sender:
            sender.send_messages(ServiceBusMessage("small"))
            sender.send_messages(ServiceBusMessage("x" * 100_000))
        with client.get_queue_receiver(queue) as receiver:
            for message in receiver.receive_messages(1, max_wait_time=10):
                receiver.complete_message(message)
    context = ssl.create_default_context(cafile=target.ca)
    url = f"https://localhost:{target.ports['admin']}/_local/meter"
    with urllib.request.urlopen(url, context=context, timeout=10) as response:
        told = json.load(response)
    row = told["queues"][queue]
    # 100 kB are two operations of 64 KiB. The second message may have been pushed before the receiver closed.
    assert row["sends"] == 3
    assert row["settlements"] >= 1
    assert row["deliveries"] >= 1
    assert row["operations"] == row["sends"] + row["deliveries"] + row["settlements"] + row["management"]
    assert told["operations"] >= row["operations"]
    assert told["connections"]["peak"] >= told["connections"]["now"] >= 0
    assert told["connections"]["total"] >= 2
