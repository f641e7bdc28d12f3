"""Commands as an enemy would send them: each refused, reported and harmless."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.identity import TrustedKey
from agent.inbox import Inbox
from agent.outbox import Outbox
from agent.storage import Storage
from shared.messaging import codec, jws
from shared.messaging.commands import Command, CommandType, Order, build_command, seal_command
from shared.messaging.limits import MAX_ENVELOPE_BYTES, MAX_PAYLOAD_BYTES
from shared.messaging.reports import Outcome, Report, Status

NOW = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


class Desk:
    """An inbox with a handler that remembers what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.storage = Storage(folder / "agent.db")
        self.outbox = Outbox(self.storage, "org_1", "nod_1", lambda: NOW)
        self.done: list[Command] = []
        self.gate = asyncio.Event()
        self.gate.set()
        handlers = {CommandType.SERVER_APPLY: self.handle, CommandType.NODE_PING: self.handle}
        self.inbox = Inbox(self.storage, self.outbox, "org_1", "nod_1", handlers, lambda: NOW)
        self.inbox.keys = {"k1": TrustedKey("k1", KEY.public_key(), NOW + timedelta(days=1))}

    async def handle(self, command: Command) -> Outcome:
        await self.gate.wait()
        self.done.append(command)
        if command.payload.get("fail"):
            raise RuntimeError("the disk is on fire")
        return Outcome(Status.SUCCEEDED, detail=command.payload.get("long", ""))

    async def take(self, body: str | bytes) -> list[Report]:
        """Hand a message in, wait until nothing is at work, and give back all that was reported."""
        self.inbox.take(body if isinstance(body, bytes) else body.encode())
        while self.inbox.at_work:
            await asyncio.sleep(0)
        return self.reports()

    def reports(self) -> list[Report]:
        return [codec.from_json(Report, content, MAX_ENVELOPE_BYTES) for _, content in self.storage.reports(1000)]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    await desk.inbox.close()
    desk.storage.close()


def a_command(step: str = "start", **changes: Any) -> Command:
    order = Order(CommandType.SERVER_APPLY, step, server_id="srv_1", desired_revision=3)
    return dataclasses.replace(build_command(order, "org_1", "nod_1", "tsk_1", NOW, None), **changes)


def sealed(command: Command, key: jws.PrivateKey = KEY, key_id: str = "k1") -> str:
    return seal_command(command, key, key_id)


async def test_a_good_command_is_done_once_and_reported_once(desk: Desk) -> None:
    reports = await desk.take(sealed(a_command()))
    assert [command.id for command in desk.done] == [a_command().id]
    assert [(report.command_id, report.payload["status"]) for report in reports] == [(a_command().id, "succeeded")]
    assert reports[0].task_id == "tsk_1"


async def test_a_repeated_command_is_not_done_again_and_tells_the_earlier_outcome(desk: Desk) -> None:
    await desk.take(sealed(a_command()))
    reports = await desk.take(sealed(a_command()))
    assert len(desk.done) == 1
    assert [report.payload for report in reports] == [reports[0].payload] * 2


def wire(**changes: Any) -> bytes:
    return json.dumps({**codec.to_wire(a_command()), **changes}).encode()


def raw(content: bytes) -> str:
    return jws.sign(content, KEY, "meridian-command+jws", "k1")


HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "expired": (sealed(a_command(issued_at=NOW - timedelta(hours=2), expires_at=NOW - timedelta(hours=1))), "expired"),
    "ends this very moment": (sealed(a_command(issued_at=NOW - timedelta(hours=2), expires_at=NOW)), "expired"),
    "from the future": (
        sealed(a_command(issued_at=NOW + timedelta(seconds=121), expires_at=NOW + timedelta(hours=1))),
        "from_the_future",
    ),
    "for another node": (sealed(a_command(node_id="nod_2")), "other_node"),
    "for another organization": (sealed(a_command(org_id="org_2")), "other_node"),
    "re-signed by another key": (sealed(a_command(), OTHER, "k1"), "bad_signature"),
    "by an unknown key": (sealed(a_command(), OTHER, "k2"), "bad_signature"),
    "signed by nobody": (".".join([*sealed(a_command()).split(".")[:2], ""]), "bad_signature"),
    "a type that does not exist": (raw(wire(type="server.shell", payload={"run": "rm -rf /"})), "unknown_type"),
    "a type this agent does not do": (sealed(a_command(type=CommandType.SERVER_WATCH)), "unsupported"),
    "not a command": (raw(b"[]"), "malformed"),
    "no JSON": (raw(b"{"), "malformed"),
    "too deep": (raw(b'{"a":' * 1000 + b"1" + b"}" * 1000), "malformed"),
    "oversized": ("A" * (MAX_ENVELOPE_BYTES + 1), "malformed"),
    "lives for ever": (raw(wire(expires_at="2036-01-01T00:00:00Z")), "malformed"),
    "bytes": (bytes(range(256)) * 10, "bad_signature"),
    "empty": (b"", "bad_signature"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_message_is_refused_and_reported_and_does_nothing(desk: Desk, name: str) -> None:
    body, code = HOSTILE[name]
    reports = await desk.take(body)
    assert desk.done == []
    assert len(reports) == 1
    payload = reports[0].payload
    if reports[0].command_id:
        assert (payload["status"], payload["code"]) == ("rejected", code)
        assert payload["detail"]
    else:
        assert payload["code"] == "command_refused"
        assert payload["detail"].startswith(f"{code}: ")
        assert "rm -rf" not in payload["detail"]


async def test_an_older_revision_cannot_undo_a_newer_one(desk: Desk) -> None:
    desk.storage.put_server("srv_1", 5, "{}")
    reports = await desk.take(sealed(a_command()))
    assert desk.done == []
    assert reports[0].payload["code"] == "stale_revision"
    assert "revision 3, 5 is applied" in reports[0].payload["detail"]


async def test_a_removed_server_does_not_come_back(desk: Desk) -> None:
    desk.storage.put_server("srv_1", 5, "{}")
    desk.storage.drop_server("srv_1")
    assert (await desk.take(sealed(a_command())))[0].payload["code"] == "stale_revision"


async def test_a_key_whose_certificate_has_ended_signs_nothing(desk: Desk) -> None:
    desk.inbox.keys = {"k1": TrustedKey("k1", KEY.public_key(), NOW - timedelta(seconds=1))}
    assert "bad_signature" in (await desk.take(sealed(a_command())))[0].payload["detail"]


async def test_a_handler_that_fails_ends_the_command(desk: Desk) -> None:
    reports = await desk.take(sealed(a_command(payload={"fail": True})))
    assert reports[0].payload["code"] == "handler_failed"
    assert "on fire" in reports[0].payload["detail"]


async def test_a_command_in_work_when_the_agent_ends_is_taken_up_and_ends_once(desk: Desk, tmp_path: Path) -> None:
    desk.gate.clear()
    desk.inbox.take(sealed(a_command()).encode())
    await asyncio.sleep(0.01)
    await desk.inbox.close()
    assert desk.reports() == []
    desk.storage.close()

    again = Desk(tmp_path)
    again.inbox.resume()
    while again.inbox.at_work:
        await asyncio.sleep(0)
    assert [command.id for command in again.done] == [a_command().id]
    assert len(again.reports()) == 1
    again.inbox.resume()
    assert again.inbox.at_work == 0
    await again.inbox.close()
    again.storage.close()


async def test_a_hundred_commands_at_once_all_end(desk: Desk) -> None:
    for number in range(200):
        desk.inbox.take(sealed(a_command(f"step{number}")).encode())
    while desk.inbox.at_work:
        await asyncio.sleep(0)
    assert len(desk.done) == len(desk.reports()) == 200


def fill_the_disk(storage: Storage) -> None:
    """SQLite's own limit: what needs a new page fails as it does on a full disk."""
    storage._db.execute(f"PRAGMA max_page_count={storage._one('PRAGMA page_count')}")


def make_room(storage: Storage) -> None:
    storage._db.execute("PRAGMA max_page_count=1000000")


async def test_with_the_disk_full_nothing_is_acknowledged_and_nothing_dies(desk: Desk) -> None:
    fill_the_disk(desk.storage)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        desk.inbox.take(
            sealed(a_command(payload={"long": "x" * 20_000})).encode()
        )  # the link lets the message come again
    assert desk.done == []
    for _ in range(10):
        desk.outbox.event("test", "x" * 2000)  # lost, and logged
    assert len(desk.reports()) < 10
    waiting = [sequence for sequence, _ in desk.storage.reports(10)]
    desk.storage.delivered(waiting[0], waiting[-1])
    make_room(desk.storage)
    reports = await desk.take(sealed(a_command()))
    assert [report.payload["status"] for report in reports] == ["succeeded"]


async def test_an_end_that_cannot_be_written_down_is_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.inbox.AGAIN_SECONDS", 0.05)
    desk.gate.clear()
    desk.inbox.take(sealed(a_command(payload={"long": "x" * 20_000})).encode())
    await asyncio.sleep(0)
    fill_the_disk(desk.storage)
    desk.gate.set()
    await asyncio.sleep(0.2)
    assert desk.inbox.at_work == 1
    make_room(desk.storage)
    while desk.inbox.at_work:
        await asyncio.sleep(0.02)
    assert [report.payload["status"] for report in desk.reports()] == ["succeeded"]


async def test_a_command_of_a_newer_release_that_was_taken_back_is_ended(desk: Desk) -> None:
    raw = json.loads(codec.to_json(a_command())) | {"type": "server.sing"}
    desk.storage.add_command(raw["id"], "srv_1", json.dumps(raw))
    desk.storage.add_command("cmd_torn", None, "{")
    desk.inbox.resume()
    assert [(one.command_id, one.payload["code"]) for one in desk.reports()] == [(raw["id"], "unsupported")]


@pytest.mark.parametrize("server_id", ["../releases", "a/b", ".", "..", "srv 1", "", "-rf", "srv_1\n"])
async def test_a_server_that_is_a_path_is_refused(desk: Desk, server_id: str) -> None:
    raw = json.loads(codec.to_json(a_command())) | {"server_id": server_id}
    envelope = jws.sign(json.dumps(raw).encode(), KEY, "meridian-command+jws", "k1")
    reports = await desk.take(envelope)
    assert [report.payload["code"] for report in reports] == ["command_refused"]
    assert "malformed" in reports[0].payload["detail"]
    assert desk.done == []


def test_whatever_a_game_prints_fits_into_a_message(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "agent.db")
    outbox = Outbox(storage, "org_1", "nod_1")
    lines = tuple("\U0001f525" * 16_000 for _ in range(1000))
    outcome = Outcome(Status.FAILED, "ended_before_ready", "why", output_tail=lines, result={"step": {"output": lines}})
    command = a_command()
    storage.add_command(command.id, "srv_1", "{}")
    outbox.end(command, outcome)
    ((_, content),) = storage.reports(10)
    assert len(content.encode()) <= MAX_PAYLOAD_BYTES
    assert codec.from_json(Report, content, MAX_PAYLOAD_BYTES).payload["code"] == "ended_before_ready"
    storage.close()
