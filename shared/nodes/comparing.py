"""When what a node says it has is held against what it should have. Beats come each minute; comparing costs a query.

    beat ──▶ the servers it names, with revisions: the same as when they were last compared? ──▶ nothing (memory alone)
               │ others, or somebody has doubts, or six hours are over
               ▼
             due after a pause, random so that nodes which come back together are not compared together
               ▼
             compared, so many in a second; a difference counts when it is seen twice

A beat may be older than what the store says by the time that it took to get here, and a command may be on its way: that
is what the pause and the second look are for.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from shared.messaging.agent_api import ServerState
from shared.platform.clock import Clock

#: In pauses: until a node that this instance has never heard is compared, at most; and until an unchanged one is again.
FIRST_WITHIN: Final = 10
AGAIN_AFTER: Final = 360
#: Comparisons a second in this instance, and how many may come at once after a quiet time.
A_SECOND: Final = 5.0
AT_ONCE: Final = 20.0


@dataclass(slots=True)
class _Node:
    says: int  # a digest of servers and revisions
    due_at: float
    compared_at: float = 0.0


class Comparisons:
    """See the module. Memory of one instance: others that hear the same node compare it too, which changes nothing."""

    def __init__(self, clock: Clock, pause: float, chance: Callable[[], float] = random.random) -> None:
        """Args: `pause` is how long after a change a node is compared, in seconds: once to twice that."""
        self._clock, self._pause, self._chance = clock, pause, chance
        self._nodes: dict[tuple[int, int], _Node] = {}
        self._tokens, self._filled_at = AT_ONCE, 0.0

    def due(self, place: tuple[int, int], servers: Iterable[ServerState], doubted_at: float) -> bool:
        """Whether the node at this place (shard, place) is to be compared with this beat."""
        now = self._clock.now().timestamp()
        says = hash(frozenset((one.id, one.revision) for one in servers))
        node = self._nodes.get(place)
        if node is None:
            node = self._nodes[place] = _Node(says, now + self._pause * FIRST_WITHIN * self._chance())
        changed, node.says = says != node.says, says
        if changed or doubted_at > node.compared_at:
            node.due_at = min(node.due_at, now + self._pause * (1 + self._chance()))
        if now < node.due_at or not self._take_token(now):
            return False  # due it stays: with its next beat
        node.compared_at, node.due_at = now, now + self._pause * AGAIN_AFTER * (0.5 + self._chance() / 2)
        return True

    def again(self, place: tuple[int, int], pauses: int = 1) -> None:
        """A difference was seen: look once more after so many pauses."""
        self._nodes[place].due_at = self._clock.now().timestamp() + self._pause * pauses

    def _take_token(self, now: float) -> bool:
        self._tokens = min(AT_ONCE, self._tokens + (now - self._filled_at) * A_SECOND)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
