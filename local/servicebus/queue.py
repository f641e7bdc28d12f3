"""One queue in memory: which message is where, who holds it, what is due when. Knows neither sockets nor files.

Every method takes the time it is to believe (milliseconds). What changes is returned, so that the caller can write the
same change to the store before it tells anybody.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Protocol

from local.servicebus.entities import FOREVER_MS, QueueProperties

ACTIVE, DEFERRED, SCHEDULED = 0, 1, 2
_SLACK = 64  # entries of a heap that are not worth looking for


@dataclass(slots=True, eq=False)
class Message:
    """A stored message. `bare` is absent when the body is left on disk."""

    id: int
    sequence: int
    state: int
    enqueued_at: int
    visible_at: int
    expires_at: int
    ttl_ms: int | None
    delivery_count: int
    size: int
    message_id: str | None
    session_id: str | None
    annotations: bytes
    annotation_count: int
    bare: bytes | None
    token: bytes | None = None
    locked_until: int = 0


class Consumer(Protocol):
    """A receiver that can be handed messages."""

    def wants(self) -> bool:
        """Whether it has credit and its connection takes more bytes."""

    def claim(self) -> None:
        """Use up one credit: a delivery will follow."""

    def deliver(self, message: Message, body: bytes) -> None:
        """Send it. In receive-and-delete mode the message is gone from the queue already."""

    @property
    def settles(self) -> bool:
        """Peek-lock (true) or receive-and-delete."""


class Lane:
    """Messages that may be taken, in order, and who waits for them: one in a queue, or one a session."""

    __slots__ = ("ready", "waiting")

    def __init__(self) -> None:
        self.ready: list[int] = []
        self.waiting: dict[Consumer, None] = {}


@dataclass(slots=True, eq=False)
class SessionState:
    """A session: its lane, its holder and its lock."""

    lane: Lane = field(default_factory=Lane)
    holder: Consumer | None = None
    locked_until: int = 0
    messages: int = 0


class Queue:
    """A queue or a dead-letter queue."""

    def __init__(self, id: int, name: str, properties: QueueProperties, parent: Queue | None = None) -> None:
        self.id, self.name, self.properties, self.parent = id, name, properties, parent
        self.messages: dict[int, Message] = {}
        self.locks: dict[bytes, Message] = {}
        self.lane = Lane()
        self.sessions: dict[str, SessionState] = {}
        self.counts = [0, 0, 0]
        self.size = 0
        self.next_sequence = 1
        self.reserved_sequence = 1
        self.duplicates: dict[str, int] = {}
        self.duplicate_order: list[tuple[int, str]] = []  # a heap: the window may be made shorter
        self.created_at = self.updated_at = self.accessed_at = 0
        self._due_locks: list[tuple[int, int]] = []
        self._due_expiry: list[tuple[int, int]] = []
        self._due_schedule: list[tuple[int, int]] = []
        self.dead_letter: Queue | None = None if parent else Queue(id, f"{name}/$DeadLetterQueue", properties, self)

    @property
    def has_sessions(self) -> bool:
        """Whether messages go by session. A dead-letter queue never does."""
        return self.parent is None and self.properties.requires_session

    # -- entering ------------------------------------------------------------------------------------------------

    def add(self, message: Message) -> None:
        """Take a message in (not yet visible: see `show`)."""
        self.messages[message.sequence] = message
        self.counts[message.state] += 1
        self.size += message.size
        if self.has_sessions and message.session_id is not None:
            self.session(message.session_id).messages += 1
        if message.state == SCHEDULED:
            heapq.heappush(self._due_schedule, (message.visible_at, message.sequence))
        elif self.parent is None and message.expires_at < FOREVER_MS:
            heapq.heappush(self._due_expiry, (message.expires_at, message.sequence))

    def show(self, message: Message) -> Lane | None:
        """Let receivers have an active message that nobody holds. Returns its lane, none if it cannot be had."""
        if message.state != ACTIVE or message.token is not None or self.messages.get(message.sequence) is not message:
            return None
        lane = self.lane_of(message)
        heapq.heappush(lane.ready, message.sequence)
        return lane

    def lane_of(self, message: Message) -> Lane:
        """The lane in which a message waits."""
        if self.has_sessions and message.session_id is not None:
            return self.session(message.session_id).lane
        return self.lane

    def session(self, session_id: str) -> SessionState:
        """The session's state, made at first use."""
        found = self.sessions.get(session_id)
        if found is None:
            found = self.sessions[session_id] = SessionState()
        return found

    def tidy_session(self, session_id: str) -> None:
        """Forget a session that nobody holds and that has no messages."""
        state = self.sessions.get(session_id)
        if state is not None and state.holder is None and state.messages == 0:
            del self.sessions[session_id]

    def has_ready(self, lane: Lane) -> bool:
        """Whether a lane has something to be taken; forgets what has gone from its head."""
        while lane.ready:
            message = self.messages.get(lane.ready[0])
            if message is not None and message.state == ACTIVE and message.token is None:
                return True
            heapq.heappop(lane.ready)
        return False

    def is_duplicate(self, message_id: str, now: int) -> bool:
        """Whether this id was seen within the window."""
        until = self.duplicates.get(message_id)
        return until is not None and until > now

    def remember(self, message_id: str, until: int) -> None:
        """Note an id for duplicate detection."""
        self.duplicates[message_id] = until
        heapq.heappush(self.duplicate_order, (until, message_id))

    def forget_duplicates(self, now: int) -> list[str]:
        """Drop the ids whose window is over; returns them."""
        gone = []
        while self.duplicate_order and self.duplicate_order[0][0] <= now:
            _, message_id = heapq.heappop(self.duplicate_order)
            if self.duplicates.get(message_id, now + 1) <= now:
                del self.duplicates[message_id]
                gone.append(message_id)
        return gone

    # -- taking --------------------------------------------------------------------------------------------------

    def take(self, lane: Lane, now: int) -> Message | None:
        """The next message that may be had. Expired ones stay for `expired` to find."""
        ready = lane.ready
        while ready:
            message = self.messages.get(heapq.heappop(ready))
            if message is None or message.state != ACTIVE or message.token is not None:
                continue
            if message.expires_at <= now and self.parent is None:
                continue
            return message
        return None

    def lock(self, message: Message, token: bytes, until: int) -> None:
        """Give a message to one receiver until a time."""
        message.token, message.locked_until = token, until
        self.locks[token] = message
        if not self.has_sessions:
            heapq.heappush(self._due_locks, (until, message.sequence))

    def session_lock(self, message: Message) -> int | None:
        """Until when the message's session is locked; none without sessions. A message then shares that lock."""
        if not self.has_sessions or message.session_id is None:
            return None
        return self.session(message.session_id).locked_until

    def held(self, token: bytes, now: int) -> Message | None:
        """The message under this lock, if the lock still stands."""
        message = self.locks.get(token)
        return message if message is not None and message.locked_until > now else None

    def renew(self, message: Message, until: int) -> None:
        """Let a lock stand longer."""
        message.locked_until = until
        heapq.heappush(self._due_locks, (until, message.sequence))

    def unlock(self, message: Message) -> None:
        """Take the lock off; the message may be shown again."""
        if message.token is not None:
            self.locks.pop(message.token, None)
        message.token, message.locked_until = None, 0
        self._trim_locks()

    def remove(self, message: Message) -> None:
        """The message leaves the queue for good."""
        if self.messages.pop(message.sequence, None) is None:
            return
        self.counts[message.state] -= 1
        self.size -= message.size
        if message.token is not None:
            self.locks.pop(message.token, None)
        if self.has_sessions and message.session_id is not None:
            self.session(message.session_id).messages -= 1
            self.tidy_session(message.session_id)
        self._trim_locks()
        self._trim_times()

    def clear(self) -> None:
        """The queue was deleted: whoever still refers to it finds nothing."""
        self.messages.clear()
        self.locks.clear()
        self.sessions.clear()
        self.lane.ready.clear()

    def change_state(self, message: Message, state: int) -> None:
        """Defer, or make a scheduled message active."""
        self.counts[message.state] -= 1
        self.counts[state] += 1
        message.state = state

    def resequence(self, message: Message, sequence: int) -> None:
        """Give a message a new sequence number (a scheduled message gets its place when its time comes)."""
        del self.messages[message.sequence]
        message.sequence = sequence
        self.messages[sequence] = message
        if self.parent is None and message.expires_at < FOREVER_MS:
            heapq.heappush(self._due_expiry, (message.expires_at, sequence))

    # -- time ----------------------------------------------------------------------------------------------------

    def next_due(self) -> int | None:
        """When `due_*` next has something, at the earliest."""
        heads = [heap[0][0] for heap in (self._due_locks, self._due_expiry, self._due_schedule) if heap]
        return min(heads) if heads else None

    def due_locks(self, now: int) -> list[Message]:
        """Messages whose lock has run out."""
        found = []
        while self._due_locks and self._due_locks[0][0] <= now:
            message = self.messages.get(heapq.heappop(self._due_locks)[1])
            if message is not None and message.token is not None and message.locked_until <= now:
                found.append(message)
        return found

    def due_expiry(self, now: int) -> list[Message]:
        """Messages whose time to live is over and that nobody holds. A held one is looked at when it is unlocked."""
        found = []
        while self._due_expiry and self._due_expiry[0][0] <= now:
            message = self.messages.get(heapq.heappop(self._due_expiry)[1])
            if message is not None and message.token is None and message.expires_at <= now:
                found.append(message)
        return found

    def due_schedule(self, now: int) -> list[Message]:
        """Scheduled messages whose time has come."""
        found = []
        while self._due_schedule and self._due_schedule[0][0] <= now:
            message = self.messages.get(heapq.heappop(self._due_schedule)[1])
            if message is not None and message.state == SCHEDULED:
                found.append(message)
        return found

    def _trim_locks(self) -> None:
        """Drop what the head of the heap says about locks that no longer stand: else it grows with every message."""
        heap, messages = self._due_locks, self.messages
        while heap:
            until, sequence = heap[0]
            message = messages.get(sequence)
            if message is not None and message.token is not None and message.locked_until == until:
                return
            heapq.heappop(heap)

    def _trim_times(self) -> None:
        """Drop what the heaps say of messages that have left, once that is most of it.

        A message that lives for a week is taken within a second: what is said of it would stay for the week.
        """
        most = 2 * len(self.messages) + _SLACK
        if len(self._due_expiry) > most:
            self._due_expiry = [(m.expires_at, m.sequence) for m in self.messages.values() if m.expires_at < FOREVER_MS]
            heapq.heapify(self._due_expiry)
        if len(self._due_schedule) > most:
            self._due_schedule = [(m.visible_at, m.sequence) for m in self.messages.values() if m.state == SCHEDULED]
            heapq.heapify(self._due_schedule)
