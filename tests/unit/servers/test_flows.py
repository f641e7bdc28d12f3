"""Recorded histories, replayed: a change that would break orchestrations that are under way shows here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrations import reconcile_server, server_flows
from shared.servers.flows import event_of
from shared.tasks.models import TaskKind
from tests.support.histories import History, names

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


def event(kind: TaskKind, attempt: int = 1) -> str:
    return event_of("tsk_1", kind, attempt)


def provisioning() -> History:
    """Begun, sent, waiting."""
    history = History(server_flows, "provision_server", JOB)
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
    history.add(history.timer(1, DEADLINE))
    return history


def test_it_sends_first() -> None:
    state = History(server_flows, "provision_server", JOB).replay()
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
    history.add(history.timer(2, pause))
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
    state = History(server_flows, "operate_server", SENT).replay()
    assert names(state) == [START, "cancel.1", "timer"]
    history = History(server_flows, "operate_server", SENT)
    history.add(history.timer(0, DEADLINE))
    state = history.next(history.raised(START, {"status": "succeeded"})).replay()
    assert (state["isDone"], state["output"]) == (True, "succeeded"), "no activity at all: two turns"
    assert names(state) == [START, "cancel.1", "timer"]


def test_a_reconciliation_is_sent_and_waited_for_like_every_other() -> None:
    history = History(reconcile_server, "reconcile_server", {**JOB, "kind": "server.reconcile"})
    assert names(history.replay()) == ["send_server_command"]
    history.add(
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
    history.add(history.timer(1, DEADLINE))
    done = event(TaskKind.RECONCILE)
    state = history.next(history.raised(done, {"status": "succeeded"})).replay()
    assert (state["isDone"], state["output"]) == (True, "succeeded")
