"""Recorded histories of commands to nodes, replayed: a change that would break those under way shows here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from orchestrations import node_command
from shared.nodes.commands import event_of
from tests.support.histories import History, names

JOB = {"org_id": "org_1", "node_id": "nod_1", "id": "tsk_1", "deadline": "2026-01-01T00:02:00.000Z"}
DEADLINE = datetime(2026, 1, 1, 0, 2, tzinfo=UTC)
REPORT = event_of("tsk_1")
WAITING = [REPORT, "timer"]


def waiting() -> History:
    history = History(node_command, "node_command", JOB)
    history.add(history.timer(0, DEADLINE))
    return history


def test_it_only_waits_for_what_the_door_has_sent() -> None:
    state = History(node_command, "node_command", JOB).replay()
    assert names(state) == WAITING
    assert not state["isDone"]


def test_a_report_ends_it_without_an_activity() -> None:
    history = waiting()
    state = history.next(history.raised(REPORT, {"status": "succeeded"})).replay()
    assert (state["isDone"], state["output"]) == (True, "succeeded")
    assert names(state) == WAITING


def test_silence_is_written_down() -> None:
    history = waiting()
    history.next(history.fired(0, DEADLINE), after=timedelta(minutes=2))
    state = history.replay()
    assert names(state) == [*WAITING, "end_node_command"]
    assert not state["isDone"]
    history.add(history.scheduled(1, "end_node_command"))
    state = history.next(history.completed(1, True)).replay()
    assert (state["isDone"], state["output"]) == (True, "timed_out")


def test_what_the_door_could_not_send_is_sent_by_a_flow_of_its_own() -> None:
    history = History(node_command, "resend_node_command", JOB)
    assert names(history.replay()) == ["send_node_command_message"]
    history.add(history.scheduled(0, "send_node_command_message"))
    state = history.next(history.completed(0, True)).replay()
    assert state["isDone"]
