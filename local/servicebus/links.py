"""Links: what a sender's transfers and a receiver's credit, drain and outcomes mean for a queue."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.message import BATCH_FORMAT, batch_items, delivery, parse_message, reply, request_parts
from local.servicebus.amqp.types import CodecError, Described, Raw
from local.servicebus.entities import MAX_MESSAGE_BYTES
from local.servicebus.meter import units
from local.servicebus.queue import Lane, Message, Queue
from local.servicebus.sas import Right
from local.servicebus.settle import settle

if TYPE_CHECKING:
    from local.servicebus.session import Session

CREDIT = 1000
MAX_PENDING_REPLIES = 1000
NO_TAG = bytes(16)


class Link:
    """What all links have in common."""

    right: Right | None = None  # what a token must allow for as long as the link stands

    def __init__(self, session: Session, handle: int, name: str, address: str) -> None:
        self.session, self.handle, self.name, self.address = session, handle, name, address

    def drop(self) -> None:
        """The link is gone."""

    def fail(self, error: p.AmqpError) -> None:
        """Detach it with an error."""
        self.session.detach(self, error)  # type: ignore[arg-type]  # every link is one of the two kinds


class IncomingLink(Link):
    """The peer sends."""

    def __init__(self, session: Session, handle: int, name: str, address: str, limit: int) -> None:
        super().__init__(session, handle, name, address)
        self.limit = limit
        self.delivery_count, self.credit = 0, 0
        self._number: int | None = None
        self._format, self._settled = 0, False
        self._parts: list[bytes] = []
        self._size = 0

    def send_flow(self) -> None:
        """Grant full credit."""
        self.credit = CREDIT
        self.session.send_link_flow(self.handle, self.delivery_count, CREDIT)

    def on_transfer(self, fields: list[object], payload: bytes) -> None:
        """A frame of a delivery."""
        if self._number is None:
            self._number = p.uint(fields[1], "delivery-id")
            self._format = 0 if fields[3] is None else p.uint(fields[3], "message-format")
            self.delivery_count = (self.delivery_count + 1) & 0xFFFFFFFF
            self.credit -= 1
            if self.credit < -CREDIT:
                self.fail(p.AmqpError("amqp:link:transfer-limit-exceeded", "more transfers than credit"))
                return
        self._settled = self._settled or fields[4] is True
        self._size += len(payload)
        # Too large: what still comes of it is let go as it comes, and the whole is refused at its end. (A detach instead
        # would reach the SDK as an unknown error without the reason.)
        if payload and self._size <= self.limit:
            self._parts.append(payload)
        if fields[5] is not True:
            self._on_last_frame(aborted=fields[9] is True)

    def _on_last_frame(self, *, aborted: bool) -> None:
        number, size, whole, settled = self._number, self._size, b"".join(self._parts), self._settled
        self._number, self._parts, self._size, self._settled = None, [], 0, False
        if self.credit <= CREDIT // 2:
            self.send_flow()
        if aborted or number is None:
            return
        if size <= self.limit:
            self.on_message(number, whole, settled=settled)
        elif not settled:
            text = f"the message has {size} bytes; at most {self.limit} are allowed"
            self.acknowledge(number, p.rejected(p.AmqpError("amqp:link:message-size-exceeded", text)))

    def on_message(self, number: int, payload: bytes, *, settled: bool) -> None:
        """A whole message."""
        raise NotImplementedError

    def acknowledge(self, number: int, state: bytes = p.ACCEPTED_STATE) -> None:
        """Tell the outcome now."""
        self.session.send(p.disposition(p.RECEIVER, number, number, state))


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


Handler = Callable[["RequestSink", Raw, dict[object, object], object], tuple[dict[object, object], object] | None]


class RequestSink(IncomingLink):
    """Requests to `$cbs` or `$management`; the reply goes out on the receiver link of the same node."""

    def __init__(self, session: Session, handle: int, name: str, address: str, handler: Handler) -> None:
        super().__init__(session, handle, name, address, 1 << 20)
        self._handler = handler

    def on_message(self, number: int, payload: bytes, *, settled: bool) -> None:
        """Answer a request."""
        try:
            identity, application, body, reply_to = request_parts(payload)
        except CodecError as error:
            self.acknowledge(number, p.rejected(p.AmqpError("amqp:decode-error", str(error))))
            return
        if not settled:
            self.acknowledge(number)
        answer = self._handler(self, identity, application, body)
        if answer is None:
            return
        encoded = reply(identity, *answer)
        source = self.session.reply_source(self.address, reply_to)
        if source is not None:
            # The reply may speak of what this very request wrote.
            self.session.broker.store.after_commit(lambda: source.put(encoded))


class OutgoingLink(Link):
    """The peer receives."""

    def __init__(self, session: Session, handle: int, name: str, address: str) -> None:
        super().__init__(session, handle, name, address)
        self.delivery_count, self.credit = 0, 0
        self.attached = True

    def on_flow(self, fields: list[object]) -> None:
        """The peer grants credit, drains, or asks for our state."""
        seen = 0 if fields[5] is None else p.uint(fields[5], "delivery-count")
        granted = 0 if fields[6] is None else p.uint(fields[6], "link-credit")
        credit = (seen + granted - self.delivery_count) & 0xFFFFFFFF
        self.credit = credit if credit < 0x80000000 else 0
        self.resume()
        if fields[8] is True:
            # What was taken for this link in this turn goes out before the drained flow.
            self.session.broker.store.after_commit(self._drained)
        elif fields[9] is True:
            self.session.send_link_flow(self.handle, self.delivery_count, self.credit)

    def _drained(self) -> None:
        if self.attached:
            self.delivery_count = (self.delivery_count + self.credit) & 0xFFFFFFFF
            self.credit = 0
            self.session.send_link_flow(self.handle, self.delivery_count, 0, drain=True)

    def claim(self) -> None:
        """Use up one credit."""
        self.credit -= 1
        self.delivery_count = (self.delivery_count + 1) & 0xFFFFFFFF

    def resume(self) -> None:
        """There may be credit and room: send what waits."""

    def drop(self) -> None:
        """The link is gone."""
        self.attached = False


class ReplySource(OutgoingLink):
    """Replies of `$cbs` or `$management`."""

    def __init__(self, session: Session, handle: int, name: str, address: str, reply_to: str | None) -> None:
        super().__init__(session, handle, name, address)
        self.reply_to = reply_to
        self._waiting: deque[bytes] = deque()

    def put(self, message: bytes) -> None:
        """Send a reply as soon as there is credit."""
        if len(self._waiting) >= MAX_PENDING_REPLIES:
            self.fail(p.AmqpError("amqp:resource-limit-exceeded", "replies are not being read"))
            return
        self._waiting.append(message)
        self.resume()

    def resume(self) -> None:
        """Send what waits."""
        while self._waiting and self.credit > 0 and self.attached:
            self.claim()
            self.session.send_message(self.handle, NO_TAG, self._waiting.popleft(), settled=True)


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


def refuse(session: Session, name: str, handle: int, *, role: bool, error: p.AmqpError) -> None:
    """An attach without source and target, then a detach: any terminus would make the SDK take the link for good."""
    nothing = b"\x40"
    session.send(p.attach(name, handle, not role, snd=0, rcv=0, source=nothing, target=nothing, max_message_size=None))
    session.send(p.detach(handle, closed=True, error=error))


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
