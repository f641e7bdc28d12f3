"""What the host needs of a message broker."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol


class BrokerError(Exception):
    """The broker cannot be reached, or refuses; the text says why."""


class Message(NamedTuple):
    """A message as the broker delivered it. `handle` is the broker's own object, for settling."""

    body: bytes
    message_id: str
    lock_token: str
    handle: object
    sequence_number: int = 0
    delivery_count: int = 1  # 1 at the first delivery, as the trigger shows it
    enqueued_at: datetime | None = None
    expires_at: datetime | None = None
    locked_until: datetime | None = None
    content_type: str | None = None
    correlation_id: str | None = None
    subject: str | None = None
    reply_to: str | None = None
    to: str | None = None
    session_id: str | None = None
    partition_key: str | None = None
    properties: Mapping[str, object] = MappingProxyType({})


class Receiver(Protocol):
    """A link that receives from one queue with peek-lock. One task uses it at a time."""

    async def receive(self, most: int, wait: float) -> list[Message]:
        """Up to `most` messages: returns soon after the first, or empty after `wait` seconds. Raises BrokerError."""

    async def complete(self, message: Message) -> None:
        """Take the message off the queue. Raises BrokerError."""

    async def abandon(self, message: Message) -> None:
        """Give the message back; it is delivered again at once. Raises BrokerError."""

    async def renew(self, message: Message) -> datetime:
        """Lock the message for longer; until when. Raises BrokerError."""

    async def close(self) -> None:
        """End the link."""


class Broker(Protocol):
    """One namespace."""

    def receiver(self, queue: str) -> Receiver:
        """A new link to a queue; it opens at its first use."""

    async def send(self, queue: str, body: str | bytes) -> None:
        """Send one message; when this returns the broker has it. Raises BrokerError."""

    async def close(self) -> None:
        """End every link."""
