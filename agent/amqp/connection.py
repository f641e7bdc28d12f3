"""One AMQP connection with one session, and the links on it.

Longer than other files: links, deliveries and claims are one state that each frame may touch.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from agent.amqp.codec import AmqpError, Described, Symbol, UByte, UInt, ULong, UShort, decode, encode
from agent.amqp.messages import Message, decode_message

OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH, END, CLOSE = range(0x10, 0x19)
_ACCEPTED, _REJECTED, _SOURCE, _TARGET, _ERROR = 0x24, 0x25, 0x28, 0x29, 0x1D
_SASL_MECHANISMS, _SASL_INIT, _SASL_OUTCOME = 0x40, 0x41, 0x44
_MAX_FRAME: Final = 256 * 1024
_MAX_MESSAGE: Final = 1024 * 1024
_WINDOW: Final = 5000
_IDLE_SECONDS: Final = 60  # what we ask the peer to keep within; silence of twice that is a dead line
_WAIT_SECONDS: Final = 30


class Stream(Protocol):
    """What a connection needs of a TCP, TLS or WebSocket stream."""

    async def readexactly(self, count: int) -> bytes:
        """See `asyncio.StreamReader.readexactly`."""

    def write(self, data: bytes) -> None:
        """See `asyncio.StreamWriter.write`."""

    async def drain(self) -> None:
        """See `asyncio.StreamWriter.drain`."""

    def close(self) -> None:
        """See `asyncio.StreamWriter.close`."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that waits for its settlement."""

    id: int
    message: Message


@dataclass(slots=True, eq=False)
class Link:
    """One direction of messages. The link is gone once `failed` is set."""

    name: str
    handle: int
    receiver: bool
    address: str
    attached: asyncio.Future[None]
    credit: int = 0
    delivery_count: int = 0
    incoming: asyncio.Queue[Delivery | None] = field(default_factory=asyncio.Queue)
    credited: asyncio.Event = field(default_factory=asyncio.Event)
    partial: bytearray = field(default_factory=bytearray)
    partial_id: int = 0
    partial_settled: bool = False
    failed: AmqpError | None = None


