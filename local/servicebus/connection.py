"""One AMQP connection: protocol headers, SASL, open and close, sessions by channel, what its tokens allow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.encode import described, encode, encode_list
from local.servicebus.amqp.frames import (
    EMPTY_FRAME,
    HEADER_AMQP,
    HEADER_SASL,
    MIN_FRAME,
    TYPE_AMQP,
    TYPE_SASL,
    FrameReader,
    frame,
)  # fmt: skip
from local.servicebus.amqp.types import Array, CodecError, Symbol, UByte
from local.servicebus.broker import Broker
from local.servicebus.permissions import Permissions
from local.servicebus.sas import Grant
from local.servicebus.session import Session

log = logging.getLogger("servicebus")

MAX_FRAME = 65_536
CHANNEL_MAX = 255
IDLE_MS = 240_000
FLUSH_BYTES = 64 * 1024
AUTHENTICATE_WITHIN_SECONDS = 20.0
MECHANISMS = ("ANONYMOUS", "PLAIN", "MSSBCBS", "EXTERNAL")


class Wire(Protocol):
    """Where a connection's bytes go: a TCP or TLS transport, or a WebSocket."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def close(self) -> None:
        """Send what is buffered, then close."""

    def abort(self) -> None:
        """Close at once."""


class Connection:
    """The state machine of one connection: `_step` is what the next bytes mean."""

    def __init__(self, broker: Broker, wire: Wire, peer: str) -> None:
        self.broker, self.peer = broker, peer
        self.sessions: dict[int, Session] = {}
        self.permissions = Permissions(broker.clock, self.detach_unauthorised)
        self.choked = False
        self.closed = False
        self.over_quota = False
        self.peer_max_frame = MIN_FRAME
        self.peer_idle_seconds = 0.0
        self.last_in = self.last_out = asyncio.get_running_loop().time()
        self._started = broker.clock.seconds()
        self._wire = wire
        self._reader = FrameReader(MAX_FRAME)
        self._out: list[bytes] = []
        self._out_size = 0
        self._step: Callable[[], bool] = self._expect_header
        self._opened = False

    # -- bytes in and out ----------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Bytes have come."""
        self.last_in = asyncio.get_running_loop().time()
        self._reader.feed(data)
        try:
            more = True
            while more and not self.closed:
                more = self._step()
        except CodecError as error:
            self.fail(p.AmqpError("amqp:decode-error", str(error)))

    def send(self, channel: int, body: bytes, kind: int = TYPE_AMQP) -> None:
        """Send a frame at the end of this turn, together with the others of the turn."""
        if self.broker.faults.drop_every and self.broker.faults.drops_frame():
            return
        self.write(frame(channel, body, kind))

    def write(self, data: bytes) -> None:
        """Send bytes at the end of this turn."""
        if not self._out:
            self.broker.wrote(self)
        self._out.append(data)
        self._out_size += len(data)
        if self._out_size > FLUSH_BYTES:
            # Now and not at the end of the turn: else one turn could pile up all that a peer has credit for before the
            # transport gets the chance to say that it is full.
            self.flush()

    def flush(self) -> None:
        """Hand over what was written."""
        if self._out:
            data, self._out, self._out_size = b"".join(self._out), [], 0
            self.last_out = asyncio.get_running_loop().time()
            self._wire.write(data)

    def choke(self) -> None:
        """The peer does not read: deliver nothing more to it for now."""
        self.choked = True

    def unchoke(self) -> None:
        """The peer reads again."""
        self.choked = False
        for session in list(self.sessions.values()):
            session.resume()

    # -- handshake -----------------------------------------------------------------------------------------------

    def _expect_header(self) -> bool:
        if not self._reader.begins_like(b"AMQP"):
            # A browser, a TLS hello on the plain port, a port scanner.
            self.write(HEADER_AMQP)
            self.shut()
            return False
        header = self._reader.take(8)
        if header is None:
            return False
        if header == HEADER_SASL:
            mechanisms = encode(Array(Symbol, MECHANISMS))
            self.write(HEADER_SASL)
            self.send(0, described(p.SASL_MECHANISMS, encode_list((mechanisms,))), TYPE_SASL)
            self._step = self._expect_sasl
            return True
        if header == HEADER_AMQP:
            self.write(HEADER_AMQP)
            self._step = self._frames
            return True
        self.write(HEADER_SASL)
        self.shut()
        return False

    def _expect_sasl(self) -> bool:
        for kind, _, body in self._reader.frames():
            if kind != TYPE_SASL:
                raise CodecError("an AMQP frame before the SASL outcome")
            code, fields, _ = p.parse(body)
            if code != p.SASL_INIT:
                raise CodecError("a SASL frame other than init")
            good = self._login(fields[0], fields[1])
            self.send(0, described(p.SASL_OUTCOME, encode_list((encode(UByte(0 if good else 1)), b"\x40"))), TYPE_SASL)
            if not good:
                self.shut()
            self._step = self._expect_header
            return True
        return False

    def _login(self, mechanism: object, response: object) -> bool:
        """ANONYMOUS and the like authenticate nothing: a token follows. PLAIN carries a rule's name and key."""
        if mechanism != "PLAIN":
            return mechanism in MECHANISMS
        parts = response.split(b"\0") if isinstance(response, bytes) else []
        if len(parts) != 3:
            return False
        for rule in self.broker.rules[()]:
            if rule.name.encode() == parts[1] and parts[2] in [key.encode() for key in rule.both()]:
                self.permissions.add(Grant((), rule.rights, float("inf")))
                return True
        return False

    # -- frames --------------------------------------------------------------------------------------------------

    def _frames(self) -> bool:
        for kind, channel, body in self._reader.frames():
            if kind != TYPE_AMQP:
                raise CodecError("a SASL frame after the SASL outcome")
            if body:
                code, fields, at = p.parse(body)
                self._on_frame(code, channel, fields, body, at)
            if self.closed:
                break
        return False

    def _on_frame(self, code: int, channel: int, fields: list[object], body: bytes, at: int) -> None:
        session = self.sessions.get(channel)
        if code in (p.TRANSFER, p.DISPOSITION, p.FLOW, p.ATTACH, p.DETACH):
            # The SDK sends one more detach on a session that it has ended.
            if session is not None:
                try:
                    session.on_frame(code, fields, body, at)
                except p.AmqpError as error:
                    self._end_session(channel, error)
        elif code == p.OPEN:
            self._on_open(fields)
        elif not self._opened:
            raise CodecError("the first frame must be open")
        elif code == p.BEGIN:
            self._on_begin(channel, fields)
        elif code == p.END:
            self._end_session(channel, None)
        elif code == p.CLOSE:
            self.send(0, p.close())
            self.shut()
        else:
            raise CodecError("a frame that has no place in an open connection")

    def _on_open(self, fields: list[object]) -> None:
        if self._opened:
            raise CodecError("a second open")
        self._opened = True
        if fields[2] is not None:
            self.peer_max_frame = max(MIN_FRAME, p.uint(fields[2], "max-frame-size"))
        else:
            self.peer_max_frame = 0xFFFFFFFF
        if fields[4]:
            self.peer_idle_seconds = p.uint(fields[4], "idle-time-out") / 1000
        if self.over_quota:
            self.fail(p.AmqpError("amqp:resource-limit-exceeded", "the namespace's connection quota is used up"))
            return
        self.send(0, p.open_("meridian-servicebus", max_frame=MAX_FRAME, channel_max=CHANNEL_MAX, idle_ms=IDLE_MS))

    def _on_begin(self, channel: int, fields: list[object]) -> None:
        if channel > CHANNEL_MAX or channel in self.sessions:
            raise CodecError(f"channel {channel} is above {CHANNEL_MAX} or in use")
        session = Session(self, channel, p.uint(fields[1], "next-outgoing-id"), p.uint(fields[2], "incoming-window"))
        self.sessions[channel] = session
        session.begin()

    def _end_session(self, channel: int, error: p.AmqpError | None) -> None:
        session = self.sessions.pop(channel, None)
        if session is not None:
            session.drop()
            self.send(channel, p.end(error))

    def detach_unauthorised(self) -> None:
        """Detach the links whose token has run out."""
        for session in list(self.sessions.values()):
            session.detach_unauthorised()

    # -- life ----------------------------------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Called every few seconds: drop the silent and the unauthenticated, keep the patient alive.

        Args:
            now: the event loop's time in seconds.
        """
        if not self.permissions.any and self.broker.clock.seconds() - self._started > AUTHENTICATE_WITHIN_SECONDS:
            self.fail(p.AmqpError("amqp:unauthorized-access", "no token within 20 seconds"))
        elif now - self.last_in > IDLE_MS / 1000:
            self.fail(p.AmqpError("amqp:resource-limit-exceeded", "nothing received within the idle time-out"))
        elif self.peer_idle_seconds and now - self.last_out > self.peer_idle_seconds / 2:
            self.write(EMPTY_FRAME)

    def fail(self, error: p.AmqpError) -> None:
        """Close with an error."""
        if self.closed:
            return
        log.info("%s: closed: %s: %s", self.peer, error.condition, error.description)
        if self._opened:
            self.send(0, p.close(error))
        self.shut()

    def shut(self) -> None:
        """Close: what was written is still sent."""
        self.flush()
        self.lost()
        self._wire.close()

    def abort(self) -> None:
        """Cut the connection without a word (fault tests)."""
        self.lost()
        self._wire.abort()

    def lost(self) -> None:
        """The connection is gone: its links let go of their queues. Locks live on until they run out."""
        if self.closed:
            return
        self.closed = True
        self.permissions.close()
        for session in list(self.sessions.values()):
            session.drop()
        self.sessions.clear()
        self._out.clear()
