"""One AMQP connection with one session, and the links on it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
from collections.abc import AsyncIterator
from typing import Any, Final

from agent.amqp.claims import Claims
from agent.amqp.codec import AmqpError, Described, UInt
from agent.amqp.frames import (
    ACCEPTED,
    ATTACH,
    CLOSE,
    DETACH,
    DISPOSITION,
    END,
    FLOW,
    REJECTED,
    TRANSFER,
    WINDOW,
    Frames,
    Stream,
    silence,
    told,
)
from agent.amqp.links import Delivery, Link, accepted, dead_lettered
from agent.amqp.messages import Message

_WAIT_SECONDS: Final = 30


class Connection:
    """See the module. Every method raises `AmqpError` once the peer or the line has failed."""

    def __init__(self, stream: Stream, host: str) -> None:
        self._frames, self._host = Frames(stream), host
        self._links: dict[int, Link] = {}
        self._remote_handles: dict[int, Link] = {}
        self._handles = itertools.count()
        self._delivery_ids = itertools.count()
        self._outcomes: dict[int, asyncio.Future[Any]] = {}
        self._settled: dict[int, asyncio.Future[Any]] = {}
        self._next_incoming = 0
        self._window_left = WINDOW
        self._max_frame = 512
        self._failed: AmqpError | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._claims = Claims(self)

    # ---------------------------------------------------------------- opening and closing

    async def open(self) -> None:
        """Shake hands, then listen."""
        async with asyncio.timeout(_WAIT_SECONDS):
            peer = await self._frames.shake_hands(self._host)
        self._max_frame, self._next_incoming = peer.max_frame, peer.next_incoming
        self._tasks = [
            asyncio.create_task(self._read()),
            asyncio.create_task(self._keep_alive(peer.patience_seconds)),
        ]

    async def close(self) -> None:
        """Say goodbye, without waiting for an answer."""
        if self._failed is None:
            with contextlib.suppress(OSError, RuntimeError):
                self._frame(CLOSE, [None])
                async with asyncio.timeout(1):
                    await self._frames.drain()
        self._fail(AmqpError("amqp:connection:closed", "closed by us"))
        for task in self._tasks:
            task.cancel()

    def _fail(self, error: AmqpError) -> None:
        if self._failed is not None:
            return
        self._failed = error
        for link in self._links.values():
            link.fail(error)
        for future in (*self._outcomes.values(), *self._settled.values()):
            if not future.done():
                future.set_exception(error)
        self._frames.close()

    # ---------------------------------------------------------------- frames

    def _frame(self, kind: int, fields: list[Any], payload: bytes = b"") -> None:
        if self._failed is not None:
            raise self._failed
        self._frames.write(kind, fields, payload)

    async def _read(self) -> None:
        try:
            while True:
                kind, fields, payload = await self._frames.read()
                if kind is not None:
                    self._on_frame(kind, fields, payload)
        except AmqpError as error:
            self._fail(error)
        except (OSError, EOFError, ValueError, TypeError) as error:
            self._fail(AmqpError("amqp:connection:lost", str(error) or type(error).__name__))

    async def _keep_alive(self, patience_seconds: float) -> None:
        await self._frames.keep_alive(patience_seconds)
        self._fail(silence())

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
                link.fail(told(fields[2], "amqp:link:detach-forced"))
                self._frame(DETACH, [UInt(link.handle), True, None])
        elif kind in (END, CLOSE):
            raise told(fields[0], "amqp:connection:forced")

    # ---------------------------------------------------------------- links

    async def authorize(self, audience: str, token: str) -> None:
        """Put a shared access signature for an entity; links to it may then be attached.

        Raises:
            AmqpError: `amqp:unauthorized-access`: the broker does not accept it.
        """
        async with asyncio.timeout(_WAIT_SECONDS):
            await self._claims.put(audience, token)

    async def attach(self, address: str, receiver: bool) -> Link:
        """A link to or from an entity."""
        link = Link(next(self._handles), receiver, address, asyncio.get_running_loop().create_future())
        self._links[link.handle] = link
        self._frame(ATTACH, link.attach_fields())
        async with asyncio.timeout(_WAIT_SECONDS):
            await link.attached
        return link

    def _on_attach(self, fields: list[Any]) -> None:
        link = next((link for link in self._links.values() if link.name == fields[0]), None)
        if link is not None:
            self._remote_handles[fields[1]] = link
            link.on_attach(fields)

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
        flow = [UInt(self._next_incoming), UInt(WINDOW), UInt(0), UInt(WINDOW), UInt(link.handle)]
        self._frame(FLOW, [*flow, UInt(link.delivery_count), UInt(credit), None, False, False])

    async def receive(self, link: Link) -> Delivery:
        """The next message; waits for ever."""
        return await link.receive()

    def _on_transfer(self, fields: list[Any], payload: bytes) -> None:
        link = self._remote_handles.get(fields[0])
        self._next_incoming = (self._next_incoming + 1) & 0xFFFFFFFF
        self._window_left -= 1
        if link is None or link.failed is not None:
            return
        link.on_transfer(fields, payload)
        if self._window_left < WINDOW // 2:
            self._window_left = WINDOW
            self.grant(link, link.credit)

    async def settle(self, delivery: Delivery, *, accept: bool = True, reason: str = "") -> None:
        """Complete a message, or send it to the dead letters; returns when the broker has confirmed."""
        state = accepted() if accept else dead_lettered(reason)
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._settled[delivery.id] = done
        try:
            self._frame(DISPOSITION, [True, UInt(delivery.id), UInt(delivery.id), False, state])
            async with asyncio.timeout(_WAIT_SECONDS):
                await done
        finally:
            self._settled.pop(delivery.id, None)

    def _on_disposition(self, fields: list[Any]) -> None:
        role, first, last, state = fields[0], fields[1], fields[2] if fields[2] is not None else fields[1], fields[4]
        waiting = self._outcomes if role else self._settled
        for number in [number for number in waiting if first <= number <= last]:
            future = waiting[number]
            if not future.done():
                failed = isinstance(state, Described) and state.descriptor == REJECTED and state.value
                if failed and state.value[0] is not None:
                    future.set_exception(told(state.value[0]))
                else:
                    future.set_result(state)

    # ---------------------------------------------------------------- sending

    def _on_flow(self, fields: list[Any]) -> None:
        link = self._remote_handles.get(fields[4]) if fields[4] is not None else None
        if link is not None and not link.receiver:
            link.on_flow(fields)
        if fields[9]:  # the peer asks for our state
            self._frame(FLOW, [UInt(self._next_incoming), UInt(WINDOW), UInt(0), UInt(WINDOW)])

    async def send(self, link: Link, message: Message) -> None:
        """Send, and return when the broker has stored it."""
        async with asyncio.timeout(_WAIT_SECONDS):
            await link.wait_for_credit()
            number = next(self._delivery_ids)
            outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._outcomes[number] = outcome
            link.credit -= 1
            link.delivery_count += 1
            try:
                self._transfer(link, number, message.encode())
                await self._frames.drain()
                state = await outcome
            finally:
                self._outcomes.pop(number, None)
        if isinstance(state, Described) and state.descriptor != ACCEPTED:
            raise AmqpError("amqp:not-accepted", f"outcome 0x{int(state.descriptor):x}")

    def _transfer(self, link: Link, number: int, data: bytes) -> None:
        room = self._max_frame - 128  # what the performative may take
        parts = [data[at : at + room] for at in range(0, len(data), room)]
        for at, part in enumerate(parts):
            more = at < len(parts) - 1
            tag = struct.pack(">I", number)
            self._frame(TRANSFER, [UInt(link.handle), UInt(number), tag, UInt(0), False, more], part)


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
