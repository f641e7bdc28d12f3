"""Attaching links: which node is meant, whether the token allows it, and the refusal that the SDK understands."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn
from urllib.parse import unquote, urlsplit

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.types import CodecError, Described
from local.servicebus.cbs import put_token
from local.servicebus.entities import MAX_MESSAGE_BYTES
from local.servicebus.links import IncomingLink, OutgoingLink, refuse
from local.servicebus.management import answer
from local.servicebus.queue import Queue
from local.servicebus.queue_links import QueueSink, QueueSource
from local.servicebus.request_links import ReplySource, RequestSink

if TYPE_CHECKING:
    from local.servicebus.session import Session

CBS, MANAGEMENT = "$cbs", "$management"
HANDLE_MAX = 255
SESSION_FILTER = "com.microsoft:session-filter"
TOPIC_HINT = "/subscriptions/"


def address_of(terminus: list[object] | None) -> str:
    """The entity path of a source or target: `amqps://host/queue` and `queue` are the same node."""
    address = terminus[0] if terminus is not None else None
    if not isinstance(address, str):
        return ""
    if "://" in address:
        try:
            address = unquote(urlsplit(address).path)
        except ValueError:
            return ""
    return address.strip("/")


def on_attach(session: Session, fields: list[object], body: bytes) -> None:
    """Attach a link, or refuse it.

    Raises:
        CodecError: the frame breaks the protocol.
    """
    name, handle, role = fields[0], p.uint(fields[1], "handle"), fields[2]
    if not isinstance(name, str) or not isinstance(role, bool):
        raise CodecError("an attach needs a name and a role")
    if handle > HANDLE_MAX or handle in session.incoming or handle in session.outgoing:
        raise CodecError(f"handle {handle} is above {HANDLE_MAX} or in use")
    try:
        if role is p.SENDER:
            _attach_sender(session, name, handle, fields, body)
        else:
            _attach_receiver(session, name, handle, fields, body)
    except p.AmqpError as error:
        refuse(session, name, handle, role=role, error=error)


def _attach_sender(session: Session, name: str, handle: int, fields: list[object], body: bytes) -> None:
    if isinstance(fields[6], Described) and fields[6].descriptor == p.COORDINATOR:
        raise p.AmqpError("amqp:not-implemented", "transactions are not supported by this endpoint")
    address = address_of(p.terminus_fields(fields[6], p.TARGET, 7))
    source, target = p.attach_termini(body)
    link: IncomingLink
    if address.lower() == CBS:
        link = RequestSink(session, handle, name, CBS, put_token)
    elif address.lower().endswith("/" + MANAGEMENT):
        _management_queue(session, address)
        link = RequestSink(session, handle, name, address.lower(), answer)
    else:
        queue = _queue(session, address, "Send")
        session.broker.check_open_for_sending(queue)
        link = QueueSink(session, handle, name, address, queue)
    session.incoming[handle] = link
    size = MAX_MESSAGE_BYTES if isinstance(link, QueueSink) else link.limit
    settle = fields[3] if fields[3] in (0, 1, 2) else 2
    session.send(
        p.attach(
            name, handle, p.RECEIVER, snd=int(str(settle)), rcv=0, source=source, target=target, max_message_size=size
        )
    )
    link.send_flow()


def _attach_receiver(session: Session, name: str, handle: int, fields: list[object], body: bytes) -> None:
    origin = p.terminus_fields(fields[5], p.SOURCE, 11)
    address = address_of(origin)
    source, target = p.attach_termini(body)
    link: OutgoingLink
    if address.lower() == CBS or address.lower().endswith("/" + MANAGEMENT):
        if address.lower() != CBS:
            _management_queue(session, address)
        there = p.terminus_fields(fields[6], p.TARGET, 7)
        reply_to = str(there[0]) if there is not None and there[0] is not None else None
        link = ReplySource(session, handle, name, address.lower(), reply_to)
        session.outgoing[handle] = link
        session.send(
            p.attach(name, handle, p.SENDER, snd=1, rcv=0, source=source, target=target, max_message_size=None)
        )
        return
    queue = _queue(session, address, "Listen")
    if queue.properties.status in ("Disabled", "ReceiveDisabled"):
        raise p.AmqpError("com.microsoft:entity-disabled", f"'{queue.name}' is {queue.properties.status}")
    settles = fields[3] != 1
    filters = origin[7] if origin is not None else None
    wanted = isinstance(filters, dict) and SESSION_FILTER in filters
    if queue.has_sessions or wanted:
        session.broker.sessions.attach(session, name, handle, fields, queue, settles=settles, target=target)
        return
    link = QueueSource(session, handle, name, address, queue, queue.lane, settles=settles)
    session.outgoing[handle] = link
    snd, rcv = (0, 1) if settles else (1, 0)
    session.send(
        p.attach(name, handle, p.SENDER, snd=snd, rcv=rcv, source=source, target=target, max_message_size=None)
    )


def _queue(session: Session, address: str, right: str) -> Queue:
    """The queue of an address. Whether it may be opened is asked before whether it exists.

    Raises:
        AmqpError: the token does not allow it, it does not exist, or it would be a topic's subscription.
    """
    if not session.connection.permissions.allow(address, "Send" if right == "Send" else "Listen"):
        _unauthorised(address, right)
    queue = session.broker.find(address)
    if queue is None:
        if TOPIC_HINT in f"/{address.lower()}":
            raise p.AmqpError("amqp:not-implemented", "topics and subscriptions are not supported by this endpoint")
        raise p.AmqpError("amqp:not-found", f"the messaging entity '{address}' could not be found")
    return queue


def _management_queue(session: Session, address: str) -> None:
    entity = address[: -len(MANAGEMENT) - 1]
    if not (
        session.connection.permissions.allow(address, "Listen") or session.connection.permissions.allow(address, "Send")
    ):
        _unauthorised(entity, "Listen or Send")
    if session.broker.find(entity) is None:
        raise p.AmqpError("amqp:not-found", f"the messaging entity '{entity}' could not be found")


def _unauthorised(address: str, right: str) -> NoReturn:
    raise p.AmqpError(
        "amqp:unauthorized-access", f"'{right}' on '{address}' is not allowed by a token of this connection"
    )
