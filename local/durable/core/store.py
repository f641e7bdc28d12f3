"""The engine's rows. Every writing method is to be called inside a unit of the group committer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from local.durable.core import statuses
from local.durable.core.events import Event, Message, pack, unpack


@dataclass(slots=True)
class InstanceRow:
    """An instance as it is stored.

    Attributes:
        key: row number; a later instance of the same id has another.
        id, execution, name, version: of the orchestration.
        status: one of `statuses`.
        created, updated, finished: microseconds since the epoch.
        custom_status, output: JSON text or None.
        parent_id, parent_execution, parent_task: whom to tell of the end.
    """

    key: int
    id: str
    execution: str
    name: str
    version: str | None
    status: int
    created: int
    updated: int
    finished: int | None = None
    custom_status: str | None = None
    output: str | None = None
    parent_id: str | None = None
    parent_execution: str | None = None
    parent_task: int | None = None


_COLUMNS = (
    "key, id, execution, name, version, status, created, updated, finished, custom_status, output, "
    "parent_id, parent_execution, parent_task"
)


class Store:
    """Reads and writes of one `durable.db`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        connection.execute("PRAGMA cache_size=-65536")  # 64 MiB: the id index of a million instances fits
        row = connection.execute("SELECT max(key) FROM instances").fetchone()
        self._last_key: int = row[0] or 0

    # -- instances

    def find(self, instance_id: str) -> InstanceRow | None:
        """The instance of that id, finished or not."""
        row = self._db.execute(f"SELECT {_COLUMNS} FROM instances WHERE id = ?", (instance_id,)).fetchone()  # noqa: S608
        return InstanceRow(*row) if row else None

    def by_key(self, key: int) -> InstanceRow | None:
        """The instance of that row number."""
        row = self._db.execute(f"SELECT {_COLUMNS} FROM instances WHERE key = ?", (key,)).fetchone()  # noqa: S608
        return InstanceRow(*row) if row else None

    def create(self, row: InstanceRow, started: Event) -> None:
        """A new instance with its ExecutionStarted; a finished one of that id must have been deleted before."""
        self._last_key += 1
        row.key = self._last_key
        self._db.execute(
            f"INSERT INTO instances ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
            (
                row.key, row.id, row.execution, row.name, row.version, row.status, row.created, row.updated,
                row.finished, row.custom_status, row.output, row.parent_id, row.parent_execution, row.parent_task,
            ),
        )  # fmt: skip
        self.add_history(row.key, 0, started.at, [started])

    def update(self, row: InstanceRow) -> None:
        """What an episode may have changed of an instance."""
        self._db.execute(
            "UPDATE instances SET execution=?, version=?, status=?, updated=?, finished=?, custom_status=?, output=? "
            "WHERE key=?",
            (row.execution, row.version, row.status, row.updated, row.finished, row.custom_status, row.output, row.key),
        )

    def delete(self, key: int) -> None:
        """Forget an instance and all that belongs to it."""
        self.delete_execution(key)
        self._db.execute("DELETE FROM instances WHERE key = ?", (key,))

    def delete_execution(self, key: int) -> None:
        """Forget the history, activities and timers of an instance's execution."""
        self._db.execute("DELETE FROM history WHERE instance = ?", (key,))
        self.delete_pending(key)

    def delete_pending(self, key: int) -> None:
        """Forget the activities and timers of an instance."""
        self._db.execute("DELETE FROM tasks WHERE instance = ?", (key,))
        self._db.execute("DELETE FROM timers WHERE instance = ?", (key,))

    # -- history

    def add_history(self, key: int, episode: int, at: int, events: list[Event]) -> int:
        """One episode's events; the bytes they take."""
        packed = pack(events)
        self._db.execute("INSERT INTO history VALUES (?,?,?,?)", (key, episode, at, packed))
        return len(packed)

    def history(self, key: int) -> list[Event]:
        """All events in order: OrchestratorStarted of the first episode stands before ExecutionStarted."""
        rows = self._db.execute("SELECT events FROM history WHERE instance = ? ORDER BY episode", (key,)).fetchall()
        events = [event for (packed,) in rows for event in unpack(packed)]
        if len(rows) > 1:
            events[0], events[1] = events[1], events[0]
        return events

    def episodes(self, key: int) -> tuple[int, int]:
        """Number of the next episode, and when the last one was."""
        row = self._db.execute(
            "SELECT episode, at FROM history WHERE instance = ? ORDER BY episode DESC LIMIT 1", (key,)
        ).fetchone()
        return (row[0] + 1, row[1]) if row else (0, 0)

    def started(self, key: int) -> Event:
        """ExecutionStarted of the current execution."""
        row = self._db.execute("SELECT events FROM history WHERE instance = ? AND episode = 0", (key,)).fetchone()
        return unpack(row[0])[0]

    def scheduled(self, key: int) -> Iterator[Event]:
        """The events after the start, without putting them in memory at once."""
        for (packed,) in self._db.execute(
            "SELECT events FROM history WHERE instance = ? AND episode > 0 ORDER BY episode", (key,)
        ):
            yield from unpack(packed)

    # -- what is pending

    def add_tasks(self, key: int, tasks: Sequence[Event]) -> None:
        """Activities to run."""
        self._db.executemany("INSERT INTO tasks VALUES (?,?)", [(key, task.id) for task in tasks])

    def add_timers(self, key: int, timers: Sequence[Event]) -> None:
        """Timers to wait for."""
        self._db.executemany("INSERT INTO timers VALUES (?,?,?)", [(key, timer.id, timer.due) for timer in timers])

    def add_inbox(self, target: str, message: Message) -> int:
        """A message that outlives the process; its row number."""
        cursor = self._db.execute(
            "INSERT INTO inbox (target, execution, event) VALUES (?,?,?)",
            (target, message.execution, orjson.dumps(tuple(message.event))),
        )
        return int(cursor.lastrowid or 0)

    def consume(self, key: int, messages: Sequence[Message]) -> int:
        """Delete the rows of messages that have been taken in; how many were activities and timers."""
        pending = 0
        for message in messages:
            if message.source == "inbox":
                self._db.execute("DELETE FROM inbox WHERE row = ?", (message.row,))
            elif message.source == "task":
                pending += 1
                self._db.execute("DELETE FROM tasks WHERE instance = ? AND task = ?", (key, message.row))
            elif message.source == "timer":
                pending += 1
                self._db.execute("DELETE FROM timers WHERE instance = ? AND task = ?", (key, message.row))
        return pending

    # -- recovery

    def pending_instances(self) -> list[str]:
        """Instances whose first episode has not been."""
        rows = self._db.execute(
            "SELECT id FROM instances WHERE finished IS NULL AND status = ? ORDER BY key", (statuses.PENDING,)
        )
        return [row[0] for row in rows]

    def pending_tasks(self) -> list[tuple[int, int]]:
        """(instance, task) of activities to run again."""
        return self._db.execute("SELECT instance, task FROM tasks ORDER BY instance, task").fetchall()

    def pending_timers(self) -> list[tuple[int, int, int, str, str]]:
        """(due, instance, task, instance's id, its execution) of timers."""
        return self._db.execute(
            "SELECT due, instance, task, id, execution FROM timers JOIN instances ON key = instance"
        ).fetchall()

    def pending_inbox(self) -> list[tuple[str, Message]]:
        """Messages with their targets, oldest first."""
        rows = self._db.execute("SELECT row, target, execution, event FROM inbox ORDER BY row")
        return [
            (target, Message(Event(*orjson.loads(event)), execution, "inbox", row))
            for row, target, execution, event in rows
        ]

    # -- entities

    def entity(self, entity_id: str) -> str | None:
        """The state of an entity as JSON text; None: it does not exist."""
        row = self._db.execute("SELECT state FROM entities WHERE id = ?", (entity_id,)).fetchone()
        return row[0] if row else None

    def save_entity(self, entity_id: str, state: str | None, at: int) -> None:
        """Keep an entity's state; None deletes it."""
        if state is None:
            self._db.execute("DELETE FROM entities WHERE id = ?", (entity_id,))
        else:
            self._db.execute(
                "INSERT INTO entities VALUES (?,?,?) ON CONFLICT(id) DO UPDATE SET state=excluded.state, "
                "updated=excluded.updated",
                (entity_id, state, at),
            )

    # -- lists

    def select(
        self, *, after: int | str | None, limit: int, prefix: str, created_from: int | None, created_to: int | None,
        status: Sequence[int],
    ) -> list[InstanceRow]:  # fmt: skip
        """Instances that pass the filters: with a prefix, by id after an id; else in order of creation after a row number.

        Either order follows an index, so that a page of a million instances costs what it shows.
        """
        order = "id" if prefix else "key"
        where, values = [f"{order} > ?"], [after if after is not None else ("" if prefix else 0)]  # type: tuple[list[str], list[object]]
        if prefix:
            where.append("id >= ? AND id < ?")
            values += [prefix, prefix + "\U0010ffff"]
        if created_from is not None:
            where.append("created >= ?")
            values.append(created_from)
        if created_to is not None:
            where.append("created <= ?")
            values.append(created_to)
        if status:
            where.append(f"status IN ({','.join('?' * len(status))})")
            values += status
        query = f"SELECT {_COLUMNS} FROM instances WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?"  # noqa: S608
        return [InstanceRow(*row) for row in self._db.execute(query, [*values, limit])]

    def finished_before(self, moment: int, limit: int) -> list[int]:
        """Row numbers of instances that finished before a moment, oldest first."""
        rows = self._db.execute(
            "SELECT key FROM instances WHERE finished IS NOT NULL AND finished < ? ORDER BY finished LIMIT ?",
            (moment, limit),
        )
        return [row[0] for row in rows]
