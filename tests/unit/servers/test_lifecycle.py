"""The table of states, what people see, and what becomes of requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.messaging.server_messages import Observed
from shared.platform.flows import event_content
from shared.platform.ids import OrgId
from shared.servers.asking import KINDS, desire
from shared.servers.lifecycle import ASKED, OBSERVED, TRANSITIONS, Event, Status, allowed
from shared.servers.models import Desired, Operation, Server, ServerObserved, TemplateRef, operation_of, status_of
from shared.tasks.models import TaskKind
from shared.tasks.rules import DEADLINES, LEFT_BEHIND, SWEEP_EVERY, YOUNG, pause_after, sweeps, tries_again
from shared.templates.models import Resources

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[3]


def server(**changes: Any) -> Server:
    base: dict[str, Any] = {
        "id": "srv_1",
        "org_id": OrgId("org_1"),
        "name": "s",
        "template": TemplateRef(id="system:echo", key="echo", version=1),
        "node_id": "nod_1",
        "resources": Resources(),
    }
    return Server(**{**base, **changes})


def seen(state: str, over: str = "") -> ServerObserved:
    return ServerObserved(
        id="obs_srv_1", org_id=OrgId("org_1"), server_id="srv_1", node_id="nod_1", state=state, at=1.0, over=over
    )


OPERATION = Operation(task_id="tsk_1", kind="server.provision", until=NOW + timedelta(hours=1))


@pytest.mark.parametrize(
    ("kept", "observed", "status"),
    [
        pytest.param(server(operation=OPERATION), None, Status.PROVISIONING, id="just_made"),
        pytest.param(server(operation=OPERATION), seen("installing"), Status.INSTALLING, id="installing"),
        pytest.param(server(operation=OPERATION), seen("running", "tsk_1"), Status.RUNNING, id="running"),
        pytest.param(server(operation=OPERATION), seen("install_failed", "tsk_1"), Status.FAILED, id="install_failed"),
        pytest.param(server(operation=OPERATION), seen("absent", "tsk_1"), Status.FAILED, id="never_got_there"),
        pytest.param(server(operation=OPERATION), seen("absent"), Status.PROVISIONING, id="not_yet_there"),
        pytest.param(server(), seen("backing_off"), Status.CRASHED, id="crashed"),
        pytest.param(server(), seen("crash_loop"), Status.CRASH_LOOP, id="crash_loop"),
        pytest.param(
            server(desired=Desired(suspended="unpaid")), seen("running"), Status.SUSPENDED, id="suspended_at_once"
        ),
        pytest.param(server(desired=Desired(removed=True)), seen("running"), Status.DELETING, id="deleting_at_once"),
    ],
)
def test_what_people_see(kept: Server, observed: ServerObserved | None, status: Status) -> None:
    assert status_of(kept, observed) is status


def test_an_operation_is_over_when_its_task_is() -> None:
    assert operation_of(server(operation=OPERATION), seen("running")) == OPERATION
    assert operation_of(server(operation=OPERATION), seen("running", "tsk_1")) is None


def test_every_state_of_a_node_has_a_status() -> None:
    import typing

    states = typing.get_args(typing.get_type_hints(Observed)["state"])
    assert set(states) == set(OBSERVED)


def test_the_table_leads_from_the_beginning_to_every_state_and_on_to_the_end() -> None:
    reached, waiting = {Status.PROVISIONING}, [Status.PROVISIONING]
    while waiting:
        source = waiting.pop()
        for (status, _), target in TRANSITIONS.items():
            if status is source and target not in reached:
                reached.add(target)
                waiting.append(target)
    assert reached == set(Status)
    for status in set(Status) - {Status.DELETED}:
        assert (status, Event.DELETE) in TRANSITIONS, f"{status} cannot be deleted"
    assert not any(source is Status.DELETED for source, _ in TRANSITIONS)


@pytest.mark.parametrize("event", [event for event in ASKED if event is not Event.RETRY])
def test_each_request_has_a_task_and_changes_what_is_desired(event: Event) -> None:
    before = Desired(power="off" if event is Event.START else "on", suspended="x" if event is Event.RESUME else None)
    assert event in KINDS
    assert desire(before, event) != before


def test_what_may_be_asked_follows_from_the_table() -> None:
    assert Event.START in allowed(Status.STOPPED)
    assert Event.START not in allowed(Status.RUNNING)
    assert allowed(Status.SUSPENDED) == (Event.RESUME, Event.DELETE)


def test_the_page_of_states_is_written_from_the_table() -> None:
    page = (ROOT / "docs/reference/server-states.md").read_text()
    from shared.servers.reference import page as written

    assert written() == page, "run python -m shared.servers.reference"


FAILED = {
    "status": "failed",
    "result": {"report": {"steps": [{"name": "install", "state": "failed", "retryable": True}]}},
}


@pytest.mark.parametrize(
    ("attempt", "outcome", "again"),
    [
        pytest.param(1, FAILED, True, id="first"),
        pytest.param(2, FAILED, True, id="second"),
        pytest.param(3, FAILED, False, id="third_is_the_last"),
        pytest.param(4, FAILED, True, id="asked_anew"),
        pytest.param(1, {"status": "succeeded"}, False, id="succeeded"),
        pytest.param(1, {"status": "failed", "result": {}}, False, id="no_use"),
        pytest.param(1, {}, False, id="nothing"),
    ],
)
def test_what_follows_an_attempt(attempt: int, outcome: dict[str, Any], again: bool) -> None:
    assert tries_again(attempt, outcome) is again
    assert timedelta(0) < pause_after(attempt) <= timedelta(minutes=1)


@pytest.mark.parametrize("event", ['{"a": 1}', '"{\\"a\\": 1}"', {"a": 1}])
def test_an_event_is_read_however_often_it_was_encoded(event: Any) -> None:
    assert event_content(event) == {"a": 1}


@pytest.mark.parametrize("event", ["not json", 7, None, [1]])
def test_an_event_that_is_none_is_nothing(event: Any) -> None:
    assert event_content(event) == {}


@pytest.mark.parametrize("kind", TaskKind)
def test_a_task_that_its_door_left_behind_is_begun_in_time(kind: TaskKind) -> None:
    """The sweep that begins it comes when most of the time to do it in is still left, of the shortest nearly half."""
    assert DEADLINES[kind] >= (SWEEP_EVERY + LEFT_BEHIND) * 1.5


def test_a_process_that_has_just_begun_sweeps_what_the_last_one_left_behind() -> None:
    """At least once when all of that is old enough, wherever in the five minutes it began."""
    for began in range(300):
        ticks = [second for second in range(began, began + 400) if second % 60 == 15]
        looks = [at - began for at in ticks if sweeps(NOW + timedelta(seconds=at), timedelta(seconds=at - began))]
        assert (
            LEFT_BEHIND.seconds < next(look for look in looks if look > LEFT_BEHIND.seconds) <= 2 * LEFT_BEHIND.seconds
        )
        assert [look for look in looks if look > YOUNG.seconds] == [
            at - began for at in ticks if at % 300 == 15 and at - began > YOUNG.seconds
        ]
