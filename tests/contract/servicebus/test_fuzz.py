"""Mutated, random and truncated conversations: no crash, no hang, no unbounded work."""

from __future__ import annotations

import asyncio
import random

import psutil
import pytest

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.encode import described, encode, encode_list
from local.servicebus.amqp.frames import HEADER_AMQP, HEADER_SASL, TYPE_SASL, frame
from local.servicebus.amqp.types import Symbol, UInt
from tests.contract.servicebus.target import Queues, Target
from tests.contract.servicebus.wire import WireClient, body_of, text_message

pytestmark = pytest.mark.local_only
SEED = 20260101
ROUNDS = 1500


def conversation(token: str, queue: str) -> list[bytes]:
    """Frames of a full conversation, each a candidate for mutation."""
    put = described(0x73, encode_list([encode("m")])) + described(
        0x74, encode({"operation": "put-token", "type": "jwt", "name": f"sb://localhost/{queue}"})
    )
    termini = described(p.SOURCE, encode_list([encode("$cbs")])), described(p.TARGET, encode_list([encode("$cbs")]))
    queue_ends = described(p.SOURCE, encode_list([encode(queue)])), described(p.TARGET, encode_list([encode(queue)]))
    window = [encode(UInt(n)) for n in (0, 65536, 65536)]

    def attach(handle: int, role: bool, ends: tuple[bytes, bytes]) -> bytes:
        return p.attach(f"l{handle}", handle, role, snd=0, rcv=1, source=ends[0], target=ends[1], max_message_size=None)

    def flow(handle: int) -> bytes:
        return p.flow(
            next_incoming=0, incoming_window=5000, next_outgoing=0, outgoing_window=5000, link=(handle, 0, 10)
        )

    bodies = [
        described(p.BEGIN, encode_list([b"\x40", *window])),
        attach(0, p.SENDER, termini), attach(1, p.RECEIVER, termini), flow(1),
        p.transfer(0, 0, bytes(16), settled=False, more=False) + put + described(0x77, encode(token)),
        attach(2, p.SENDER, queue_ends), attach(3, p.RECEIVER, queue_ends), flow(3),
        p.transfer(2, 1, bytes(16), settled=False, more=False) + text_message("x", "id"),
        p.transfer(2, 2, bytes(16), settled=False, more=False, message_format=0x80013700)
        + described(0x75, encode(text_message("y"))),
        p.disposition(p.RECEIVER, 0, 5, p.ACCEPTED_STATE), p.detach(2, closed=True), p.end(), p.close(),
    ]  # fmt: skip
    init = described(p.SASL_INIT, encode_list([encode(Symbol("ANONYMOUS")), b"\x40", b"\x40"]))
    start = p.open_("fuzz", max_frame=65536, channel_max=1, idle_ms=0)
    return [
        HEADER_SASL, frame(0, init, TYPE_SASL), HEADER_AMQP, frame(0, start), *(frame(1, body) for body in bodies)
    ]  # fmt: skip


def mutate(frames: list[bytes], rng: random.Random) -> bytes:
    """One conversation gone wrong."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(1, 400))
    if kind == 1:  # one frame repeated, left out or moved
        tail = frames[5:]
        rng.shuffle(tail)
        frames = [
            one for one in [*frames[:5], *rng.choice((frames[5:], tail))] for _ in range(rng.choice((0, 1, 1, 1, 2)))
        ]
        return b"".join(frames)
    whole = bytearray(b"".join(frames))
    if kind == 2:
        return bytes(whole[: rng.randrange(len(whole))])
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(whole))
        if kind == 3:
            whole[at] = rng.randrange(256)
        elif kind == 4:
            whole[at] ^= 1 << rng.randrange(8)
        else:  # a length that lies
            whole[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
    return bytes(whole)


async def one_round(port: int, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        writer.write_eof()
        while await reader.read(1 << 16):
            pass
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()


async def test_fuzzed_conversations(target: Target, queues: Queues, needs) -> None:  # type: ignore[no-untyped-def]
    needs("faults")
    queue, rng = queues.make(), random.Random(SEED)
    frames = conversation(target.token(queue), queue)
    assert target.part is not None
    assert target.part.process is not None
    process = psutil.Process(target.part.process.pid)
    memory = process.memory_info().rss
    gate = asyncio.Semaphore(20)

    async def guarded() -> None:
        async with gate:
            data = mutate(list(frames), rng)
            await asyncio.wait_for(one_round(target.ports["amqp"], data), 30)

    await asyncio.gather(*(guarded() for _ in range(ROUNDS)))
    assert target.part.process.poll() is None
    assert process.memory_info().rss - memory < 64 << 20
    assert "Traceback" not in target.part.output()
    # And it still does its work.
    own = queues.make()
    client = await WireClient.connect(target.ports["amqp"])
    assert await client.put_token(target.token(own), f"sb://localhost/{own}") == 202
    await client.open_sender(3, own)
    await client.open_receiver(2, own, 1)
    client.transfer(3, text_message("sane"))
    _, _, payload = await client.next(p.TRANSFER)
    assert body_of(payload) == b"sane"
    await client.close()
