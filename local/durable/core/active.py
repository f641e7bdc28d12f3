"""Unfinished instances that are in memory."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator

from local.durable.core import statuses
from local.durable.core.decision import Decider, Execution
from local.durable.core.events import (
    EXECUTION_TERMINATED,
    GENERIC,
    RESUMED,
    SUSPENDED,
    Event,
    Message,
)
from local.durable.core.store import InstanceRow, Store

WIDE = 64
UNKNOWN = 1 << 40  # rows of an instance that was read from the file
_CONTROL = frozenset({EXECUTION_TERMINATED, SUSPENDED, RESUMED, GENERIC})


class Active:
    """An instance in memory.

    Attributes:
        row: its row, ahead of the file by at most this turn's commit.
        episode: number of its next history row; 1: nothing has run yet.
        inbox: messages not taken in.
        queued: it stands in the queue of episodes.
        busy: its decider is at work in a thread.
        rest: it waits a little, so that messages gather; `long_rest` tells that the wait is more than a moment.
        decider: kept between episodes, or None.
        started: ExecutionStarted, while the first episode has not been.
        pending: rows in `tasks` and `timers` at most; it lets a finished instance spare their deletion.
        gone: it is no longer this instance's state.
    """

    __slots__ = (
        "busy",
        "decider",
        "episode",
        "gone",
        "inbox",
        "long_rest",
        "pending",
        "queued",
        "rest",
        "row",
        "started",
    )

    def __init__(self, row: InstanceRow, episode: int, started: Event | None = None, pending: int = UNKNOWN) -> None:
        self.row = row
        self.episode = episode
        self.inbox: deque[Message] = deque()
        self.queued = False
        self.busy = False
        self.rest: asyncio.TimerHandle | None = None
        self.long_rest = False
        self.decider: Decider | None = None
        self.started = started
        self.pending = pending
        self.gone = False

    @property
    def execution(self) -> Execution:
        """What a decider wants to know."""
        return Execution(self.row.id, self.row.execution, self.row.name, self.row.parent_id)

    @property
    def idle(self) -> bool:
        """Nothing is lost by forgetting it."""
        return not (self.inbox or self.queued or self.busy or self.rest)

    @property
    def held(self) -> bool:
        """A message that comes now may have to wait for long."""
        return self.busy or self.long_rest or self.row.status == statuses.SUSPENDED

    @property
    def wide(self) -> bool:
        """So many activities and timers are out that their results should come in batches."""
        return WIDE <= self.pending < UNKNOWN // 2

    @property
    def ready(self) -> bool:
        """Whether an episode would find something to do."""
        if self.episode == 1 and self.row.status != statuses.SUSPENDED:
            return True
        if self.row.status == statuses.SUSPENDED:
            return any(message.event.kind in _CONTROL for message in self.inbox)
        return bool(self.inbox)

    def take(self) -> tuple[list[Message], list[Message]]:
        """The messages of the next episode and the stale ones; a suspended instance hears only control messages.

        An episode ends with the first suspension or resumption in it, so that what follows meets the new state.
        """
        taken: list[Message] = []
        stale: list[Message] = []
        left: deque[Message] = deque()
        suspended = self.row.status == statuses.SUSPENDED
        while self.inbox:
            message = self.inbox.popleft()
            if message.execution is not None and message.execution != self.row.execution:
                stale.append(message)
            elif suspended and message.event.kind not in _CONTROL:
                left.append(message)
            elif message.event.kind in (SUSPENDED, RESUMED):
                if taken:
                    left.append(message)
                else:
                    taken.append(message)
                left.extend(self.inbox)
                self.inbox.clear()
            else:
                taken.append(message)
        self.inbox = left
        return taken, stale

    def forget_decider(self) -> None:
        """The next episode replays."""
        if self.decider is not None:
            self.decider.close()
            self.decider = None


class ActiveSet:
    """Instances in memory, the ones used last at the end; those beyond the limit that can be read again are dropped."""

    def __init__(self, store: Store, limit: int) -> None:
        self._store, self._limit = store, limit
        self._by_id: OrderedDict[str, Active] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Active]:
        return iter(self._by_id.values())

    def get(self, instance_id: str) -> Active | None:
        """The unfinished instance of that id, from memory or from the file."""
        active = self._by_id.get(instance_id)
        if active is not None:
            return active
        row = self._store.find(instance_id)
        if row is None or row.finished is not None:
            return None
        episode, row.updated = self._store.episodes(row.key)
        return self.add(Active(row, episode))

    def in_memory(self, instance_id: str) -> Active | None:
        """The same, from memory only."""
        return self._by_id.get(instance_id)

    def add(self, active: Active) -> Active:
        """Keep an instance."""
        self._by_id[active.row.id] = active
        if len(self._by_id) > self._limit:
            self._make_room()
        return active

    def touch(self, active: Active) -> None:
        """It was used."""
        if active.row.id in self._by_id:
            self._by_id.move_to_end(active.row.id)

    def remove(self, active: Active) -> None:
        """It has finished."""
        active.gone = True
        active.forget_decider()
        if active.rest is not None:
            active.rest.cancel()
            active.rest = None
        if self._by_id.get(active.row.id) is active:
            del self._by_id[active.row.id]

    def clear(self) -> None:
        """Forget all."""
        for active in list(self._by_id.values()):
            self.remove(active)

    def _make_room(self) -> None:
        # A few of the oldest are looked at each time: a crowd of busy ones at the head must not cost a scan per message.
        for active in [active for _, active in zip(range(8), self._by_id.values(), strict=False)]:
            if active.idle:
                self.remove(active)
            else:
                self._by_id.move_to_end(active.row.id)
            if len(self._by_id) <= self._limit:
                return
