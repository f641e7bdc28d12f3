"""The broker's file: queues, messages, ids seen, session states. Every write is part of a group commit."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from local.common.committer import GroupCommitter
from local.common.database import Synchronous, open_database
from local.servicebus.entities import QueueProperties
from local.servicebus.queue import Message, Queue

APPLICATION_ID = 0x4D435342  # "MCSB"

# An ordinary rowid table: rows of 1 KiB take a third of the room they need WITHOUT ROWID. The body comes last, so that
# reading the rest of a row at start does not touch its overflow pages.
MIGRATIONS = (
    """
    CREATE TABLE queues (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, key TEXT NOT NULL UNIQUE, properties TEXT NOT NULL,
        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, reserved_sequence INTEGER NOT NULL
    );
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY, queue INTEGER NOT NULL, dead INTEGER NOT NULL, sequence INTEGER NOT NULL,
        state INTEGER NOT NULL, enqueued_at INTEGER NOT NULL, visible_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
        ttl_ms INTEGER, delivery_count INTEGER NOT NULL, size INTEGER NOT NULL, message_id TEXT, session_id TEXT,
        annotation_count INTEGER NOT NULL, annotations BLOB NOT NULL, bare BLOB NOT NULL
    );
    CREATE TABLE duplicates (
        queue INTEGER NOT NULL, message_id TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (queue, message_id)
    ) WITHOUT ROWID;
    CREATE TABLE sessions (
        queue INTEGER NOT NULL, session_id TEXT NOT NULL, updated_at INTEGER NOT NULL, state BLOB NOT NULL,
        PRIMARY KEY (queue, session_id)
    ) WITHOUT ROWID;
    """,
)

_INSERT = "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_META = """SELECT id, queue, dead, sequence, state, enqueued_at, visible_at, expires_at, ttl_ms, delivery_count, size,
    message_id, session_id, annotation_count, annotations FROM messages ORDER BY id"""
_LOADED = (
    "sequence", "state", "enqueued_at", "visible_at", "expires_at", "ttl_ms", "delivery_count", "size", "message_id",
    "session_id",
)  # fmt: skip
_UPDATE = (
    """UPDATE messages SET sequence = ?, state = ?, enqueued_at = ?, expires_at = ?, delivery_count = ? WHERE id = ?"""
)


class Store:
    """The file, and the writes of the current event-loop turn."""

    def __init__(self, path: Path, synchronous: Synchronous, on_failure: Callable[[Exception], None]) -> None:
        """Open or create the file.

        Raises:
            StartError: it is damaged, foreign or newer.
        """
        self.connection = open_database(
            path, application_id=APPLICATION_ID, migrations=MIGRATIONS, synchronous=synchronous
        )
        # The folder is locked, nobody else opens this file: so no locks need to be taken and dropped at each commit.
        self._committer = GroupCommitter(self.connection, on_failure)
        self._on_failure = on_failure
        self._actions: list[Callable[[], None]] = []
        self.after_actions: Callable[[], None] = _nothing
        self._next_id = (self.connection.execute("SELECT max(id) FROM messages").fetchone()[0] or 0) + 1

    # -- group commit --------------------------------------------------------------------------------------------

    def after_commit(self, action: Callable[[], None]) -> None:
        """Call `action` once everything written so far is on disk; at once if nothing waits to be written."""
        self._actions.append(action)
        if len(self._actions) == 1:
            self._committer.when_committed(self._run_actions)

    def _run_actions(self) -> None:
        actions, self._actions = self._actions, []
        for action in actions:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - others' acknowledgements must not hang on one faulty action
                asyncio.get_running_loop().call_exception_handler({"message": "after a commit", "exception": error})
        self.after_actions()

    def _execute(self, statement: str, parameters: Sequence[object]) -> sqlite3.Cursor:
        """One write. If even the statement fails (disk full), memory and file can no longer be kept alike: stop."""
        try:
            return self._committer.execute(statement, parameters)
        except sqlite3.Error as error:
            self._on_failure(error)
            raise

    @property
    def commits(self) -> int:
        """Transactions so far: each is one sync to disk when synchronous is FULL."""
        return self._committer.commits

    def close(self) -> None:
        """Write what waits and close the file."""
        self._committer.flush()
        self.connection.close()

    # -- queues --------------------------------------------------------------------------------------------------

    def insert_queue(self, queue: Queue) -> None:
        """A new queue; gives it its id."""
        cursor = self._execute(
            "INSERT INTO queues (name, key, properties, created_at, updated_at, reserved_sequence) VALUES (?, ?, ?, ?, ?, 1)",
            (queue.name, queue.name.lower(), _json(queue.properties), queue.created_at, queue.updated_at),
        )
        assert cursor.lastrowid is not None
        queue.id = cursor.lastrowid
        assert queue.dead_letter is not None
        queue.dead_letter.id = queue.id

    def update_queue(self, queue: Queue) -> None:
        """New properties."""
        self._execute(
            "UPDATE queues SET properties = ?, updated_at = ? WHERE id = ?",
            (_json(queue.properties), queue.updated_at, queue.id),
        )

    def delete_queue(self, queue: Queue) -> None:
        """The queue and all that is in it. By row, for there is no index over queues to find them by."""
        assert queue.dead_letter is not None
        rows = [(m.id,) for box in (queue, queue.dead_letter) for m in box.messages.values()]
        with self._committer.unit() as db:
            db.executemany("DELETE FROM messages WHERE id = ?", rows)
            db.execute("DELETE FROM duplicates WHERE queue = ?", (queue.id,))
            db.execute("DELETE FROM sessions WHERE queue = ?", (queue.id,))
            db.execute("DELETE FROM queues WHERE id = ?", (queue.id,))

    def reserve_sequences(self, queue: Queue, up_to: int) -> None:
        """Note that numbers below `up_to` may be in use, so that none is ever given twice."""
        self._execute("UPDATE queues SET reserved_sequence = ? WHERE id = ?", (up_to, queue.id))

    # -- messages ------------------------------------------------------------------------------------------------

    def next_id(self) -> int:
        """A row id for a new message."""
        self._next_id += 1
        return self._next_id - 1

    def insert(self, queue: Queue, messages: Sequence[Message]) -> None:
        """New messages, all or none."""
        dead = queue.parent is not None
        if len(messages) == 1:
            self._execute(_INSERT, _row(queue.id, dead, messages[0]))
            return
        with self._committer.unit() as db:
            db.executemany(_INSERT, [_row(queue.id, dead, message) for message in messages])

    def update(self, message: Message) -> None:
        """State, sequence number, times and delivery count as they are now."""
        m = message
        self._execute(_UPDATE, (m.sequence, m.state, m.enqueued_at, m.expires_at, m.delivery_count, m.id))

    def rewrite(self, message: Message, *, dead: bool) -> None:
        """New application properties, and the box it lies in."""
        m = message
        self._execute(
            "UPDATE messages SET dead = ?, state = ?, delivery_count = ?, size = ?, bare = ? WHERE id = ?",
            (dead, m.state, m.delivery_count, m.size, m.bare, m.id),
        )

    def delete(self, message: Message) -> None:
        """The message is gone."""
        self._execute("DELETE FROM messages WHERE id = ?", (message.id,))

    def body(self, message: Message) -> bytes:
        """The bytes of a message that memory has let go."""
        row = self.connection.execute("SELECT bare FROM messages WHERE id = ?", (message.id,)).fetchone()
        return bytes(row[0])

    # -- duplicates and sessions ---------------------------------------------------------------------------------

    def remember(self, queue: Queue, message_id: str, until: int) -> None:
        """An id seen."""
        self._execute("INSERT OR REPLACE INTO duplicates VALUES (?, ?, ?)", (queue.id, message_id, until))

    def forget(self, queue: Queue, message_ids: list[str]) -> None:
        """Ids whose window is over."""
        with self._committer.unit() as db:
            db.executemany(
                "DELETE FROM duplicates WHERE queue = ? AND message_id = ?", [(queue.id, one) for one in message_ids]
            )

    def session_state(self, queue: Queue, session_id: str) -> bytes | None:
        """The state that a receiver has stored with a session."""
        row = self.connection.execute(
            "SELECT state FROM sessions WHERE queue = ? AND session_id = ?", (queue.id, session_id)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def set_session_state(self, queue: Queue, session_id: str, state: bytes | None, now: int) -> None:
        """Store or forget a session's state."""
        with self._committer.unit() as db:
            if state is None:
                db.execute("DELETE FROM sessions WHERE queue = ? AND session_id = ?", (queue.id, session_id))
            else:
                db.execute("INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?)", (queue.id, session_id, now, state))

    def session_ids(self, queue: Queue, since: int) -> list[str]:
        """Sessions with a state that was stored after a time (ms)."""
        rows = self.connection.execute(
            "SELECT session_id FROM sessions WHERE queue = ? AND updated_at > ?", (queue.id, since)
        )
        return [row[0] for row in rows]

    # -- reload --------------------------------------------------------------------------------------------------

    def load(self) -> Iterator[Queue]:
        """All queues with their messages, bodies left on disk."""
        queues: dict[int, Queue] = {}
        for id_, name, properties, created_at, updated_at, reserved in self.connection.execute(
            "SELECT id, name, properties, created_at, updated_at, reserved_sequence FROM queues"
        ):
            queue = Queue(id_, name, QueueProperties.from_json(json.loads(properties)))
            queue.created_at, queue.updated_at, queue.accessed_at = created_at, updated_at, updated_at
            queue.next_sequence = queue.reserved_sequence = reserved
            queues[id_] = queue
        for row in self.connection.execute(_META):
            owner, dead, *values, annotation_count, annotations = row[1:]
            box = queues[owner].dead_letter if dead else queues[owner]
            assert box is not None
            named = dict(zip(_LOADED, values, strict=True))
            message = Message(
                id=row[0], annotations=annotations, annotation_count=annotation_count, bare=None, **named
            )  # fmt: skip
            box.add(message)
            box.show(message)
        for id_, message_id, until in self.connection.execute("SELECT * FROM duplicates ORDER BY until"):
            queues[id_].remember(message_id, until)
        yield from queues.values()


def _row(queue: int, dead: bool, m: Message) -> tuple[object, ...]:
    return (
        m.id, queue, dead, m.sequence, m.state, m.enqueued_at, m.visible_at, m.expires_at, m.ttl_ms, m.delivery_count,
        m.size, m.message_id, m.session_id, m.annotation_count, m.annotations, m.bare,
    )  # fmt: skip


def _json(properties: QueueProperties) -> str:
    return json.dumps(properties.to_json(), separators=(",", ":"))


def _nothing() -> None:
    """No follow-up."""
