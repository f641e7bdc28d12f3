"""Links of the nodes `$cbs` and `$management`: a request comes in on one, its reply goes out on the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.message import reply, request_parts
from local.servicebus.amqp.types import CodecError, Raw
from local.servicebus.links import IncomingLink, OutgoingLink

if TYPE_CHECKING:
    from local.servicebus.session import Session

MAX_PENDING_REPLIES = 1000
NO_TAG = bytes(16)


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
