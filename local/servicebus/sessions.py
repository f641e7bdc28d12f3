"""Message sessions: who holds which session, until when, and who waits for the next free one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from local.servicebus.amqp import performatives as p
from local.servicebus.amqp.encode import described, encode_list
from local.servicebus.amqp.encode import encode as enc
from local.servicebus.amqp.types import Described, Symbol, UInt
from local.servicebus.links import OutgoingLink, refuse
from local.servicebus.queue import Queue, SessionState
from local.servicebus.queue_links import QueueSource
from local.servicebus.settle import SESSION_LOST

if TYPE_CHECKING:
    from local.servicebus.broker import Broker
    from local.servicebus.session import Session

FILTER = Symbol("com.microsoft:session-filter")
TIMEOUT_PROPERTY = "com.microsoft:timeout"
DEFAULT_WAIT_MS = 60_000
MAX_STATE_BYTES = 262_144
_EPOCH_MS = 62_135_596_800_000  # from year 1, where .NET's ticks begin


_NONE_FREE = p.AmqpError("com.microsoft:timeout", "no session became available in time")


class WaitingLink(OutgoingLink):
    """An attach for the next available session that has not been answered yet."""

    right = "Listen"

    def __init__(
        self, session: Session, handle: int, name: str, queue: Queue, *, settles: bool, target: bytes, address: str
    ) -> None:
        super().__init__(session, handle, name, address)
        self.queue, self.settles, self.target = queue, settles, target
        self.timer: asyncio.TimerHandle | None = None

    def fail(self, error: p.AmqpError) -> None:
        """Its attach was not answered yet: answer it with a refusal."""
        self.session.remove(self)
        refuse(self.session, self.name, self.handle, role=p.RECEIVER, error=error)

    def drop(self) -> None:
        """No longer waiting."""
        self.attached = False
        if self.timer is not None:
            self.timer.cancel()
        self.session.broker.sessions.forget(self)


class Sessions:
    """The sessions of all queues."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._waiting: dict[Queue, dict[WaitingLink, None]] = {}
        self._timers: dict[SessionState, asyncio.TimerHandle] = {}

    # -- attaching -------------------------------------------------------------------------------------------------

    def attach(
        self,
        session: Session,
        name: str,
        handle: int,
        fields: list[object],
        queue: Queue,
        *,
        settles: bool,
        target: bytes,
    ) -> None:
        """Attach a receiver to a named session or to the next available one.

        Raises:
            AmqpError: the queue has no sessions, the receiver asks for none, or the session is taken.
        """
        origin = p.terminus_fields(fields[5], p.SOURCE, 11)
        assert origin is not None
        address, filters = str(origin[0]), origin[7]
        if not queue.has_sessions:
            raise p.AmqpError("amqp:not-allowed", f"'{queue.name}' has no sessions: open it without a session id")
        if not isinstance(filters, dict) or FILTER not in filters:
            raise p.AmqpError("amqp:not-allowed", f"'{queue.name}' requires sessions: open it with a session id")
        wanted = filters[FILTER]
        if isinstance(wanted, Described):
            wanted = wanted.value
        link = WaitingLink(session, handle, name, queue, settles=settles, target=target, address=address)
        if isinstance(wanted, str):
            state = queue.session(wanted)
            if state.holder is not None:
                raise p.AmqpError(
                    "com.microsoft:session-cannot-be-locked", f"session '{wanted}' is held by another receiver"
                )
            self._lock(link, wanted)
            return
        free = self._next_free(queue)
        if free is not None:
            self._lock(link, free)
            return
        self._wait(link, fields[13])

    def _wait(self, link: WaitingLink, properties: object) -> None:
        patience = properties.get(TIMEOUT_PROPERTY) if isinstance(properties, dict) else None
        milliseconds = patience if isinstance(patience, int) and 0 < patience < 1 << 31 else DEFAULT_WAIT_MS
        link.session.outgoing[link.handle] = link
        self._waiting.setdefault(link.queue, {})[link] = None
        link.timer = asyncio.get_running_loop().call_later(milliseconds / 1000, link.fail, _NONE_FREE)

    def forget(self, link: WaitingLink) -> None:
        """A waiting receiver is gone."""
        waiting = self._waiting.get(link.queue, {})
        waiting.pop(link, None)
        if not waiting:
            self._waiting.pop(link.queue, None)

    def _next_free(self, queue: Queue) -> str | None:
        for name, state in queue.sessions.items():
            if state.holder is None and queue.has_ready(state.lane):
                return name
        return None

    def offer(self, queue: Queue) -> None:
        """Give free sessions with messages to who waits."""
        while waiting := self._waiting.get(queue):
            free = self._next_free(queue)
            if free is None:
                return
            link = next(iter(waiting))
            link.session.outgoing.pop(link.handle, None)
            link.drop()
            self._lock(link, free)

    def _lock(self, waited: WaitingLink, session_id: str) -> None:
        session, queue = waited.session, waited.queue
        state = queue.session(session_id)
        source = QueueSource(
            session, waited.handle, waited.name, waited.address, queue, state.lane, settles=waited.settles
        )
        source.session_id = session_id
        state.holder = source
        state.locked_until = self.broker.clock.ms() + queue.properties.lock_duration_ms
        self._arm(queue, session_id, state)
        session.outgoing[waited.handle] = source
        filters = {FILTER: Described(FILTER, session_id)}
        origin = (enc(waited.address), enc(UInt(0)), *(b"\x40",) * 5, enc(filters), *(b"\x40",) * 3)
        snd, rcv = (0, 1) if waited.settles else (1, 0)
        session.send(
            p.attach(
                waited.name,
                waited.handle,
                p.SENDER,
                snd=snd,
                rcv=rcv,
                source=described(p.SOURCE, encode_list(origin)),
                target=waited.target,
                max_message_size=None,
                properties={Symbol("com.microsoft:locked-until-utc"): (state.locked_until + _EPOCH_MS) * 10_000},
            )
        )

    # -- holding ---------------------------------------------------------------------------------------------------

    def _arm(self, queue: Queue, session_id: str, state: SessionState) -> None:
        old = self._timers.pop(state, None)
        if old is not None:
            old.cancel()
        delay = max(0, state.locked_until - self.broker.clock.ms()) / 1000
        self._timers[state] = asyncio.get_running_loop().call_later(delay, self._expired, queue, session_id, state)

    def _expired(self, queue: Queue, session_id: str, state: SessionState) -> None:
        if state.holder is None:
            return
        if state.locked_until > self.broker.clock.ms():
            self._arm(queue, session_id, state)
            return
        holder = state.holder
        assert isinstance(holder, QueueSource)
        self._let_go(queue, session_id, state, count=True)
        holder.session_id = None
        holder.fail(SESSION_LOST)

    def release(self, source: QueueSource) -> None:
        """A session's receiver is gone: the session is free at once."""
        name = source.session_id
        state = source.queue.sessions.get(name) if name is not None else None
        if name is not None and state is not None and state.holder is source:
            self._let_go(source.queue, name, state, count=False)

    def _let_go(self, queue: Queue, session_id: str, state: SessionState, *, count: bool) -> None:
        state.holder, state.locked_until = None, 0
        timer = self._timers.pop(state, None)
        if timer is not None:
            timer.cancel()
        for message in [one for one in queue.locks.values() if one.session_id == session_id]:
            self.broker.settlement.give_back(queue, message, count=count)
        queue.tidy_session(session_id)
        self.broker.store.after_commit(lambda: self.offer(queue))

    def check_held(self, queue: Queue, session_id: str) -> SessionState:
        """The session, if somebody holds it.

        Raises:
            AmqpError: its lock is lost.
        """
        state = queue.sessions.get(session_id)
        if state is None or state.holder is None or state.locked_until <= self.broker.clock.ms():
            raise SESSION_LOST
        return state

    def renew(self, queue: Queue, session_id: str) -> int:
        """Let the session's lock, and those of its messages, stand for its whole duration from now; the new end."""
        state = self.check_held(queue, session_id)
        state.locked_until = self.broker.clock.ms() + queue.properties.lock_duration_ms
        for message in queue.locks.values():
            if message.session_id == session_id:
                message.locked_until = state.locked_until
        return state.locked_until

    # -- state -----------------------------------------------------------------------------------------------------

    def set_state(self, queue: Queue, session_id: str, state: bytes | None) -> None:
        """Store a session's state.

        Raises:
            AmqpError: it is too large.
        """
        if state is not None and len(state) > MAX_STATE_BYTES:
            text = f"a session's state has at most {MAX_STATE_BYTES} bytes, not {len(state)}"
            raise p.AmqpError("amqp:link:message-size-exceeded", text)
        self.broker.store.set_session_state(queue, session_id, state, self.broker.clock.ms())

    def ids(self, queue: Queue, since: int | None) -> list[str]:
        """Sessions that hold messages or have a state; with `since` (ms), those whose state was set after that."""
        if since is not None:
            return sorted(self.broker.store.session_ids(queue, since))
        found = {name for name, state in queue.sessions.items() if state.messages}
        return sorted(found.union(self.broker.store.session_ids(queue, -1)))
