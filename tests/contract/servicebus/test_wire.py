"""What other AMQP 1.0 clients than the SDK may do, said with bare frames."""

from __future__ import annotations

import asyncio

import pytest

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.decode import decode
from local.servicebus.amqp.encode import described, encode, encode_list
from local.servicebus.amqp.frames import frame
from local.servicebus.amqp.message import sections
from local.servicebus.amqp.types import Described, Symbol, UInt
from tests.contract.servicebus.target import Queues, Target
from tests.contract.servicebus.test_faults import ask
from tests.contract.servicebus.wire import WireClient, body_of, text_message

pytestmark = pytest.mark.local_only


@pytest.fixture(autouse=True)
def _local(needs) -> None:  # type: ignore[no-untyped-def]
    needs("lax")


async def opened(target: Target, queue: str, credit: int = 0) -> WireClient:
    """Sender on handle 2, receiver on handle 3."""
    client = await WireClient.connect(target.ports["amqp"])
    assert await client.put_token(target.token(queue), f"sb://localhost/{queue}") == 202
    await client.open_sender(2, queue)
    await client.open_receiver(3, queue, credit)
    return client


def section(payload: bytes, code: int) -> object:
    return next((decode(payload, at)[0] for found, _, at in sections(payload) if found == code), None)


async def test_transactions_are_refused(target: Target, queues: Queues) -> None:
    client = await opened(target, queues.make())
    target_ = described(p.COORDINATOR, encode_list([]))
    client.send_frame(p.attach("tx", 7, p.SENDER, snd=0, rcv=0, source=b"\x40", target=target_, max_message_size=None))
    _, fields, _ = await client.next(p.ATTACH)
    assert fields[5:7] == [None, None]
    _, fields, _ = await client.next(p.DETACH)
    assert isinstance(fields[2], Described)
    assert fields[2].value[0] == "amqp:not-implemented"
    await client.close()


async def test_released_is_not_counted_and_modified_is(target: Target, queues: Queues) -> None:
    client = await opened(target, queues.make(), 1)
    client.transfer(2, text_message("x"))
    counts = []
    changed = encode_list([b"\x41", b"\x42", encode({Symbol("tried-by"): "me"})])
    outcomes = [p.RELEASED_STATE, described(p.MODIFIED, changed), p.ACCEPTED_STATE]
    for number, outcome in enumerate(outcomes):
        _, fields, payload = await client.next(p.TRANSFER)
        header = section(payload, 0x70)
        assert isinstance(header, list)
        counts.append(header[4])
        client.settle(fields[1], outcome)
        client.flow(3, 1, number + 1)
    assert counts == [0, 0, 1]
    assert section(payload, 0x74) == {"tried-by": "me"}
    await client.close()


async def test_a_drained_receiver_is_told_that_its_credit_is_gone(target: Target, queues: Queues) -> None:
    client = await opened(target, queues.make())
    client.transfer(2, text_message("only"))
    await client.next(p.DISPOSITION)
    client.flow(3, 10, drain=True)
    _, fields, payload = await client.next(p.TRANSFER)
    assert body_of(payload) == b"only"
    _, fields, _ = await client.next(p.FLOW)
    assert fields[4:7] == [3, 10, 0]
    await client.close()


async def test_a_message_in_many_small_frames_and_one_that_is_given_up(target: Target, queues: Queues) -> None:
    client = await opened(target, queues.make(), 5)
    whole = text_message(bytes(range(256)) * 40)
    for start in range(0, len(whole), 1000):
        more = start + 1000 < len(whole)
        client.send_frame(p.transfer(2, 100, bytes(16), settled=False, more=more) + whole[start : start + 1000])
    _, _, payload = await client.next(p.TRANSFER)
    assert body_of(payload) == bytes(range(256)) * 40
    client.send_frame(p.transfer(2, 101, bytes(16), settled=False, more=True) + b"junk")
    client.send_frame(p.transfer(2, 101, bytes(16), settled=False, more=False)[:-2] + b"\x41\x42")  # aborted
    client.transfer(2, text_message("next"))
    _, _, payload = await client.next(p.TRANSFER)
    assert body_of(payload) == b"next"
    await client.close()


