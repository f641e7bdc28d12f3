"""The line between the engine and whatever decides what an orchestration does next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from local.durable.core.events import Event


class Execution(NamedTuple):
    """Which run of which instance is being decided."""

    instance_id: str
    execution_id: str
    name: str
    parent_id: str | None


class Decision(NamedTuple):
    """What follows from the events of one episode.

    Attributes:
        effects: scheduling events in the order of their numbers.
        outcome: a finishing status (COMPLETED, FAILED, CONTINUED_AS_NEW), or None: it goes on waiting.
        output: JSON text of the result, of the failure's text, or of the next execution's input.
        custom_status: JSON text, or None.
        replayed: history events that were gone through again for this decision.
    """

    effects: list[Event]
    outcome: int | None = None
    output: str | None = None
    custom_status: str | None = None
    replayed: int = 0


class Decider(Protocol):
    """Decides one execution of one instance, episode after episode."""

    def decide(self, events: Sequence[Event]) -> Decision:
        """Take in the events of an episode; never raises for what user code does."""

    def recorded(self, events: Sequence[Event]) -> None:
        """The effects of the last decision, as they were written to the history."""

    def close(self) -> None:
        """Let go of everything kept between episodes."""


class Deciders(Protocol):
    """Makes deciders, and says which functions exist."""

    def open(self, execution: Execution, history: list[Event]) -> Decider:
        """A decider for an execution with the history it has so far (empty: it has not begun)."""

    def has(self, kind: str, name: str) -> bool:
        """Whether a function of that kind ("orchestrator", "activity", "entity") exists."""
