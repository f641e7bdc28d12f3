"""Request and reply on `<entity>/$management`: locks, peeking, scheduling, deferred messages, sessions.

https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-request-response
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.message import parse_message
from local.servicebus.amqp.types import Array, CodecError, Int, Raw, Symbol, Timestamp
from local.servicebus.entities import MAX_MESSAGE_BYTES
from local.servicebus.queue import DEFERRED, Message, Queue
from local.servicebus.queue_links import encode_delivery
from local.servicebus.request_links import RequestSink
from local.servicebus.sas import Right
from local.servicebus.settle import LOCK_LOST, simple_changes

if TYPE_CHECKING:
    from local.servicebus.broker import Broker

PREFIX = "com.microsoft:"
MAX_ITEMS = 1000  # lock tokens, numbers or messages in one request
PEEK_BYTES = 1 << 20  # a reply stays below this; the caller asks again for more

STATUS = {
    "com.microsoft:message-lock-lost": 410,
    "com.microsoft:session-lock-lost": 410,
    "com.microsoft:message-not-found": 404,
    "com.microsoft:session-cannot-be-locked": 410,
    "com.microsoft:entity-disabled": 400,
    "amqp:unauthorized-access": 401,
    "amqp:not-found": 404,
    "amqp:not-allowed": 400,
    "amqp:not-implemented": 501,
    "amqp:resource-limit-exceeded": 403,
    "amqp:link:message-size-exceeded": 400,
}


@dataclass(slots=True)
class Request:
    """A management request."""

    broker: Broker
    queue: Queue
    body: dict[object, object]

    def integer(self, name: str, low: int, high: int) -> int:
        """An integer field within bounds."""
        value = self.body.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise p.AmqpError("amqp:not-allowed", f"'{name}' must be an integer from {low} to {high}")
        return value

    def text(self, name: str) -> str:
        """A text field."""
        value = self.body.get(name)
        if not isinstance(value, str):
            raise p.AmqpError("amqp:not-allowed", f"'{name}' must be a string")
        return value

    def items(self, name: str) -> list[object]:
        """A list or array field."""
        value = self.body.get(name)
        if not isinstance(value, list) or not 0 < len(value) <= MAX_ITEMS:
            raise p.AmqpError("amqp:not-allowed", f"'{name}' must be a list of 1 to {MAX_ITEMS} items")
        return value

    def tokens(self) -> list[bytes]:
        """Lock tokens, as they stand in delivery tags."""
        found = self.items("lock-tokens")
        return [one.bytes_le for one in found if isinstance(one, uuid.UUID)]

    def numbers(self) -> list[int]:
        """Sequence numbers."""
        return [one for one in self.items("sequence-numbers") if isinstance(one, int)]


@dataclass(slots=True)
class Answer:
    """A reply: status and body."""

    body: dict[object, object] = field(default_factory=dict)
    status: int = 200


def answer(
    link: RequestSink, _identity: Raw, application: dict[object, object], body: object
) -> tuple[dict[object, object], object] | None:
    """Do what a request asks for."""
    operation = str(application.get("operation", ""))
    try:
        result = _perform(link, operation, body if isinstance(body, dict) else {})
    except CodecError as error:
        return _failed(400, "amqp:decode-error", str(error))
    except p.AmqpError as error:
        return _failed(STATUS.get(error.condition, 500), error.condition, error.description)
    return {"statusCode": Int(result.status), "statusDescription": "OK"}, result.body


def _perform(link: RequestSink, operation: str, body: dict[object, object]) -> Answer:
    entity = link.address.rpartition("/")[0]
    broker = link.session.broker
    found = OPERATIONS.get(operation.removeprefix(PREFIX))
    if found is None or not operation.startswith(PREFIX):
        raise p.AmqpError("amqp:not-implemented", f"the operation '{operation[:100]}' is not supported")
    right, handler = found
    queue = broker.find(entity)
    if queue is None:
        raise p.AmqpError("amqp:not-found", f"the messaging entity '{entity}' could not be found")
    if not link.session.connection.permissions.allow(link.address, right):
        raise p.AmqpError("amqp:unauthorized-access", f"'{right}' on '{entity}' is not allowed by a token")
    broker.meter.queues[queue.name].management += 1
    return handler(Request(broker, queue, body))


def _failed(status: int, condition: str, text: str) -> tuple[dict[object, object], object]:
    return {"statusCode": Int(status), "statusDescription": text, "errorCondition": Symbol(condition)}, {}


def _renew_lock(request: Request) -> Answer:
    ends = [request.broker.settlement.renew(request.queue, token) for token in request.tokens()]
    if None in ends:
        raise LOCK_LOST
    return Answer({"expirations": Array(Timestamp, [end for end in ends if end is not None])})


def _peek(request: Request) -> Answer:
    start = request.integer("from-sequence-number", -(1 << 63), (1 << 63) - 1)
    count = request.integer("message-count", 1, 1 << 31)
    session = request.body.get("session-id")
    found: list[object] = []
    size = 0
    for number in sorted(request.queue.messages):
        if len(found) >= min(count, MAX_ITEMS) or size > PEEK_BYTES:
            break
        message = request.queue.messages[number]
        if number < start or (isinstance(session, str) and message.session_id != session):
            continue
        encoded = encode_delivery(message, request.broker.body(message), locked=False)
        size += len(encoded)
        found.append({"message": encoded})
    return Answer({"messages": found}) if found else Answer(status=204)


def _schedule(request: Request) -> Answer:
    parsed = []
    for item in request.items("messages"):
        raw = item.get("message") if isinstance(item, dict) else None
        if not isinstance(raw, bytes):
            raise p.AmqpError("amqp:not-allowed", "each of 'messages' must hold an encoded 'message'")
        if len(raw) > MAX_MESSAGE_BYTES:
            text = f"the message has {len(raw)} bytes; at most {MAX_MESSAGE_BYTES} are allowed"
            raise p.AmqpError("amqp:link:message-size-exceeded", text)
        parsed.append(parse_message(raw))
    first = request.queue.next_sequence
    accepted = request.broker.accept(request.queue, parsed)
    # A duplicate is taken and dropped: it gets the number that it would have had.
    numbers = [message.sequence for message in accepted]
    numbers.extend(first + len(numbers) + i for i in range(len(parsed) - len(numbers)))
    return Answer({"sequence-numbers": Array(int, numbers)})


def _cancel(request: Request) -> Answer:
    request.broker.scheduler.cancel(request.queue, request.numbers())
    return Answer()


def _receive_by_number(request: Request) -> Answer:
    queue, broker = request.queue, request.broker
    found: list[Message] = []
    for number in request.numbers():
        message = queue.messages.get(number)
        if message is None or message.state != DEFERRED or message.token is not None:
            raise p.AmqpError("com.microsoft:message-not-found", f"no deferred message has the number {number}")
        if queue.has_sessions and message.session_id is not None:
            broker.sessions.check_held(queue, message.session_id)
        found.append(message)
    keep = request.body.get("receiver-settle-mode") != 0
    rows: list[object] = []
    for message in dict.fromkeys(found):
        token = broker.lock_deferred(queue, message)
        row: dict[object, object] = {"message": encode_delivery(message, broker.body(message))}
        if keep:
            row["lock-token"] = uuid.UUID(bytes_le=token)
        else:
            broker.settlement.complete(queue, token)
        rows.append(row)
    return Answer({"messages": rows})


def _update_disposition(request: Request) -> Answer:
    status = request.text("disposition-status")
    act = _DISPOSITIONS.get(status)
    if act is None:
        raise p.AmqpError("amqp:not-allowed", f"'{status[:50]}' is no disposition status")
    for token in request.tokens():
        request.broker.meter.queues[request.queue.name].settlements += 1
        if not act(request, token):
            raise LOCK_LOST
    return Answer()


def _changes(request: Request) -> dict[str, object]:
    return simple_changes(request.body.get("properties-to-modify"))


def _bury(request: Request, token: bytes) -> bool:
    reason, text = (request.body.get(name) for name in ("deadletter-reason", "deadletter-description"))
    return request.broker.settlement.reject(
        request.queue,
        token,
        reason if isinstance(reason, str) else "",
        text if isinstance(text, str) else "",
        _changes(request),
    )


_DISPOSITIONS: dict[str, Callable[[Request, bytes], bool]] = {
    "completed": lambda request, token: request.broker.settlement.complete(request.queue, token),
    "abandoned": lambda request, token: request.broker.settlement.abandon(request.queue, token, _changes(request)),
    "defered": lambda request, token: request.broker.settlement.defer(request.queue, token, _changes(request)),  # sic
    "suspended": _bury,
}


def _renew_session(request: Request) -> Answer:
    until = request.broker.sessions.renew(request.queue, request.text("session-id"))
    return Answer({"expiration": Timestamp(until)})


def _get_session_state(request: Request) -> Answer:
    name = request.text("session-id")
    request.broker.sessions.check_held(request.queue, name)
    return Answer({"session-state": request.broker.store.session_state(request.queue, name)})


def _set_session_state(request: Request) -> Answer:
    name, state = request.text("session-id"), request.body.get("session-state")
    request.broker.sessions.check_held(request.queue, name)
    if state is not None and not isinstance(state, bytes):
        raise p.AmqpError("amqp:not-allowed", "'session-state' must be binary or null")
    request.broker.sessions.set_state(request.queue, name, state)
    return Answer()


NO_TIME_MS = 253_402_300_800_000  # .NET's DateTime.MaxValue: list what there is, not what has changed


def _since(request: Request) -> int | None:
    value = request.body.get("last-updated-time")
    return value if isinstance(value, int) and value < NO_TIME_MS else None


def _list_sessions(request: Request) -> Answer:
    skip, top = request.integer("skip", 0, 1 << 31), request.integer("top", 1, 1 << 31)
    found = request.broker.sessions.ids(request.queue, _since(request))[skip : skip + min(top, MAX_ITEMS)]
    if not found:
        return Answer(status=204)
    return Answer({"skip": Int(skip + len(found)), "sessions-ids": Array(str, found)})


OPERATIONS: dict[str, tuple[Right, Callable[[Request], Answer]]] = {
    "renew-lock": ("Listen", _renew_lock),
    "peek-message": ("Listen", _peek),
    "schedule-message": ("Send", _schedule),
    "cancel-scheduled-message": ("Send", _cancel),
    "receive-by-sequence-number": ("Listen", _receive_by_number),
    "update-disposition": ("Listen", _update_disposition),
    "renew-session-lock": ("Listen", _renew_session),
    "get-session-state": ("Listen", _get_session_state),
    "set-session-state": ("Listen", _set_session_state),
    "get-message-sessions": ("Listen", _list_sessions),
}
