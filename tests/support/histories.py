"""Recorded histories of orchestrations, replayed through the SDK's own handler."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class History:
    """Events as the extension records them; `next` begins another turn."""

    def __init__(self, flows: ModuleType, name: str, job: dict[str, Any]) -> None:
        self.flows, self.name, self.job, self.clock = flows, name, job, NOW
        self.events: list[dict[str, Any]] = []
        self._turn()
        started = {"EventType": 0, "EventId": -1, "Name": name, "Version": "", "Input": json.dumps(job)}
        self.add({**started, "OrchestrationInstance": {"InstanceId": "tsk_1"}})

    def add(self, event: dict[str, Any]) -> None:
        stamp = self.clock.isoformat().replace("+00:00", "Z")
        self.events.append({"EventId": -1, "IsPlayed": False, "Timestamp": stamp, **event})

    def _turn(self) -> None:
        for event in self.events:
            event["IsPlayed"] = True
        self.add({"EventType": 12})

    def next(self, *events: dict[str, Any], after: timedelta = timedelta(seconds=1)) -> History:
        self.clock += after
        self._turn()
        for event in events:
            self.add(event)
        return self

    def scheduled(self, id: int, name: str) -> dict[str, Any]:
        return {"EventType": 4, "EventId": id, "Name": name, "Input": "{}"}

    def completed(self, id: int, result: Any) -> dict[str, Any]:
        return {"EventType": 5, "TaskScheduledId": id, "Result": json.dumps(result)}

    def timer(self, id: int, at: datetime) -> dict[str, Any]:
        return {"EventType": 10, "EventId": id, "FireAt": at.isoformat().replace("+00:00", "Z")}

    def fired(self, id: int, at: datetime) -> dict[str, Any]:
        return {"EventType": 11, "TimerId": id, "FireAt": at.isoformat().replace("+00:00", "Z")}

    def raised(self, name: str, value: Any) -> dict[str, Any]:
        return {"EventType": 15, "Name": name, "Input": json.dumps(json.dumps(value))}

    def replay(self) -> dict[str, Any]:
        """What the orchestrator asks for, with this history behind it."""
        context = {
            "history": self.events,
            "input": json.dumps(self.job),
            "instanceId": "tsk_1",
            "isReplaying": False,
            "parentInstanceId": None,
            "upperSchemaVersion": 1,
            "upperSchemaVersionNew": 2,
            "longRunningTimerIntervalDuration": "3.00:00:00",
            "maximumShortTimerDuration": "6.00:00:00",
        }
        handler = getattr(self.flows, self.name)._function.get_user_function()
        found: dict[str, Any] = json.loads(handler(json.dumps(context)))
        return found


def flat(actions: Any) -> list[dict[str, Any]]:
    if isinstance(actions, list):
        return [each for action in actions for each in flat(action)]
    inner = actions.get("compoundActions")
    return flat(inner) if inner else [actions]


def names(state: dict[str, Any]) -> list[str]:
    """Activities, events and timers in order."""
    kinds = {5: "timer"}
    return [
        action.get("functionName") or action.get("externalEventName") or kinds[action["actionType"]]
        for action in flat(state["actions"])
    ]
