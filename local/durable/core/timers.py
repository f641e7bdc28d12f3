"""Durable timers: a heap of what is due, and one wake-up."""

from __future__ import annotations

import asyncio
import heapq
import sqlite3
import time
from collections.abc import Callable
from typing import NamedTuple

from local.durable.core.clock import now_us
from local.durable.core.events import TIMER_FIRED, Event, Message

# The wall clock may be set, and the machine may sleep: no wait is longer than this before the clock is read again.
LONGEST_WAIT_SECONDS = 5.0
_SLACK = 64  # ended instances that are not worth looking for


class Due(NamedTuple):
    """A timer in memory; the order of the fields is the order of the heap."""

    due: int
    key: int
    task: int
    instance_id: str
    execution: str


class Timers:
    """Delivers TimerFired when the wall clock has passed a timer's time, never before."""

    def __init__(
        self,
        deliver: Callable[[str, Message], None],
        on_lost: Callable[[Exception], None],
        now: Callable[[], int] = now_us,
    ) -> None:
        self._deliver, self._on_lost, self._now = deliver, on_lost, now
        self._heap: list[Due] = []
        self._ended: set[int] = set()  # instances whose timers are still in the heap
        self._handle: asyncio.TimerHandle | None = None
        self.last_turn = time.monotonic()

    def add(self, timer: Due) -> None:
        """Watch one more timer; its row has been committed, or will be with this turn."""
        self._ended.discard(timer.key)  # it has been rewound
        heapq.heappush(self._heap, timer)
        if self._handle is None or self._heap[0] is timer:
            self._arm()

    def forget(self, key: int) -> None:
        """An instance has ended: nobody waits for its timers.

        A flow's deadline lies half an hour ahead, and the flow ends within a second. Its timer would stay for the half hour;
        so once such timers may be half of the heap they are taken out of it.
        """
        self._ended.add(key)
        if len(self._ended) > max(_SLACK, len(self._heap) // 2):
            self._heap = [timer for timer in self._heap if timer.key not in self._ended]
            heapq.heapify(self._heap)
            self._ended.clear()

    def start(self) -> None:
        """Begin to watch the clock."""
        self._turn()

    def clear(self) -> None:
        """Forget every timer and stop."""
        self._heap.clear()
        self._ended.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _turn(self) -> None:
        now = self._now()
        while self._heap and self._heap[0].due <= now:
            timer = heapq.heappop(self._heap)
            event = Event(TIMER_FIRED, now, timer.task, due=timer.due)
            try:
                self._deliver(timer.instance_id, Message(event, timer.execution, "timer", timer.task))
            except sqlite3.Error as error:  # its row is still there
                self._on_lost(error)
                return
        self.last_turn = time.monotonic()
        self._arm()

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        wait = LONGEST_WAIT_SECONDS
        if self._heap:
            wait = min(wait, max(0.0, (self._heap[0].due - self._now()) / 1e6))
        # A loop may wake a millisecond early; `_turn` then finds nothing due and comes back.
        self._handle = asyncio.get_running_loop().call_later(wait, self._turn)
