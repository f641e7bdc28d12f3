"""What timers of the engine are kept in memory."""

from __future__ import annotations

from local.durable.core.events import Message
from local.durable.core.timers import Due, Timers


class Hand:
    """Timers with a clock that is set by hand, and what they delivered: (instance, number of the timer)."""

    def __init__(self) -> None:
        self.now = 0
        self.fired: list[tuple[str, int | None]] = []
        self.timers = Timers(self._deliver, self._lost, lambda: self.now)

    def _deliver(self, instance_id: str, message: Message) -> None:
        self.fired.append((instance_id, message.event.id))

    def _lost(self, error: Exception) -> None:
        raise error

    def at(self, now: int) -> list[tuple[str, int | None]]:
        """What fires once it is so late."""
        self.now = now
        self.timers.start()
        self.timers.clear()
        return self.fired


async def test_the_timers_of_what_has_ended_are_not_kept_until_they_are_due() -> None:
    hand = Hand()
    hand.timers.add(Due(5_000, 1, 0, "waits", "x"))
    for key in range(2, 2_002):
        hand.timers.add(Due(4_000 + key, key, 0, f"ended-{key}", "x"))
        hand.timers.forget(key)
        assert len(hand.timers._heap) + len(hand.timers._ended) < 200
    fired = hand.at(10_000)
    assert ("waits", 0) in fired
    assert len(fired) < 200


async def test_an_instance_that_was_rewound_waits_for_its_new_timers() -> None:
    hand = Hand()
    hand.timers.add(Due(1_000, 1, 0, "rewound", "x"))
    hand.timers.forget(1)
    hand.timers.add(Due(2_000, 1, 3, "rewound", "x"))
    for key in range(2, 200):
        hand.timers.add(Due(3_000, key, 0, "ended", "x"))
        hand.timers.forget(key)
    assert ("rewound", 3) in hand.at(2_500)
