"""Links: one direction of messages each, with its credit and with what is half here of a message."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any, Final

from agent.amqp.codec import AmqpError, Described, Symbol, UByte, UInt, ULong
from agent.amqp.frames import ACCEPTED, ERROR, REJECTED, SOURCE, TARGET
from agent.amqp.messages import Message, decode_message

MAX_MESSAGE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that waits for its settlement."""

    id: int
    message: Message


@dataclass(slots=True, eq=False)
class Link:
    """One direction of messages. The link is gone once `failed` is set."""

    handle: int
    receiver: bool
    address: str
    attached: asyncio.Future[None]
    name: str = ""
    credit: int = 0
    delivery_count: int = 0
    incoming: asyncio.Queue[Delivery | None] = field(default_factory=asyncio.Queue)
    credited: asyncio.Event = field(default_factory=asyncio.Event)
    failed: AmqpError | None = None
    _partial: bytearray = field(default_factory=bytearray)
    _partial_id: int = 0

    def __post_init__(self) -> None:
        self.name = f"{self.address}-{uuid.uuid4()}"

    def attach_fields(self) -> list[Any]:
        """What an attach frame says of this link."""
        terminus = [self.address], ["meridian"]
        source, target = terminus if self.receiver else terminus[::-1]
        return [
            self.name,
            UInt(self.handle),
            self.receiver,
            UByte(0),  # the sender settles nothing by itself
            UByte(1 if self.receiver and not self.address.startswith("$") else 0),
            Described(SOURCE, source),
            Described(TARGET, target),
            None,
            None,
            None if self.receiver else UInt(0),
            ULong(MAX_MESSAGE),
        ]

    def on_attach(self, fields: list[Any]) -> None:
        """The peer has answered; a refusal has no terminus, and is followed by a detach that says why."""
        refused = fields[5] is None if self.receiver else fields[6] is None
        if not refused and not self.attached.done():
            self.attached.set_result(None)

    def on_transfer(self, fields: list[Any], payload: bytes) -> None:
        """A message or a part of one has come.

        Raises:
            AmqpError: it is larger than a message may be, or no message.
        """
        if not self._partial:
            self._partial_id = fields[1] or 0
        self._partial += payload
        if len(self._partial) > MAX_MESSAGE:
            raise AmqpError("amqp:link:message-size-exceeded", f"more than {MAX_MESSAGE} bytes")
        if fields[5]:  # more follows
            return
        message, self._partial = decode_message(bytes(self._partial)), bytearray()
        self.delivery_count = (self.delivery_count + 1) & 0xFFFFFFFF
        self.credit -= 1
        self.incoming.put_nowait(Delivery(self._partial_id, message))

    def on_flow(self, fields: list[Any]) -> None:
        """The peer has told a sender how much it may send."""
        self.credit = ((fields[5] or 0) + (fields[6] or 0) - self.delivery_count) & 0xFFFFFFFF
        if self.credit:
            self.credited.set()

    async def wait_for_credit(self) -> None:
        """Return once a message may be sent.

        Raises:
            AmqpError: the link is gone.
        """
        while not self.credit and self.failed is None:
            self.credited.clear()
            await self.credited.wait()
        if self.failed is not None:
            raise self.failed

    async def receive(self) -> Delivery:
        """The next message; waits for ever."""
        delivery = await self.incoming.get()
        if delivery is None:
            self.incoming.put_nowait(None)
            raise self.failed or AmqpError("amqp:link:detached")
        return delivery

    def fail(self, error: AmqpError) -> None:
        """Everybody who waits on this link is told; the first error stands."""
        self.failed = self.failed or error
        if not self.attached.done():
            self.attached.set_exception(error)
        self.incoming.put_nowait(None)
        self.credited.set()


def accepted() -> Described:
    """The outcome of a message that was taken."""
    return Described(ACCEPTED, [])


def dead_lettered(reason: str) -> Described:
    """The outcome of a message that belongs to the dead letters."""
    info = {Symbol("DeadLetterReason"): reason[:1024], Symbol("DeadLetterErrorDescription"): reason[:1024]}
    return Described(REJECTED, [Described(ERROR, [Symbol("com.microsoft:dead-letter"), None, info])])
