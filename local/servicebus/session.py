"""One AMQP session: windows, links by handle, and the deliveries that wait for their outcome."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.frames import frame
from local.servicebus.amqp.types import Described
from local.servicebus.attach import HANDLE_MAX, on_attach
from local.servicebus.links import IncomingLink, OutgoingLink
from local.servicebus.queue_links import QueueSource
from local.servicebus.request_links import ReplySource

if TYPE_CHECKING:
    from local.servicebus.connection import Connection

WINDOW = 5000
_FRAME_OVERHEAD = 64  # frame header and transfer performative, rounded up


class Session:
    """A session; the peer's handle numbers serve as ours too."""

    def __init__(self, connection: Connection, channel: int, next_incoming: int, peer_window: int) -> None:
        self.connection, self.channel, self.broker = connection, channel, connection.broker
        self.incoming: dict[int, IncomingLink] = {}
        self.outgoing: dict[int, OutgoingLink] = {}
        self.unsettled: dict[int, tuple[QueueSource, bytes]] = {}
        self._next_incoming, self._window = next_incoming, WINDOW
        self._next_outgoing, self._peer_window = 0, peer_window
        self._next_delivery = 0
        self._backlog: deque[bytes] = deque()
        self._outcomes: list[tuple[int, bytes]] = []

    def begin(self) -> None:
        """Answer the peer's begin."""
        self.send(p.begin(self.channel, incoming_window=WINDOW, outgoing_window=WINDOW, handle_max=HANDLE_MAX))

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something later, unless the connection is gone by then."""
        asyncio.get_running_loop().call_later(seconds, lambda: None if self.connection.closed else action())

    def reply_source(self, node: str, reply_to: str | None) -> ReplySource | None:
        """The link on which replies of a node go: the one whose target is `reply-to`, else the node's latest."""
        found = [one for one in self.outgoing.values() if isinstance(one, ReplySource) and one.address == node]
        named = [one for one in found if one.reply_to == reply_to]
        best = named or found
        return best[-1] if best else None

    def send(self, body: bytes) -> None:
        """Send a frame on this session's channel."""
        self.connection.send(self.channel, body)

    # -- frames in -----------------------------------------------------------------------------------------------

    def on_frame(self, code: int, fields: list[object], body: bytes, at: int) -> None:
        """Handle a frame.

        Raises:
            AmqpError: the session must end.
            CodecError: the connection must end.
        """
        if code == p.TRANSFER:
            self._on_transfer(fields, body[at:])
        elif code == p.DISPOSITION:
            self._on_disposition(fields)
        elif code == p.FLOW:
            self._on_flow(fields)
        elif code == p.ATTACH:
            on_attach(self, fields, body)
        else:
            self._on_detach(fields)

    def _on_transfer(self, fields: list[object], payload: bytes) -> None:
        self._next_incoming = (self._next_incoming + 1) & 0xFFFFFFFF
        self._window -= 1
        if self._window <= WINDOW // 2:
            self._window = WINDOW
            self.send(self._flow(None))
        link = self.incoming.get(p.uint(fields[0], "handle"))
        # A link that we have detached may still be sending.
        if link is not None:
            link.on_transfer(fields, payload)

    def _on_flow(self, fields: list[object]) -> None:
        seen = 0 if fields[0] is None else p.uint(fields[0], "next-incoming-id")
        window = p.uint(fields[1], "incoming-window")
        self._peer_window = max(
            0, (seen + window - self._next_outgoing) & 0xFFFFFFFF if fields[0] is not None else window
        )
        if self._peer_window > 0x7FFFFFFF:
            self._peer_window = 0
        self._send_backlog()
        if fields[4] is None:
            if fields[9]:
                self.send(self._flow(None))
            return
        handle = p.uint(fields[4], "handle")
        source = self.outgoing.get(handle)
        if source is not None:
            source.on_flow(fields)
        elif fields[9] and handle in self.incoming:
            self.incoming[handle].send_flow()

    def _on_disposition(self, fields: list[object]) -> None:
        first = p.uint(fields[1], "first")
        last = first if fields[2] is None else p.uint(fields[2], "last")
        if fields[0] is not True:
            return  # about transfers that the peer sent: only we settle those
        # The range is the peer's word and may span four thousand million numbers: walk what we know instead.
        if last - first < len(self.unsettled):
            known = [number for number in range(first, last + 1) if number in self.unsettled]
        else:
            known = [number for number in self.unsettled if first <= number <= last]
        state = fields[4] if isinstance(fields[4], Described) else None
        for number in known:
            link, token = self.unsettled.pop(number)
            link.on_outcome(number, token, state, settled=fields[3] is True)

    def _on_detach(self, fields: list[object]) -> None:
        handle = p.uint(fields[0], "handle")
        link: IncomingLink | OutgoingLink | None = self.incoming.get(handle) or self.outgoing.get(handle)
        if link is not None:
            self.remove(link)
            self.send(p.detach(handle, closed=fields[1] is True))

    # -- links ---------------------------------------------------------------------------------------------------

    def remove(self, link: IncomingLink | OutgoingLink) -> None:
        """Forget a link. Locks of what it was sent live on; outcomes that still come for them are ignored, and the
        SDK then settles through `$management`."""
        self.incoming.pop(link.handle, None)
        self.outgoing.pop(link.handle, None)
        for number in [number for number, (owner, _) in self.unsettled.items() if owner is link]:
            del self.unsettled[number]
        link.drop()

    def detach(self, link: IncomingLink | OutgoingLink, error: p.AmqpError) -> None:
        """Detach a link with an error."""
        if self.incoming.get(link.handle) is link or self.outgoing.get(link.handle) is link:
            self.remove(link)
            self.send(p.detach(link.handle, closed=True, error=error))

    def links(self) -> list[IncomingLink | OutgoingLink]:
        """All links."""
        return [*self.incoming.values(), *self.outgoing.values()]

    def detach_unauthorised(self) -> None:
        """Detach the links whose token has run out."""
        for link in self.links():
            if link.right is not None and not self.connection.permissions.allow(link.address, link.right):
                self.detach(link, p.AmqpError("amqp:unauthorized-access", "the token of this link has expired"))

    def resume(self) -> None:
        """The peer reads again."""
        for link in list(self.outgoing.values()):
            link.resume()

    def drop(self) -> None:
        """The session is gone."""
        for link in self.links():
            link.drop()
        self.incoming.clear()
        self.outgoing.clear()
        self.unsettled.clear()
        self._backlog.clear()

    # -- frames out ----------------------------------------------------------------------------------------------

    def send_message(self, handle: int, tag: bytes, payload: bytes, *, settled: bool) -> int:
        """Send a message in as many frames as the peer's frame size asks for; its delivery id."""
        number = self._next_delivery
        self._next_delivery = (number + 1) & 0xFFFFFFFF
        room = self.connection.peer_max_frame - _FRAME_OVERHEAD
        if len(payload) <= room:
            body = p.transfer(handle, number, tag, settled=settled, more=False) + payload
            self._backlog.append(frame(self.channel, body))
        else:
            for start in range(0, len(payload), room):
                more = start + room < len(payload)
                body = p.transfer(handle, number, tag, settled=settled, more=more) + payload[start : start + room]
                self._backlog.append(frame(self.channel, body))
        self._send_backlog()
        return number

    def _send_backlog(self) -> None:
        backlog, connection = self._backlog, self.connection
        while backlog and self._peer_window > 0:
            connection.write(backlog.popleft())
            self._peer_window -= 1
            self._next_outgoing = (self._next_outgoing + 1) & 0xFFFFFFFF

    @property
    def blocked(self) -> bool:
        """Whether transfers wait for the peer's session window."""
        return bool(self._backlog)

    def send_link_flow(self, handle: int, delivery_count: int, credit: int, *, drain: bool = False) -> None:
        """Send a flow about a link."""
        self.send(self._flow((handle, delivery_count, credit), drain=drain))

    def _flow(self, link: tuple[int, int, int] | None, *, drain: bool = False) -> bytes:
        return p.flow(
            next_incoming=self._next_incoming, incoming_window=self._window, next_outgoing=self._next_outgoing,
            outgoing_window=WINDOW, link=link, drain=drain,
        )  # fmt: skip

    def send_outcome(self, number: int, state: bytes) -> None:
        """Confirm an outcome once it is on disk; neighbours with the same outcome share a frame."""
        self._outcomes.append((number, state))
        if len(self._outcomes) == 1:
            self.broker.store.after_commit(self._send_outcomes)

    def _send_outcomes(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        for first, last, state in p.runs(outcomes):
            self.send(p.disposition(p.SENDER, first, last, state))