class Connection:
    """See the module. Every method raises `AmqpError` once the peer or the line has failed."""

    def __init__(self, stream: Stream, host: str) -> None:
        self._stream, self._host = stream, host
        self._links: dict[int, Link] = {}
        self._remote_handles: dict[int, Link] = {}
        self._handles = itertools.count()
        self._delivery_ids = itertools.count()
        self._outcomes: dict[int, asyncio.Future[Any]] = {}
        self._settled: dict[int, asyncio.Future[None]] = {}
        self._next_incoming = 0
        self._window_left = _WINDOW
        self._max_frame = 512
        self._heard = time.monotonic()
        self._failed: AmqpError | None = None
        self._reader: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._cbs: tuple[Link, Link] | None = None
        self._cbs_lock = asyncio.Lock()

    # ---------------------------------------------------------------- opening and closing

    async def open(self) -> None:
        """Header, SASL ANONYMOUS, open, begin."""
        async with asyncio.timeout(_WAIT_SECONDS):
            await self._sasl()
            self._stream.write(b"AMQP\x00\x01\x00\x00")
            container = f"meridian-agent-{uuid.uuid4()}"
            self._frame(OPEN, [container, self._host, UInt(_MAX_FRAME), UShort(8), UInt(_IDLE_SECONDS * 1000)])
            self._frame(BEGIN, [None, UInt(0), UInt(_WINDOW), UInt(_WINDOW), UInt(16)])
            await self._expect_header(b"AMQP\x00\x01\x00\x00")
            opened = await self._expect(OPEN)
            self._max_frame = min(_MAX_FRAME, opened[2] or _MAX_FRAME)
            begun = await self._expect(BEGIN)
            self._next_incoming = begun[1] or 0
        self._reader = asyncio.create_task(self._read())
        self._keeper = asyncio.create_task(self._keep_alive((opened[4] or 0) / 1000))

    async def _sasl(self) -> None:
        self._stream.write(b"AMQP\x03\x01\x00\x00")
        await self._expect_header(b"AMQP\x03\x01\x00\x00")
        mechanisms = (await self._expect(_SASL_MECHANISMS))[0]
        offered = mechanisms if isinstance(mechanisms, list) else [mechanisms]
        if "ANONYMOUS" not in offered:
            raise AmqpError("amqp:unauthorized-access", f"the broker offers {offered}, ANONYMOUS is needed")
        self._frame(_SASL_INIT, [Symbol("ANONYMOUS"), b"meridian", self._host], sasl=True)
        outcome = await self._expect(_SASL_OUTCOME)
        if outcome[0] != 0:
            raise AmqpError("amqp:unauthorized-access", f"SASL outcome {outcome[0]}")

    async def _expect_header(self, header: bytes) -> None:
        found = await self._stream.readexactly(8)
        if found != header:
            raise AmqpError("amqp:framing-error", f"{found!r} instead of an AMQP header")

    async def _expect(self, descriptor: int) -> list[Any]:
        while True:
            kind, fields, _ = await self._read_frame()
            if kind == descriptor:
                return fields
            if kind == CLOSE:
                raise _error(fields[0])
            if kind is not None:
                raise AmqpError("amqp:framing-error", f"frame 0x{kind:x} where 0x{descriptor:x} belongs")

    async def close(self) -> None:
        """Say goodbye, without waiting for an answer."""
        if self._failed is None:
            with contextlib.suppress(OSError, RuntimeError):
                self._frame(CLOSE, [None])
                async with asyncio.timeout(1):
                    await self._stream.drain()
        self._fail(AmqpError("amqp:connection:closed", "closed by us"))
        for task in (self._reader, self._keeper):
            if task is not None:
                task.cancel()

    def _fail(self, error: AmqpError) -> None:
        if self._failed is not None:
            return
        self._failed = error
        for link in self._links.values():
            self._fail_link(link, error)
        for future in (*self._outcomes.values(), *self._settled.values()):
            if not future.done():
                future.set_exception(error)
        self._stream.close()

    def _fail_link(self, link: Link, error: AmqpError) -> None:
        link.failed = link.failed or error
        if not link.attached.done():
            link.attached.set_exception(error)
        link.incoming.put_nowait(None)
        link.credited.set()

    # ---------------------------------------------------------------- frames

    def _frame(self, kind: int, fields: list[Any], payload: bytes = b"", sasl: bool = False) -> None:
        if self._failed is not None:
            raise self._failed
        body = encode(Described(kind, fields)) + payload
        self._stream.write(struct.pack(">IBBH", len(body) + 8, 2, int(sasl), 0) + body)

    async def _read_frame(self) -> tuple[int | None, list[Any], bytes]:
        size, offset, _, _ = struct.unpack(">IBBH", await self._stream.readexactly(8))
        if not 8 <= size <= _MAX_FRAME or not 2 <= offset <= size // 4:
            raise AmqpError("amqp:framing-error", f"a frame of {size} bytes")
        data = await self._stream.readexactly(size - 8)
        self._heard = time.monotonic()
        body = memoryview(data)[offset * 4 - 8 :]
        if not body:
            return None, [], b""  # an empty frame: the peer lives
        performative, at = decode(body)
        if not isinstance(performative, Described) or not isinstance(performative.value, list):
            raise AmqpError("amqp:decode-error", "a frame without a performative")
        # A sender may leave trailing fields out: they are null.
        return int(performative.descriptor), performative.value + [None] * 14, bytes(body[at:])

    async def _read(self) -> None:
        try:
            while True:
                kind, fields, payload = await self._read_frame()
                if kind is not None:
                    self._on_frame(kind, fields, payload)
        except AmqpError as error:
            self._fail(error)
        except (OSError, EOFError, ValueError, TypeError) as error:
            self._fail(AmqpError("amqp:connection:lost", str(error) or type(error).__name__))

    async def _keep_alive(self, remote_seconds: float) -> None:
        """Empty frames at half of the peer's patience; and our own patience with the peer."""
        pause = min(remote_seconds / 2, _IDLE_SECONDS) if remote_seconds else _IDLE_SECONDS
        while True:
            await asyncio.sleep(pause)
            if time.monotonic() - self._heard > 2 * _IDLE_SECONDS:
                self._fail(AmqpError("amqp:connection:lost", f"silent for {2 * _IDLE_SECONDS} s"))
                return
            self._stream.write(struct.pack(">IBBH", 8, 2, 0, 0))

    def _on_frame(self, kind: int, fields: list[Any], payload: bytes) -> None:
        if kind == TRANSFER:
            self._on_transfer(fields, payload)
        elif kind == DISPOSITION:
            self._on_disposition(fields)
        elif kind == FLOW:
            self._on_flow(fields)
        elif kind == ATTACH:
            self._on_attach(fields)
        elif kind == DETACH:
            link = self._remote_handles.pop(fields[0], None)
            if link is not None and link.failed is None:
                self._fail_link(link, _error(fields[2], "amqp:link:detach-forced"))
                self._frame(DETACH, [UInt(link.handle), True, None])
        elif kind in (END, CLOSE):
            raise _error(fields[0], "amqp:connection:forced")

    # ---------------------------------------------------------------- links

    async def attach(self, address: str, receiver: bool) -> Link:
        """A link to or from an entity."""
        loop = asyncio.get_running_loop()
        link = Link(f"{address}-{uuid.uuid4()}", next(self._handles), receiver, address, loop.create_future())
        self._links[link.handle] = link
        terminus = [address], ["meridian"]
        source, target = terminus if receiver else terminus[::-1]
        fields = [
            link.name,
            UInt(link.handle),
            receiver,
            UByte(0),  # the sender settles nothing by itself
            UByte(1 if receiver and not address.startswith("$") else 0),
            Described(_SOURCE, source),
            Described(_TARGET, target),
            None,
            None,
            None if receiver else UInt(0),
            ULong(_MAX_MESSAGE),
        ]
        self._frame(ATTACH, fields)
        async with asyncio.timeout(_WAIT_SECONDS):
            await link.attached
        return link

    def _on_attach(self, fields: list[Any]) -> None:
        link = next((link for link in self._links.values() if link.name == fields[0]), None)
        if link is None:
            return
        self._remote_handles[fields[1]] = link
        refused = fields[5] is None if link.receiver else fields[6] is None
        if not refused and not link.attached.done():
            link.attached.set_result(None)  # a refusal is followed by a detach that says why

    async def detach(self, link: Link) -> None:
        """Let a link go."""
        if link.failed is None:
            link.failed = AmqpError("amqp:link:detached", "closed by us")
            self._frame(DETACH, [UInt(link.handle), True, None])
        self._links.pop(link.handle, None)

    # ---------------------------------------------------------------- receiving

    def grant(self, link: Link, credit: int) -> None:
        """Allow the sender `credit` more messages."""
        link.credit = credit
        flow = [UInt(self._next_incoming), UInt(_WINDOW), UInt(0), UInt(_WINDOW), UInt(link.handle)]
        self._frame(FLOW, [*flow, UInt(link.delivery_count), UInt(credit), None, False, False])

    async def receive(self, link: Link) -> Delivery:
        """The next message; waits for ever."""
        delivery = await link.incoming.get()
        if delivery is None:
            link.incoming.put_nowait(None)
            raise link.failed or AmqpError("amqp:link:detached")
        return delivery

    def _on_transfer(self, fields: list[Any], payload: bytes) -> None:
        link = self._remote_handles.get(fields[0])
        self._next_incoming = (self._next_incoming + 1) & 0xFFFFFFFF
        self._window_left -= 1
        if link is None or link.failed is not None:
            return
        if not link.partial:
            link.partial_id, link.partial_settled = fields[1] or 0, bool(fields[4])
        link.partial += payload
        if len(link.partial) > _MAX_MESSAGE:
            raise AmqpError("amqp:link:message-size-exceeded", f"more than {_MAX_MESSAGE} bytes")
        if fields[5]:  # more follows
            return
        message, link.partial = decode_message(bytes(link.partial)), bytearray()
        link.delivery_count = (link.delivery_count + 1) & 0xFFFFFFFF
        link.credit -= 1
        link.incoming.put_nowait(Delivery(link.partial_id, message))
        if self._window_left < _WINDOW // 2:
            self._window_left = _WINDOW
            self.grant(link, link.credit)

    async def settle(self, delivery: Delivery, *, accept: bool = True, reason: str = "") -> None:
        """Complete a message, or send it to the dead letters; returns when the broker has confirmed."""
        if accept:
            state = Described(_ACCEPTED, [])
        else:
            info = {Symbol("DeadLetterReason"): reason[:1024], Symbol("DeadLetterErrorDescription"): reason[:1024]}
            state = Described(_REJECTED, [Described(_ERROR, [Symbol("com.microsoft:dead-letter"), None, info])])
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settled[delivery.id] = done
        try:
            self._frame(DISPOSITION, [True, UInt(delivery.id), UInt(delivery.id), False, state])
            async with asyncio.timeout(_WAIT_SECONDS):
                await done
        finally:
            self._settled.pop(delivery.id, None)

    def _on_disposition(self, fields: list[Any]) -> None:
        role, first, last, state = fields[0], fields[1], fields[2] if fields[2] is not None else fields[1], fields[4]
        waiting: dict[int, asyncio.Future[Any]] = self._outcomes if role else self._settled
        for number in [number for number in waiting if first <= number <= last]:
            future = waiting[number]
            if not future.done():
                failed = isinstance(state, Described) and state.descriptor == _REJECTED and state.value
                if failed and state.value[0] is not None:
                    future.set_exception(_error(state.value[0]))
                else:
                    future.set_result(state)

    # ---------------------------------------------------------------- sending

    def _on_flow(self, fields: list[Any]) -> None:
        link = self._remote_handles.get(fields[4]) if fields[4] is not None else None
        if link is not None and not link.receiver:
            link.credit = ((fields[5] or 0) + (fields[6] or 0) - link.delivery_count) & 0xFFFFFFFF
            if link.credit:
                link.credited.set()
        if fields[9]:  # the peer asks for our state
            self._frame(FLOW, [UInt(self._next_incoming), UInt(_WINDOW), UInt(0), UInt(_WINDOW)])

    async def send(self, link: Link, message: Message) -> None:
        """Send, and return when the broker has stored it."""
        async with asyncio.timeout(_WAIT_SECONDS):
            while not link.credit:
                link.credited.clear()
                if link.failed is not None:
                    raise link.failed
                await link.credited.wait()
            if link.failed is not None:
                raise link.failed
            number = next(self._delivery_ids)
            outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._outcomes[number] = outcome
            link.credit -= 1
            link.delivery_count += 1
            try:
                self._transfer(link, number, message.encode())
                await self._stream.drain()
                state = await outcome
            finally:
                self._outcomes.pop(number, None)
        if isinstance(state, Described) and state.descriptor != _ACCEPTED:
            raise AmqpError("amqp:not-accepted", f"outcome 0x{int(state.descriptor):x}")

    def _transfer(self, link: Link, number: int, data: bytes) -> None:
        room = self._max_frame - 128  # what the performative may take
        parts = [data[at : at + room] for at in range(0, len(data), room)]
        for at, part in enumerate(parts):
            more = at < len(parts) - 1
            tag = struct.pack(">I", number)
            self._frame(TRANSFER, [UInt(link.handle), UInt(number), tag, UInt(0), False, more], part)

    # ---------------------------------------------------------------- claims

    async def authorize(self, audience: str, token: str) -> None:
        """Put a shared access signature for an entity; links to it may then be attached.

        Raises:
            AmqpError: `amqp:unauthorized-access`: the broker does not accept it.
        """
        async with self._cbs_lock, asyncio.timeout(_WAIT_SECONDS):
            if self._cbs is None:
                sender = await self.attach("$cbs", receiver=False)
                receiver = await self.attach("$cbs", receiver=True)
                self.grant(receiver, 50)
                self._cbs = sender, receiver
            sender, receiver = self._cbs
            claim = {"operation": "put-token", "type": "servicebus.windows.net:sastoken", "name": audience}
            request = Message(id=uuid.uuid4(), reply_to="meridian", application=claim, value=token)
            await self.send(sender, request)
            while True:
                reply = (await self.receive(receiver)).message
                self.grant(receiver, 50)
                if reply.correlation_id == request.id:
                    break
        status = reply.application.get("status-code")
        if status not in (200, 202):
            description = str(reply.application.get("status-description", ""))
            raise AmqpError("amqp:unauthorized-access", f"{status} {description}")


def _error(value: Any, otherwise: str = "amqp:internal-error") -> AmqpError:
    if isinstance(value, Described) and isinstance(value.value, list) and value.value:
        fields = [*value.value, None]
        return AmqpError(str(fields[0]), str(fields[1] or ""))
    return AmqpError(otherwise)


@contextlib.asynccontextmanager
async def connected(stream: Stream, host: str) -> AsyncIterator[Connection]:
    """An open connection, closed at the end.

    Raises:
        AmqpError: the peer refuses, or does not speak AMQP.
    """
    connection = Connection(stream, host)
    try:
        try:
            await connection.open()
        except (OSError, EOFError, TimeoutError) as error:
            raise AmqpError("amqp:connection:lost", str(error) or type(error).__name__) from error
        yield connection
    finally:
        await connection.close()
