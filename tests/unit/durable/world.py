"""What lies around an orchestration: it answers, in an order and in batches that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from azure.durable_functions.orchestrator import Orchestrator

from local.durable.core.decision import Decision, Execution
from local.durable.core.events import (
    EVENT_RAISED,
    EVENT_SENT,
    EXECUTION_STARTED,
    ORCHESTRATOR_COMPLETED,
    ORCHESTRATOR_STARTED,
    SUB_COMPLETED,
    SUB_CREATED,
    SUB_FAILED,
    TASK_COMPLETED,
    TASK_FAILED,
    TASK_SCHEDULED,
    TIMER_CREATED,
    TIMER_FIRED,
    Event,
)
from local.durable.options import DurableOptions
from local.durable.outofproc.decider import OutOfProcDecider
from local.durable.outofproc.walker import Walker

START = 1_700_000_000_000_000
EXECUTION = Execution("instance", "execution", "program", None)


class OneOrchestrator:
    """`Functions` with one orchestrator under every name."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._handler = Orchestrator.create(function)

    def has(self, kind: str, name: str) -> bool:
        return True

    def orchestrator(self, name: str) -> Callable[[str], str]:
        return self._handler

    def generator(self, name: str) -> Callable[..., object]:
        return self._function

    async def activity(self, name: str, input_json: str, *, instance_id: str, task_id: int) -> str:
        raise AssertionError("activities are answered by the test")

    async def entity(self, name: str, batch_json: str) -> str:
        raise AssertionError("entities are answered by the test")


class World:
    """Drives one execution through its decider, and keeps its history as the engine would."""

    def __init__(self, function: Callable[[Any], Any], mode: str = "check", **options: Any) -> None:
        self._functions = OneOrchestrator(function)
        self._options = DurableOptions(executor=mode, **options)  # type: ignore[arg-type]
        self.history: list[Event] = []
        self.now = START
        self.pending: dict[int, Event] = {}
        self._attempts: dict[Any, int] = {}
        self.decider = self._open()
        self.decision = Decision([])

    def _open(self) -> OutOfProcDecider:
        return OutOfProcDecider(self._functions, self._options, EXECUTION, list(self.history))

    def crash(self) -> None:
        """Lose the memory, keep the history."""
        self.decider.close()
        self.decider = self._open()

    @property
    def walker(self) -> Walker:
        return self.decider._walker

    def start(self, value: object = None) -> Decision:
        """The first episode."""
        return self.episode([Event(EXECUTION_STARTED, self.now, name="program", data=json.dumps(json.dumps(value)))])

    def episode(self, events: list[Event]) -> Decision:
        """One episode with these events."""
        self.now += 1_000_000
        events = [Event(ORCHESTRATOR_STARTED, self.now), *events]
        self.decision = self.decider.decide(events)
        after = [*self.decision.effects, Event(ORCHESTRATOR_COMPLETED, self.now)]
        self.history += [*events, *after]
        for effect in self.decision.effects:
            if effect.kind != EVENT_SENT or not json.loads(effect.data or "")["signal"]:
                assert effect.id not in self.pending
                self.pending[effect.id] = effect
        if self.decision.outcome is None:
            self.decider.recorded(after)
        return self.decision

    def answer(self, number: int) -> Event:
        """What comes back for a scheduled item."""
        effect = self.pending.pop(number)
        if effect.kind == TIMER_CREATED:
            self.now = max(self.now, effect.due or 0)
            return Event(TIMER_FIRED, self.now, number, due=effect.due)
        if effect.kind == EVENT_SENT:
            request = json.loads(effect.data or "")
            return Event(EVENT_RAISED, self.now, name=request["id"], data=json.dumps({"result": "5"}))
        given = json.loads(effect.data or "null")
        if effect.kind == SUB_CREATED:
            given = json.loads(given)
        failed = effect.name == "flaky" and self._fails(given)
        if effect.kind == TASK_SCHEDULED:
            if failed:
                return Event(TASK_FAILED, self.now, number, ref="failed", data="")
            return Event(TASK_COMPLETED, self.now, number, data=json.dumps(given["key"]))
        if failed:
            return Event(SUB_FAILED, self.now, number, ref="failed", data="")
        return Event(SUB_COMPLETED, self.now, number, data=json.dumps(given["key"]))

    def _fails(self, given: dict[str, Any]) -> bool:
        attempt = self._attempts[given["key"]] = self._attempts.get(given["key"], 0) + 1
        return attempt <= given["failures"]

    def sdk_numbers(self) -> set[int]:
        """Numbers of the tasks that the SDK holds open."""
        assert self.decider._live is not None
        return {key for key in self.decider._live._context.open_tasks if isinstance(key, int)}
