"""What a node has against what it should have, and when it may be put right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.messaging.agent_api import ServerState
from shared.platform.ids import OrgId
from shared.servers.drift import Drift, Kind, Wanted, compare, may_begin, rests_until
from shared.tasks.models import Task, TaskKind, TaskState

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
MINE = Wanted("srv_a", 5)


def says(revision: int, state: str = "running") -> list[ServerState]:
    return [ServerState("srv_a", revision, state)]


@pytest.mark.parametrize(
    ("name", "said", "wanted", "held", "expected"),
    [
        ("as it should be", says(5), [MINE], ["srv_a"], None),
        ("a lost command", says(4), [MINE], ["srv_a"], Kind.BEHIND),
        ("a disk set back to before it", [], [MINE], ["srv_a"], Kind.MISSING),
        ("a lost journal, its files are there", says(0, "left_over"), [MINE], ["srv_a"], Kind.BEHIND),
        ("our store set back", says(7), [MINE], ["srv_a"], Kind.AHEAD),
        ("deleted, and the node was away", says(4), [Wanted("srv_a", 5, gone=True)], [], Kind.OWED),
        ("deleted, and the node does not know it any more", [], [Wanted("srv_a", 5, gone=True)], [], Kind.OWED),
        ("its provisioning failed, nothing is there", [], [MINE], [], None),
        ("its provisioning failed, its rest is there", says(5, "install_failed"), [MINE], [], None),
        ("given up while the node was away, and it runs", says(5), [MINE], [], Kind.OWED),
        ("never heard of", says(3), [], [], Kind.STRANGER),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_differences(
    name: str, said: list[ServerState], wanted: list[Wanted], held: list[str], expected: Kind | None
) -> None:
    found = compare(said, wanted, held)
    assert [drift.kind for drift in found] == ([expected] if expected else [])


def test_a_beat_that_is_full_says_nothing_of_what_is_missing() -> None:
    said = [ServerState(f"srv_{number}", 1, "running") for number in range(500)]
    wanted = [Wanted(one.id, 1) for one in said] + [MINE]
    assert compare(said, wanted, [one.id for one in wanted]) == []


def task(kind: TaskKind, state: TaskState, ended: float = 0.0) -> Task:
    ended_at = NOW - timedelta(minutes=ended) if state.final else None
    return Task(
        id="tsk_1", org_id=OrgId("org_1"), kind=kind, target="srv_a", state=state, deadline=NOW, ended_at=ended_at
    )


FAILED = TaskState.FAILED
RECONCILE = TaskKind.RECONCILE


@pytest.mark.parametrize(
    ("name", "kind", "tasks", "expected"),
    [
        ("nothing under way", Kind.BEHIND, [task(TaskKind.START, TaskState.TIMED_OUT)], True),
        ("something under way", Kind.BEHIND, [task(TaskKind.START, TaskState.PENDING)], False),
        ("failed four minutes ago", Kind.BEHIND, [task(RECONCILE, FAILED, 4)], False),
        ("failed six minutes ago", Kind.BEHIND, [task(RECONCILE, FAILED, 6)], True),
        (
            "failed again, nine minutes ago",
            Kind.BEHIND,
            [task(RECONCILE, FAILED, 9), task(RECONCILE, FAILED, 30)],
            False,
        ),
        ("put right a minute ago", Kind.BEHIND, [task(RECONCILE, TaskState.SUCCEEDED, 1)], False),
        (
            "asked for something since",
            Kind.BEHIND,
            [task(TaskKind.STOP, TaskState.SUCCEEDED), task(RECONCILE, FAILED, 1)],
            True,
        ),
        ("a stranger without a trace", Kind.STRANGER, [], False),
        ("a stranger that was started once", Kind.STRANGER, [task(TaskKind.START, TaskState.SUCCEEDED)], False),
        ("a stranger that a member deleted", Kind.STRANGER, [task(TaskKind.DELETE, TaskState.SUCCEEDED)], True),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_when_it_may_be_put_right(name: str, kind: Kind, tasks: list[Task], expected: bool) -> None:
    assert may_begin(Drift("srv_a", kind, 1, 2), tasks, NOW) is expected


def test_the_rest_has_a_longest() -> None:
    many: list[Any] = [task(RECONCILE, FAILED)] * 20
    assert rests_until(many) == NOW + timedelta(hours=6)
