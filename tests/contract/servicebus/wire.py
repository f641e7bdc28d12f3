"""A bare AMQP 1.0 client that repeats the SDK's conversation: for a thousand agents at once, and for what no SDK does."""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections import deque
from typing import Self

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.encode import described, encode, encode_list
from local.servicebus.amqp.frames import HEADER_AMQP, HEADER_SASL, TYPE_SASL, FrameReader, frame
from local.servicebus.amqp.message import request_parts, sections
from local.servicebus.amqp.types import Described, Symbol, UInt

PATIENCE = 30.0


def text_message(text: str | bytes, message_id: str | None = None) -> bytes:
    """An encoded message with one Data section, durable."""
    body = text.encode() if isinstance(text, str) else text
    properties = described(0x73, encode_list([encode(message_id)])) if message_id else b""
    return described(0x70, encode_list([b"\x41"])) + properties + described(0x75, encode(body))


def body_of(payload: bytes) -> bytes:
    """The Data section of a delivered message."""
    from local.servicebus.amqp.decode import decode

    for code, _, at in sections(payload):
        if code == 0x75:
            value, _ = decode(payload, at)
            assert isinstance(value, bytes)
            return value
    raise AssertionError("no Data section")


class WireClient:
    """One connection with one session; frames are awaited one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._frames = FrameReader(1 << 20)
        self._waiting: deque[tuple[int, list[object], bytes]] = deque()
        self._deliveries = 0

    @classmethod
    async def connect(
        cls, port: int, context: ssl.SSLContext | None = None, *, host: str = "localhost", login: str | None = None
    ) -> Self:
        """Connect, and go through SASL (ANONYMOUS, or PLAIN with `name:password`), open and begin."""
        client = cls(*await asyncio.open_connection(host, port, ssl=context, limit=1 << 18))
        client.write(HEADER_SASL)
        await client.reader.readexactly(8)
        mechanism, response = (
            ("ANONYMOUS", None) if login is None else ("PLAIN", f"\0{login.replace(':', chr(0))}".encode())
        )
        init = described(p.SASL_INIT, encode_list([encode(Symbol(mechanism)), encode(response), b"\x40"]))
        client.write(frame(0, init, TYPE_SASL))
        await client.next(p.SASL_MECHANISMS, p.SASL_OUTCOME)
        while client.last_code != p.SASL_OUTCOME:
            await client.next(p.SASL_OUTCOME)
        client.write(HEADER_AMQP)
        await client.reader.readexactly(8)
        window = [encode(UInt(n)) for n in (0, 65536, 65536)]
        client.write(frame(0, p.open_("wire", max_frame=1 << 20, channel_max=1, idle_ms=0)))
        client.write(frame(1, described(p.BEGIN, encode_list([b"\x40", *window]))))
        await client.next(p.BEGIN)
        return client

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)

    def send_frame(self, body: bytes) -> None:
        """Send a frame on the session's channel."""
        self.write(frame(1, body))

    async def frame(self) -> tuple[int, list[object], bytes]:
        """The next frame: code, fields, payload."""
        while True:
            if self._waiting:
                return self._waiting.popleft()
            data = await asyncio.wait_for(self.reader.read(1 << 18), PATIENCE)
            if not data:
                raise ConnectionError("the endpoint closed the connection")
            self._frames.feed(data)
            for kind, _, body in self._frames.frames():
                if body:
                    code, fields, at = _parse(kind, body)
                    self._waiting.append((code, fields, body[at:]))

    async def next(self, *codes: int) -> tuple[int, list[object], bytes]:
        """The next frame of one of these kinds; others are passed over."""
        while True:
            found = await self.frame()
            self.last_code = found[0]
            if found[0] in codes:
                return found
            if found[0] == p.CLOSE:
                raise ConnectionError(f"closed: {found[1][0]}")

    def attach(self, handle: int, *, role: bool, source: str, target: str, settle: int = 1) -> None:
        """Ask for a link, without waiting."""
        snd, rcv = (0, settle) if role is p.RECEIVER else (2, 0)
        durable = encode(UInt(2))  # says nothing to Service Bus; other brokers make a durable queue of it
        termini = [
            described(p.SOURCE, encode_list([encode(source), durable])),
            described(p.TARGET, encode_list([encode(target), durable])),
        ]
        body = p.attach(
            f"link-{uuid.uuid4()}", handle, role, snd=snd, rcv=rcv, source=termini[0], target=termini[1],
            max_message_size=None,
        )  # fmt: skip
        self.send_frame(body)

    def flow(self, handle: int, credit: int, delivery_count: int = 0, *, drain: bool = False) -> None:
        """Grant credit."""
        self.send_frame(
            p.flow(
                next_incoming=0, incoming_window=1 << 30, next_outgoing=0, outgoing_window=65536,
                link=(handle, delivery_count, credit), drain=drain,
            )
        )  # fmt: skip

    async def put_token(self, token: str, audience: str) -> int:
        """Authorise by `$cbs` (links 0 and 1); the status."""
        self.attach(0, role=p.SENDER, source="cbs", target="$cbs")
        self.attach(1, role=p.RECEIVER, source="$cbs", target="cbs")
        self.flow(1, 100)
        application = {"operation": "put-token", "type": "jwt", "name": audience}
        message = described(0x73, encode_list([encode(uuid.uuid4())])) + described(0x74, encode(application))
        self.transfer(0, message + described(0x77, encode(token)))
        while True:
            _, fields, payload = await self.next(p.TRANSFER)
            if fields[0] == 1:
                status = request_parts(payload)[1]["status-code"]
                assert isinstance(status, int)
                return status

    def transfer(self, handle: int, payload: bytes, *, message_format: int = 0) -> int:
        """Send a message unsettled; its delivery id."""
        number, self._deliveries = self._deliveries, self._deliveries + 1
        tag = number.to_bytes(16, "big")
        self.send_frame(
            p.transfer(handle, number, tag, settled=False, more=False, message_format=message_format) + payload
        )
        return number

    async def open_receiver(self, handle: int, queue: str, credit: int, settle: int = 1) -> None:
        """A receiver that waits with some credit; `settle` is its receiver-settle-mode (0: it settles by itself)."""
        self.attach(handle, role=p.RECEIVER, source=queue, target="here", settle=settle)
        _, fields, _ = await self.next(p.ATTACH)
        while fields[1] != handle:
            _, fields, _ = await self.next(p.ATTACH)
        assert isinstance(fields[5], Described), "the link was refused"
        self.flow(handle, credit)

    async def open_sender(self, handle: int, queue: str) -> None:
        """A sender with its first credit."""
        self.attach(handle, role=p.SENDER, source="here", target=queue)
        _, fields, _ = await self.next(p.FLOW)
        while fields[4] != handle:
            _, fields, _ = await self.next(p.FLOW)

    def settle(self, delivery_id: object, state: bytes = p.ACCEPTED_STATE, *, settled: bool = False) -> None:
        """Ask for an outcome and let the endpoint settle, or settle at once."""
        assert isinstance(delivery_id, int)
        numbers = encode(UInt(delivery_id)), encode(UInt(delivery_id))
        fields = [b"\x41", *numbers, encode(settled), state, b"\x42"]
        self.send_frame(described(p.DISPOSITION, encode_list(fields)))

    async def close(self) -> None:
        """Close without ceremony."""
        self.writer.close()


def _parse(kind: int, body: bytes) -> tuple[int, list[object], int]:
    from local.servicebus.amqp.decode import decode

    if kind == TYPE_SASL:
        fields, at = decode(body, 3)
        assert isinstance(fields, list)
        return body[2], fields, at
    return p.parse(body)
