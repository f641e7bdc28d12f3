"""Recorded histories, replayed: a change that would break orchestrations that are under way shows here."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrations import reconcile_server, server_flows
from shared.servers.dispatch import event_of
from shared.tasks.models import TaskKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JOB = {
    "org_id": "org_1",
    "task_id": "tsk_1",
    "kind": "server.provision",
    "attempt": 1,
    "sent": False,
    "deadline": "2026-01-01T02:00:00.000Z",
}
SENT = {**JOB, "kind": "server.start", "sent": True}
RETRYABLE = {"status": "failed", "result": {"report": {"steps": [{"state": "failed", "retryable": True}]}}}


class History:
    """Events as the extension records them; `next` begins another turn."""

    def __init__(self, name: str, job: dict[str, Any]) -> None:
        self.name, self.job, self.clock, self.events = name, job, NOW, []
        self._turn()
        started = {"EventType": 0, "EventId": -1, "Name": name, "Version": "", "Input": json.dumps(job)}
        self._add({**started, "OrchestrationInstance": {"InstanceId": "tsk_1"}})

    def _add(self, event: dict[str, Any]) -> None:
        stamp = self.clock.isoformat().replace("+00:00", "Z")
        self.events.append({"EventId": -1, "IsPlayed": False, "Timestamp": stamp, **event})

    def _turn(self) -> None:
        for event in self.events:
            event["IsPlayed"] = True
        self._add({"EventType": 12})

    def next(self, *events: dict[str, Any], after: timedelta = timedelta(seconds=1)) -> History:
        self.clock += after
        self._turn()
        for event in events:
            self._add(event)
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
        module = reconcile_server if self.name == "reconcile_server" else server_flows
        handler = getattr(module, self.name)._function.get_user_function()
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


def event(kind: TaskKind, attempt: int = 1) -> str:
    return event_of("tsk_1", kind, attempt)


def provisioning() -> History:
    """Begun, sent, waiting."""
    history = History("provision_server", JOB)
    history.events.append(
        {
            "EventType": 4,
            "EventId": 0,
            "IsPlayed": False,
            "Timestamp": history.events[0]["Timestamp"],
            "Name": "send_server_command",
            "Input": "{}",
        }
    )
    return history.next(history.completed(0, True))


DEADLINE = datetime(2026, 1, 1, 2, tzinfo=UTC)
PROVISION = event(TaskKind.PROVISION)
WAITING = ["send_server_command", PROVISION, "cancel.1", "timer"]


def waiting() -> History:
    history = provisioning()
    history._add(history.timer(1, DEADLINE))
    return history


def test_it_sends_first() -> None:
    state = History("provision_server", JOB).replay()
    assert names(state) == ["send_server_command"]
    assert not state["isDone"]


def test_it_waits_for_the_report_a_cancellation_or_the_end() -> None:
    state = provisioning().replay()
    assert names(state) == WAITING
    assert not state["isDone"]


@pytest.mark.parametrize(
    ("outcome", "output"),
    [({"status": "succeeded"}, "succeeded"), ({"status": "failed"}, "failed"), ({"status": "rejected"}, "rejected")],
)
def test_a_report_ends_it(outcome: dict[str, Any], output: str) -> None:
    history = waiting()
    state = history.next(history.raised(PROVISION, outcome)).replay()
    assert (state["isDone"], state["output"]) == (True, output)
    assert names(state) == WAITING


def test_a_retryable_failure_is_followed_by_a_pause_and_another_attempt() -> None:
    history = waiting()
    history.next(history.raised(PROVISION, RETRYABLE))
    state = history.replay()
    assert names(state) == [*WAITING, "timer"]
    pause = history.clock + timedelta(seconds=5)
    history._add(history.timer(2, pause))
    history.next(history.fired(2, pause), after=timedelta(seconds=5))
    assert names(history.replay()) == [*WAITING, "timer", "send_server_command"]


def test_a_cancellation_is_carried_out() -> None:
    history = waiting()
    state = history.next(history.raised("cancel.1", {"by": "usr_1"})).replay()
    assert names(state) == [*WAITING, "cancel_server_task"]


def test_the_deadline_ends_it() -> None:
    history = waiting()
    state = history.next(history.fired(1, DEADLINE), after=timedelta(hours=2)).replay()
    assert names(state) == [*WAITING, "expire_server_task"]


START = event(TaskKind.START)


def test_what_was_sent_with_the_request_is_only_waited_for() -> None:
    state = History("operate_server", SENT).replay()
    assert names(state) == [START, "cancel.1", "timer"]
    history = History("operate_server", SENT)
    history._add(history.timer(0, DEADLINE))
    state = history.next(history.raised(START, {"status": "succeeded"})).replay()
    assert (state["isDone"], state["output"]) == (True, "succeeded"), "no activity at all: two turns"
    assert names(state) == [START, "cancel.1", "timer"]


def test_a_reconciliation_is_sent_and_waited_for_like_every_other() -> None:
    history = History("reconcile_server", {**JOB, "kind": "server.reconcile"})
    assert names(history.replay()) == ["send_server_command"]
    history._add(
        {
            "EventType": 4,
            "EventId": 0,
            "IsPlayed": False,
            "Timestamp": history.events[0]["Timestamp"],
            "Name": "send_server_command",
            "Input": "{}",
        }
    )
    history.next(history.completed(0, True))
    history._add(history.timer(1, DEADLINE))
    done = event(TaskKind.RECONCILE)
    state = history.next(history.raised(done, {"status": "succeeded"})).replay()
    assert (state["isDone"], state["output"]) == (True, "succeeded")
