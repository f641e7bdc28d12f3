"""What an action of the SDK turns into while it is awaited: a tree of nodes that complete from the leaves up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class Node:
    """Something awaited. `succeeded` means anything only once `done`."""

    __slots__ = ("done", "parent", "succeeded")

    def __init__(self, parent: Node | None) -> None:
        self.parent = parent
        self.done = False
        self.succeeded = True

    def finish(self, succeeded: bool = True) -> None:
        """Complete, and tell the parent. A second completion changes nothing."""
        if self.done:
            return
        self.done = True
        self.succeeded = succeeded
        if self.parent is not None:
            self.parent.child_finished(self)

    def child_finished(self, child: Node) -> None:
        """A child completed."""


class Group(Node):
    """When-all and when-any. All waits for every child, also after a failure; any for the first."""

    __slots__ = ("left",)

    def __init__(self, parent: Node | None, needed: int) -> None:
        super().__init__(parent)
        self.left = needed
        if needed == 0:
            self.done = True  # nobody is told: the parent looks at its children after it has opened them all

    def child_finished(self, child: Node) -> None:
        del child
        self.left -= 1
        if self.left == 0:
            self.finish()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retries as the extension reads them from an action.

    Attributes:
        first_ms: pause after the first failure.
        attempts: attempts at most, the first included.
        coefficient: each pause is the one before times this.
        max_ms: no pause is longer.
        timeout_ms: no retry once this much has passed since the first attempt; None: no limit.
    """

    first_ms: float
    attempts: int
    coefficient: float = 1.0
    max_ms: float | None = None
    timeout_ms: float | None = None

    def pause_us(self, failures: int, elapsed_us: int) -> int | None:
        """Microseconds to wait after that many failures; None: give up at once."""
        if self.timeout_ms is not None and elapsed_us >= self.timeout_ms * 1000:
            return None
        try:
            pause = self.first_ms * self.coefficient ** (failures - 1)
        except OverflowError:
            pause = float("inf")
        if self.max_ms is not None:
            pause = min(pause, self.max_ms)
        return int(min(pause, 10 * 365 * 86_400_000) * 1000)


class Retry(Node):
    """A task that runs again after a pause when it fails.

    The pause also runs after the last failure, as DurableTask's RetryInterceptor has it; the SDK counts on it.
    """

    __slots__ = ("_attempt", "_now", "_open", "_pause", "_policy", "_started", "_waiting")

    def __init__(
        self,
        parent: Node | None,
        policy: RetryPolicy,
        now: Callable[[], int],
        open_attempt: Callable[[Node], Node],
        open_pause: Callable[[Node, int], None],
    ) -> None:
        super().__init__(parent)
        self._policy, self._now, self._open, self._pause = policy, now, open_attempt, open_pause
        self._attempt = 1
        self._waiting = False
        self._started = now()
        open_attempt(self)

    def child_finished(self, child: Node) -> None:
        if self._waiting:
            self._waiting = False
            if self._attempt >= self._policy.attempts:
                self.finish(False)
                return
            self._attempt += 1
            self._open(self)
            return
        if child.succeeded:
            self.finish()
            return
        pause = self._policy.pause_us(self._attempt, self._now() - self._started)
        if pause is None:
            self.finish(False)
            return
        self._waiting = True
        self._pause(self, self._now() + pause)
