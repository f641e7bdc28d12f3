"""Azure Service Bus through the unmodified `azure-servicebus` SDK."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.servicebus import ServiceBusMessage, ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender
from azure.servicebus.exceptions import ServiceBusError

from local.functions_host.broker.ports import BrokerError, Message
from local.functions_host.settings import Connection

# The SDK waits without limit on a peer that says nothing; every client is therefore given a limit for one attempt.
_TRY_SECONDS = 30.0
_SEND_SECONDS = 60.0
_BACKLOG_SECONDS = 0.01  # a message that was waiting in the queue comes within this
_TICK = timedelta(milliseconds=1)  # of the broker's clock
_GATHER_SECONDS = 0.02
# How often the SDK looks up from a silent line, and so the least that gathering takes; 0.2 by itself. An idle queue costs
# 0.6 % of a core more with this.
_LOOK_UP_SECONDS = 0.05
_FAILURES = (ServiceBusError, OSError, TimeoutError, ValueError)


class ServiceBusBroker:
    """One namespace. Receivers are made by need; senders are kept open, one a queue."""

    def __init__(self, connection: Connection) -> None:
        """Raises: BrokerError if the connection string is malformed."""
        self._credential: Any = None
        options: dict[str, Any] = {"retry_total": 3, "retry_backoff_factor": 0.4, "try_timeout": _TRY_SECONDS}
        try:
            if connection.connection_string is not None:
                self._client = ServiceBusClient.from_connection_string(connection.connection_string, **options)
            else:
                from azure.identity.aio import DefaultAzureCredential

                self._credential = DefaultAzureCredential()
                self._client = ServiceBusClient(str(connection.namespace), self._credential, **options)
        except ValueError as error:
            raise BrokerError(f"{connection.name} is not a Service Bus connection: {error}") from error
        self._senders: dict[str, tuple[ServiceBusSender, asyncio.Lock]] = {}

    def receiver(self, queue: str) -> ServiceBusLink:
        """A new link to a queue."""
        return ServiceBusLink(self._client.get_queue_receiver(queue, socket_timeout=_LOOK_UP_SECONDS))

    async def send(self, queue: str, body: str | bytes) -> None:
        """Send one message; a sender serves one task at a time."""
        if queue not in self._senders:
            self._senders[queue] = (self._client.get_queue_sender(queue), asyncio.Lock())
        sender, lock = self._senders[queue]
        async with lock:
            try:
                await sender.send_messages(ServiceBusMessage(body), timeout=_SEND_SECONDS)
            except _FAILURES as error:
                raise BrokerError(_text(error)) from error

    async def close(self) -> None:
        """Close the senders and the client; receivers are closed by their owners."""
        for sender, _ in self._senders.values():
            with contextlib.suppress(*_FAILURES):
                await sender.close()
        with contextlib.suppress(*_FAILURES):
            await self._client.close()
        if self._credential is not None:
            await self._credential.close()


class ServiceBusLink:
    """A peek-lock receiver."""

    def __init__(self, receiver: ServiceBusReceiver) -> None:
        self._receiver = receiver

    async def receive(self, most: int, wait: float) -> list[Message]:
        """Up to `most` messages: the first that comes, and if it was there already, those that wait behind it.

        Asked for many at once the SDK waits for more after the first one, and every report of an agent would be that much
        later. So it is asked for one; only where that one had been waiting, which tells of a backlog, is a moment spent
        on gathering the others. It had, if it comes at once and was in the queue before we asked: by quickness alone the next
        word of a quick agent would be taken for a backlog, and be late for it. (Where the broker's clock is another, and
        ahead, messages come one by one.)
        """
        began, asked = time.monotonic(), datetime.now(UTC)
        try:
            received = await self._receiver.receive_messages(max_message_count=1, max_wait_time=wait)
        except _FAILURES as error:
            raise BrokerError(_text(error)) from error
        quick = time.monotonic() - began < _BACKLOG_SECONDS
        if received and most > 1 and quick and asked - (received[0].enqueued_time_utc or asked) >= _TICK:
            with contextlib.suppress(*_FAILURES):  # what has come is worked on; the link's failure shows at settling
                received += await self._receiver.receive_messages(most - 1, max_wait_time=_GATHER_SECONDS)
        return [_message(each) for each in received]

    async def complete(self, message: Message) -> None:
        """Take the message off the queue."""
        try:
            await self._receiver.complete_message(_handle(message))
        except _FAILURES as error:
            raise BrokerError(_text(error)) from error

    async def abandon(self, message: Message) -> None:
        """Give the message back."""
        try:
            await self._receiver.abandon_message(_handle(message))
        except _FAILURES as error:
            raise BrokerError(_text(error)) from error

    async def renew(self, message: Message) -> datetime:
        """Lock the message for longer."""
        try:
            return await self._receiver.renew_message_lock(_handle(message), timeout=_TRY_SECONDS)
        except _FAILURES as error:
            raise BrokerError(_text(error)) from error

    async def close(self) -> None:
        """End the link."""
        with contextlib.suppress(*_FAILURES):
            await self._receiver.close()


def _handle(message: Message) -> ServiceBusReceivedMessage:
    assert isinstance(message.handle, ServiceBusReceivedMessage)
    return message.handle


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _message(received: ServiceBusReceivedMessage) -> Message:
    properties = {_plain(name): _plain(value) for name, value in (received.application_properties or {}).items()}
    return Message(
        body=_body(received),
        message_id=str(_plain(received.message_id) or ""),
        lock_token=str(received.lock_token or ""),
        handle=received,
        sequence_number=received.sequence_number or 0,
        delivery_count=(received.delivery_count or 0) + 1,
        enqueued_at=received.enqueued_time_utc,
        expires_at=received.expires_at_utc,
        locked_until=received.locked_until_utc,
        content_type=_optional(received.content_type),
        correlation_id=_optional(received.correlation_id),
        subject=_optional(received.subject),
        reply_to=_optional(received.reply_to),
        to=_optional(received.to),
        session_id=_optional(received.session_id),
        partition_key=_optional(received.partition_key),
        properties=properties,
    )


def _body(received: ServiceBusReceivedMessage) -> bytes:
    body: Any = received.body
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    try:
        return b"".join(body)
    except TypeError:  # an AMQP value or sequence, which the trigger hands on as text
        return str(received).encode()


def _plain(value: Any) -> Any:
    """The SDK gives application properties' names and texts as bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _optional(value: Any) -> str | None:
    plain = _plain(value)
    return None if plain is None else str(plain)
