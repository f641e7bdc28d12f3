"""Health is progress: for each loop, the time since it last finished a round against what it promised."""

from __future__ import annotations

from dataclasses import dataclass

from shared.platform.clock import Clock


@dataclass(frozen=True, slots=True)
class LoopState:
    """One loop: its promise and how long ago it last finished a round (seconds)."""

    name: str
    promised_seconds: float
    since_finished_seconds: float
    rounds: int

    @property
    def late(self) -> bool:
        """Whether it has missed its promise."""
        return self.since_finished_seconds > self.promised_seconds


class Progress:
    """The loops of this process. A loop that was promised and never finished counts from its promise."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loops: dict[str, tuple[float, float, int]] = {}

    def promise(self, name: str, within_seconds: float) -> None:
        """A loop starts: it will finish a round at least every `within_seconds`."""
        self._loops[name] = (within_seconds, self._clock.monotonic(), 0)

    def finished(self, name: str) -> None:
        """The loop has finished a round."""
        promised, _, rounds = self._loops[name]
        self._loops[name] = (promised, self._clock.monotonic(), rounds + 1)

    def ended(self, name: str) -> None:
        """The loop ended on purpose: nothing more is expected of it."""
        self._loops.pop(name, None)

    def state(self) -> list[LoopState]:
        """All loops, by name."""
        now = self._clock.monotonic()
        return [LoopState(name, p, now - last, rounds) for name, (p, last, rounds) in sorted(self._loops.items())]
