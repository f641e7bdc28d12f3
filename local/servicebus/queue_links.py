"""Links of a queue: transfers that become messages, credit that takes them out, outcomes that settle them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.message import BATCH_FORMAT, batch_items, delivery, parse_message
from local.servicebus.amqp.types import CodecError, Described
from local.servicebus.entities import MAX_MESSAGE_BYTES
from local.servicebus.links import IncomingLink, OutgoingLink
from local.servicebus.meter import units
from local.servicebus.queue import Lane, Message, Queue
from local.servicebus.sas import Right
from local.servicebus.settle import settle

if TYPE_CHECKING:
    from local.servicebus.session import Session

NO_TAG = bytes(16)


class QueueSink(IncomingLink):
    """Messages into a queue."""

    right: Right | None = "Send"

    def __init__(self, session: Session, handle: int, name: str, address: str, queue: Queue) -> None:
        super().__init__(session, handle, name, address, MAX_MESSAGE_BYTES)
        self.queue = queue
        self._acks: list[tuple[int, bytes]] = []

    def on_message(self, number: int, payload: bytes, *, settled: bool) -> None:
        """Write it; the acknowledgement follows when it is on disk."""
        broker = self.session.broker
        state = p.ACCEPTED_STATE
        broker.meter.queues[self.queue.name].sends += units(len(payload))
        try:
            broker.faults.before_send()
            items = batch_items(payload) if self._format == BATCH_FORMAT else [payload]
            broker.accept(self.queue, [parse_message(item) for item in items])
        except CodecError as error:
            state = p.rejected(p.AmqpError("amqp:decode-error", str(error)))
        except p.AmqpError as error:
            state = p.rejected(error)
        if settled:
            return
        self._acks.append((number, state))
        if len(self._acks) == 1:
            broker.store.after_commit(self._send_acks)

    def _send_acks(self) -> None:
        acks, self._acks = self._acks, []
        delay = self.session.broker.faults.disposition_delay_seconds
        if delay:
            self.session.later(delay, lambda: self._tell(p.runs(acks)))
        else:
            self._tell(p.runs(acks))

    def _tell(self, found: list[tuple[int, int, bytes]]) -> None:
        for first, last, state in found:
            self.session.send(p.disposition(p.RECEIVER, first, last, state))


class QueueSource(OutgoingLink):
    """Messages out of a queue."""

    right: Right | None = "Listen"

    def __init__(
        self, session: Session, handle: int, name: str, address: str, queue: Queue, lane: Lane, *, settles: bool
    ) -> None:
        super().__init__(session, handle, name, address)
        self.queue, self.lane, self.settles = queue, lane, settles
        self.session_id: str | None = None

    def wants(self) -> bool:
        """Whether it can be handed a message now."""
        return self.credit > 0 and self.attached and not self.session.connection.choked and not self.session.blocked

    def resume(self) -> None:
        """Stand in line while there is credit."""
        if self.wants():
            self.lane.waiting[self] = None
            self.session.broker.dispatch(self.queue, self.lane)
        else:
            self.lane.waiting.pop(self, None)

    def drop(self) -> None:
        """The link is gone."""
        self.attached = False
        self.lane.waiting.pop(self, None)
        if self.session_id is not None:
            self.session.broker.sessions.release(self)

    def deliver(self, message: Message, body: bytes) -> None:
        """Send a message."""
        if not self.attached:
            return
        payload = encode_delivery(message, body)
        self.session.broker.meter.queues[self.queue.name].deliveries += units(len(payload))
        settled = not self.settles
        number = self.session.send_message(self.handle, message.token or NO_TAG, payload, settled=settled)
        if not settled and message.token is not None:
            self.session.unsettled[number] = (self, message.token)

    def on_outcome(self, number: int, token: bytes, state: Described | None, *, settled: bool) -> None:
        """The peer has settled a delivery, or wants to: then it waits for us to confirm with the same outcome."""
        echo = settle(self.session.broker, self.queue, token, state)
        if not settled and echo is not None:
            self.session.send_outcome(number, echo)


def encode_delivery(message: Message, body: bytes, *, locked: bool = True) -> bytes:
    """A message as a receiver gets it."""
    return delivery(
        bare=body,
        sequence=message.sequence,
        enqueued_at=message.enqueued_at,
        state=message.state,
        locked_until=message.locked_until if locked and message.token is not None else None,
        delivery_count=message.delivery_count,
        ttl_ms=message.ttl_ms,
        annotations=message.annotations,
        annotation_count=message.annotation_count,
        scheduled_at=message.visible_at if message.visible_at != message.enqueued_at else None,
    )
