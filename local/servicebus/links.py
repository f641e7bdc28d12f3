"""Links: what every sender's and every receiver's link does, whatever lies at its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from local.servicebus.amqp import performatives as p
from local.servicebus.sas import Right

if TYPE_CHECKING:
    from local.servicebus.session import Session

CREDIT = 1000


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


class IncomingLink(Link, ABC):
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

    @abstractmethod
    def on_message(self, number: int, payload: bytes, *, settled: bool) -> None:
        """A whole message."""

    def acknowledge(self, number: int, state: bytes = p.ACCEPTED_STATE) -> None:
        """Tell the outcome now."""
        self.session.send(p.disposition(p.RECEIVER, number, number, state))


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


def refuse(session: Session, name: str, handle: int, *, role: bool, error: p.AmqpError) -> None:
    """An attach without source and target, then a detach: any terminus would make the SDK take the link for good."""
    nothing = b"\x40"
    session.send(p.attach(name, handle, not role, snd=0, rcv=0, source=nothing, target=nothing, max_message_size=None))
    session.send(p.detach(handle, closed=True, error=error))
