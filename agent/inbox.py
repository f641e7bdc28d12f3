"""What happens to a message that comes in: judged, written down, acknowledged, worked on. In this order.

queue      agent                                disk
  ──msg──▶ signature, form, age, node, revision
           ───────────────── command ─────────▶ journal        a crash before this: the message comes again
  ◀─complete                                                   a crash before this: it comes again, and is known
           handler works ... ───── outcome+report ▶ journal    a crash before this: the handler is called again
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from agent.context import Handler
from agent.identity import TrustedKey
from agent.outbox import Outbox
from agent.storage import Storage
from shared.messaging import codec, jws
from shared.messaging.commands import COMMAND_KIND, Command, CommandType, open_command
from shared.messaging.limits import CLOCK_LEEWAY, MAX_ENVELOPE_BYTES, MAX_PAYLOAD_BYTES
from shared.messaging.reports import Outcome, Status

log = logging.getLogger("meridian.agent")
MAX_AT_WORK: Final = 64
AGAIN_SECONDS: Final = 10.0


class Refusal(StrEnum):
    """Why a command is not carried out; stable codes."""

    MALFORMED = "malformed"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_TYPE = "unknown_type"
    OTHER_NODE = "other_node"
    EXPIRED = "expired"
    FROM_THE_FUTURE = "from_the_future"
    STALE_REVISION = "stale_revision"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Refused(Exception):
    """A command that is not carried out."""

    code: Refusal
    reason: str


def judge(
    command: Command, *, org_id: str, node_id: str, now: datetime, applied_revision: int, known: frozenset[CommandType]
) -> None:
    """Hold a command, whose signature fits, against what this node accepts.

    Raises:
        Refused: with the first reason found.
    """
    if (command.org_id, command.node_id) != (org_id, node_id):
        raise Refused(Refusal.OTHER_NODE, f"it is for node {command.node_id} of {command.org_id}")
    if now >= command.expires_at:
        late = (now - command.expires_at).total_seconds()
        raise Refused(Refusal.EXPIRED, f"it expired {late:.0f} s ago")
    if command.issued_at - now > CLOCK_LEEWAY:
        early = (command.issued_at - now).total_seconds()
        raise Refused(
            Refusal.FROM_THE_FUTURE, f"issued {early:.0f} s from now, {CLOCK_LEEWAY.total_seconds():.0f} s are allowed"
        )
    if command.type not in known:
        raise Refused(Refusal.UNSUPPORTED, f"this agent does not do {command.type}")
    if command.type.changes_desired_state and command.desired_revision < applied_revision:
        raise Refused(
            Refusal.STALE_REVISION, f"it asks for revision {command.desired_revision}, {applied_revision} is applied"
        )


class Inbox:
    """Takes messages, and works on what they ask."""

    def __init__(
        self,
        storage: Storage,
        outbox: Outbox,
        org_id: str,
        node_id: str,
        handlers: Mapping[CommandType, Handler],
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._storage, self._outbox = storage, outbox
        self._org_id, self._node_id = org_id, node_id
        self._handlers = handlers
        self._now = now or (lambda: datetime.now(UTC))
        self._at_work: dict[str, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(MAX_AT_WORK)
        self.keys: Mapping[str, TrustedKey] = {}

    @property
    def at_work(self) -> int:
        """How many commands are being carried out."""
        return len(self._at_work)

    def resume(self) -> None:
        """Take up commands that had been accepted when the agent ended.

        One that cannot be read was accepted by a newer release that was taken back: whoever waits for it is told.
        """
        for stored in self._storage.open_commands():
            try:
                command = codec.from_json(Command, stored.content, MAX_PAYLOAD_BYTES)
            except codec.WireError as error:
                stub = _stub(stored.content.encode())
                if stub is not None:
                    self._outbox.end(stub, Outcome(Status.REJECTED, Refusal.UNSUPPORTED, str(error)))
                continue
            self._begin(command)

    def take(self, body: bytes) -> None:
        """Judge a message and write it down; when this returns, the message may be acknowledged.

        Never raises for what a message holds: whatever is wrong with it is reported.
        """
        try:
            command = self._open(body)
        except Refused as refusal:
            self._report_refusal(refusal, body)
            return
        stored = self._storage.command(command.id)
        if stored is not None:
            self._repeat(command, stored.outcome)
            return
        try:
            self._judge(command)
        except Refused as refusal:
            log.warning("refused %s %s: %s", command.type, command.id, refusal.reason)
            self._refuse(command, refusal)
            return
        if self._storage.add_command(command.id, command.server_id, codec.to_json(command).decode()):
            self._begin(command)

    def _open(self, body: bytes) -> Command:
        if len(body) > MAX_ENVELOPE_BYTES:
            raise Refused(Refusal.MALFORMED, f"{len(body)} bytes are more than the {MAX_ENVELOPE_BYTES} allowed")
        try:
            return open_command(body.decode("latin-1"), self._find_key)
        except jws.SignatureError as error:
            raise Refused(Refusal.BAD_SIGNATURE, str(error)) from None
        except codec.WireError as error:
            code = Refusal.UNKNOWN_TYPE if "CommandType" in str(error) else Refusal.MALFORMED
            raise Refused(code, str(error)) from None

    def _find_key(self, key_id: str) -> jws.PublicKey | None:
        trusted = self.keys.get(key_id)
        return trusted.key if trusted is not None and self._now() <= trusted.not_after else None

    def _judge(self, command: Command) -> None:
        applied = self._storage.applied_revision(command.server_id) if command.server_id else 0
        judge(
            command,
            org_id=self._org_id,
            node_id=self._node_id,
            now=self._now(),
            applied_revision=applied,
            known=frozenset(self._handlers),
        )

    def _report_refusal(self, refusal: Refused, body: bytes) -> None:
        """Nothing of the content is believed or repeated: its digest and size tell enough to find it."""
        digest = hashlib.sha256(body).hexdigest()[:16]
        log.warning("refused a message of %d bytes (sha256 %s...): %s", len(body), digest, refusal.reason)
        detail = f"{refusal.code}: {refusal.reason} ({len(body)} bytes, sha256 {digest}...)"
        if refusal.code is Refusal.UNKNOWN_TYPE and (command := _signed_stub(body)) is not None:
            self._refuse(command, refusal)  # its signature fits: whoever waits for it is told
            return
        self._outbox.event("command_refused", detail)

    def _refuse(self, command: Command, refusal: Refused) -> None:
        now = self._now()
        outcome = Outcome(Status.REJECTED, refusal.code, refusal.reason, started_at=now, ended_at=now)
        if refusal.code is Refusal.OTHER_NODE:
            self._outbox.event("command_refused", f"{refusal.code}: {refusal.reason} (command {command.id})")
            return
        self._storage.add_command(command.id, command.server_id, codec.to_json(command).decode())
        self._outbox.end(command, outcome)

    def _repeat(self, command: Command, outcome: str | None) -> None:
        """It is known: at work, or ended, and then its outcome is told once more."""
        if outcome is not None:
            self._outbox.repeat(command, codec.from_wire(Outcome, json.loads(outcome)))

    def _begin(self, command: Command) -> None:
        task = asyncio.create_task(self._work(command), name=f"command {command.id}")
        self._at_work[command.id] = task
        task.add_done_callback(lambda _: self._at_work.pop(command.id, None))

    async def _work(self, command: Command) -> None:
        started = self._now()
        handler = self._handlers.get(command.type, _unsupported)
        async with self._room:
            try:
                outcome = await handler(command)
            except asyncio.CancelledError:
                raise  # the agent ends; the command stays open and is taken up again
            except codec.WireError as error:
                outcome = Outcome(Status.REJECTED, Refusal.MALFORMED, str(error))
            except Exception as error:  # whatever a handler fails of must end the command, or its task waits for ever
                log.exception("%s %s failed", command.type, command.id)
                outcome = Outcome(Status.FAILED, "handler_failed", f"{type(error).__name__}: {error}"[:2000])
        await self._end(command, _timed(outcome, started, self._now()))

    async def _end(self, command: Command, outcome: Outcome) -> None:
        """Write the end down; while the disk is full, try again and again: the outcome is known, and must not be lost."""
        while True:
            try:
                self._outbox.end(command, outcome)
                return
            except sqlite3.Error as error:
                log.error("the end of %s cannot be written down: %s", command.id, error)  # noqa: TRY400
            await asyncio.sleep(AGAIN_SECONDS)

    async def close(self) -> None:
        """Stop working; what is open stays open in the journal."""
        tasks = tuple(self._at_work.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _unsupported(command: Command) -> Outcome:
    """Accepted by an agent that did it, and taken up by one that does not: an update was taken back, say."""
    return Outcome(Status.REJECTED, Refusal.UNSUPPORTED, f"this agent does not do {command.type}")


def _timed(outcome: Outcome, started: datetime, ended: datetime) -> Outcome:
    return Outcome(
        outcome.status,
        outcome.code,
        outcome.detail,
        outcome.started_at or started,
        outcome.ended_at or ended,
        outcome.result,
        outcome.output_tail,
    )


def _signed_stub(body: bytes) -> Command | None:
    """A command of a type from the future, as far as it can be read, to answer to whoever waits for it."""
    try:
        header, content = jws.peek(body.decode("latin-1"), MAX_ENVELOPE_BYTES)
    except jws.SignatureError:
        return None
    return _stub(content) if header.kind == COMMAND_KIND else None


def _stub(content: bytes) -> Command | None:
    """Who waits for a command, of whatever type it is."""
    try:
        raw = codec.load_json(content, MAX_PAYLOAD_BYTES)
        return codec.from_wire(Command, {**raw, "type": CommandType.NODE_PING.value, "payload": {}})
    except (codec.WireError, TypeError):
        return None
