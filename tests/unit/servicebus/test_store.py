"""The file: what is told after a commit, what a reload finds, what happens when the disk fails."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from local.servicebus.amqp.encode import described, encode
from local.servicebus.amqp.message import parse_message
from local.servicebus.broker import Broker
from local.servicebus.clock import Clock
from local.servicebus.entities import QueueProperties
from local.servicebus.queue import Queue
from local.servicebus.store import Store


def opened(path: Path, failures: list[Exception] | None = None) -> Store:
    return Store(path, "NORMAL", (failures if failures is not None else []).append)


def broker_on(store: Store) -> Broker:
    return Broker(store, Clock(), rules=(), hosts=frozenset(), lax=True)


def queue_on(broker: Broker, **properties: object) -> Queue:
    queue = Queue(0, "q", QueueProperties(**properties))  # type: ignore[arg-type]
    broker.store.insert_queue(queue)
    broker.adopt(queue)
    return queue


def text(body: str):  # type: ignore[no-untyped-def]
    return parse_message(described(0x75, encode(body.encode())))


async def turn() -> None:
    """Let the turn end and its commit happen."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_actions_wait_for_the_commit_and_come_in_order(tmp_path: Path) -> None:
    store, told = opened(tmp_path / "s.sqlite"), []
    store.after_commit(lambda: told.append("nothing to wait for"))
    assert told == ["nothing to wait for"]
    queue = Queue(0, "q", QueueProperties())
    store.insert_queue(queue)
    store.after_commit(lambda: told.append("first"))
    store.update_queue(queue)
    store.after_commit(lambda: told.append("second"))
    assert told == ["nothing to wait for"]
    await turn()
    assert told[1:] == ["first", "second"]
    assert store.commits == 1
    store.close()


async def test_a_reload_finds_what_was_committed_with_bodies_left_on_disk(tmp_path: Path) -> None:
    store = opened(tmp_path / "s.sqlite")
    broker = broker_on(store)
    queue = queue_on(broker)
    broker.accept(queue, [text("one"), text("two")])
    await turn()
    store.close()
    again = opened(tmp_path / "s.sqlite")
    found = broker_on(again).find("Q")
    assert found is not None
    assert sorted(found.messages) == [1, 2]
    message = found.messages[2]
    assert message.bare is None
    assert again.body(message) == text("two").bare
    assert found.size == queue.size
    assert found.next_sequence > 2
    again.close()


async def test_numbers_are_never_given_twice_even_when_all_messages_are_gone(tmp_path: Path) -> None:
    store = opened(tmp_path / "s.sqlite")
    broker = broker_on(store)
    queue = queue_on(broker)
    (message,) = broker.accept(queue, [text("one")])
    broker.drop(queue, message)
    await turn()
    store.close()
    again = opened(tmp_path / "s.sqlite")
    other = broker_on(again)
    found = other.find("q")
    assert found is not None
    (later,) = other.accept(found, [text("two")])
    assert later.sequence > message.sequence
    await turn()
    again.close()


async def test_when_the_disk_fails_nobody_is_told_that_all_is_well(tmp_path: Path) -> None:
    failures: list[Exception] = []
    store = opened(tmp_path / "s.sqlite", failures)
    broker = broker_on(store)
    queue = queue_on(broker)
    await turn()
    pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
    store.connection.execute(f"PRAGMA max_page_count={pages}")  # the disk is full from here on
    told: list[str] = []
    with pytest.raises(sqlite3.OperationalError):
        broker.accept(queue, [text("x" * 100_000)])
    store.after_commit(lambda: told.append("acknowledged"))
    assert failures
    store.connection.close()
    assert told == []