async def test_a_message_that_is_no_message_is_rejected_and_the_link_lives(target: Target, queues: Queues) -> None:
    client = await opened(target, queues.make(), 5)
    client.transfer(2, b"not sections at all")
    _, fields, _ = await client.next(p.DISPOSITION)
    state = fields[4]
    assert isinstance(state, Described)
    assert state.descriptor == p.REJECTED
    assert len(state.value[0].value) == 3
    client.transfer(2, text_message("fine"))
    _, _, payload = await client.next(p.TRANSFER)
    assert body_of(payload) == b"fine"
    await client.close()


async def test_frames_for_channels_that_are_not_open_are_passed_over(target: Target, queues: Queues) -> None:
    client = await opened(target, queues.make(), 5)
    client.write(frame(9, p.detach(4, closed=True)))
    client.write(frame(9, p.flow(next_incoming=0, incoming_window=1, next_outgoing=0, outgoing_window=1)))
    client.transfer(2, text_message("still here"))
    _, _, payload = await client.next(p.TRANSFER)
    assert body_of(payload) == b"still here"
    await client.close()


async def test_a_closed_session_window_holds_deliveries_back(target: Target, queues: Queues) -> None:
    client = await opened(target, queues.make())

    def window(size: int, credit: int) -> bytes:
        link = (3, 0, credit)
        return p.flow(next_incoming=0, incoming_window=size, next_outgoing=0, outgoing_window=100, link=link)

    for text in ("a", "b", "c"):
        client.transfer(2, text_message(text))
        await client.next(p.DISPOSITION)
    # One reply of put-token was a transfer too: the window counts from the session's beginning.
    client.send_frame(window(3, 10))
    got = [body_of((await client.next(p.TRANSFER))[2]) for _ in range(2)]
    assert got == [b"a", b"b"]
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.next(p.TRANSFER), 0.3)
    client.send_frame(window(10, 10))
    assert body_of((await client.next(p.TRANSFER))[2]) == b"c"
    await client.close()


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a second open", p.open_("again", max_frame=512, channel_max=1, idle_ms=0)),
        ("a channel in use", described(p.BEGIN, encode_list([b"\x40", *(encode(UInt(1)),) * 3]))),
        ("a handle in use", p.attach("x", 2, p.SENDER, snd=0, rcv=0, source=b"\x40", target=b"\x40", max_message_size=None)),
        ("a flow without a window", described(p.FLOW, encode_list([b"\x40"] * 5))),
        ("a transfer without an id", described(p.TRANSFER, encode_list([encode(UInt(2))]))),
    ],
)  # fmt: skip
async def test_a_broken_protocol_ends_the_connection_with_a_reason(
    target: Target, queues: Queues, name: str, body: bytes
) -> None:
    client = await opened(target, queues.make())
    client.write(frame(1, body))
    with pytest.raises(ConnectionError, match="amqp:"):
        await client.next(p.CLOSE + 1)


async def test_a_rules_name_and_key_open_by_sasl_plain(target: Target, queues: Queues) -> None:
    queue = queues.make()
    client = await WireClient.connect(target.ports["amqp"], login="RootManageSharedAccessKey:test-key")
    await client.open_sender(2, queue)
    client.transfer(2, text_message("x"))
    _, fields, _ = await client.next(p.DISPOSITION)
    assert isinstance(fields[4], Described)
    assert fields[4].descriptor == p.ACCEPTED
    await client.close()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await WireClient.connect(target.ports["amqp"], login="RootManageSharedAccessKey:wrong")


async def test_who_authenticates_nothing_is_shown_out_after_twenty_seconds(target: Target) -> None:
    client = await WireClient.connect(target.ports["amqp"])
    ask(target, "faults", {"clock_offset_ms": 21_000})
    try:
        with pytest.raises(ConnectionError, match="unauthorized"):
            await client.next(p.END)
    finally:
        ask(target, "faults", {"clock_offset_ms": 0})
