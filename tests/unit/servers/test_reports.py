"""What reports do to tasks, servers and reservations: once each, whatever comes twice, late, or from elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from orchestrations.task_sweep import sweep
from shared.composition import Services
from shared.messaging.codec import to_wire
from shared.messaging.reports import Outcome, Status
from shared.messaging.server_messages import Observed, Sample, ServerReport, StepReport
from shared.platform.settings import load_settings
from shared.servers.asking import Asked
from shared.servers.lifecycle import Status as Seen
from shared.servers.models import NodeLedger, Orphan, Server, ServerObserved, ledger_id, orphan_id, status_of
from shared.tasks.models import Task, TaskKind, TaskState
from tests.support.clocks import SetClock
from tests.unit.servers.test_reserving import ORG, ask, servers_of


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest_asyncio.fixture
async def house(values: dict[str, str], clock: SetClock) -> AsyncIterator[Services]:
    made = Services(load_settings(values), clock=clock)
    made.__dict__["servers"] = servers_of(made)  # the composition's own slot: nodes come from the test
    yield made
    await made.close()


@pytest_asyncio.fixture
async def asked(house: Services) -> Asked:
    made = await ask(house.servers, house, "one")
    assert isinstance(made, Asked)
    return made


def report(asked: Asked, state: str, at: float = 100.0, **more: Any) -> ServerReport:
    observed = Observed(server_id=asked.server.id, revision=1, state=state, at=at)  # type: ignore[arg-type]
    return ServerReport(observed, asked.task.id, **more)


def ended(
    asked: Asked, status: Status, state: str, at: float = 100.0, *, steps: tuple[StepReport, ...] = ()
) -> Outcome:
    return Outcome(
        status,
        "digest_mismatch" if status is Status.FAILED else "ok",
        "why",
        result={"report": to_wire(report(asked, state, at, steps=steps))},
    )


async def take(house: Services, asked: Asked, told: ServerReport | Outcome, node: str | None = None) -> None:
    outcome = told if isinstance(told, Outcome) else None
    await house.server_reports.take(
        ORG,
        node or str(asked.server.node_id),
        server_id=asked.server.id,
        task_id=asked.task.id,
        payload=to_wire(told) if outcome is None else {},
        outcome=outcome,
    )


async def task_of(house: Services, asked: Asked) -> Task:
    return await house.store.get(ORG, Task, asked.task.id)


async def held(house: Services, asked: Asked) -> bool:
    ledger = await house.store.get(ORG, NodeLedger, ledger_id(str(asked.server.node_id)))
    return asked.server.id in ledger.spec


async def seen(house: Services, asked: Asked) -> Seen:
    return status_of(*await house.servers.get(ORG, asked.server.id))


async def test_progress_then_success(house: Services, asked: Asked) -> None:
    await take(
        house, asked, report(asked, "installing", 99, steps=(StepReport("install", "running", 1.0, percent=50),))
    )
    assert (await task_of(house, asked)).state is TaskState.RUNNING
    assert (await task_of(house, asked)).percent == 10
    assert await seen(house, asked) is Seen.INSTALLING
    await take(house, asked, ended(asked, Status.SUCCEEDED, "running"))
    assert (await task_of(house, asked)).state is TaskState.SUCCEEDED
    assert await seen(house, asked) is Seen.RUNNING
    assert await held(house, asked)


async def test_progress_is_written_once_and_a_new_state_beside_it(house: Services, asked: Asked) -> None:
    def progress(state: str, at: float, percent: int) -> ServerReport:
        return report(asked, state, at, steps=(StepReport("install", "running", 1.0, percent=percent),))

    async def observed() -> ServerObserved:
        return await house.store.get(ORG, ServerObserved, f"obs_{asked.server.id}")

    await take(house, asked, progress("installing", 99, 10))
    first = await observed()
    await take(house, asked, progress("installing", 101, 60))
    assert (await task_of(house, asked)).steps[0].percent == 60
    assert await observed() == first, "the task alone says what is new"
    await take(house, asked, progress("starting", 103, 99))
    assert (await observed()).state == "starting"
    await take(house, asked, report(asked, "starting", 104))
    assert (await observed()).at == 103, "it belongs to the task"


async def test_a_repeated_end_and_a_late_report_change_nothing(house: Services, asked: Asked) -> None:
    await take(house, asked, ended(asked, Status.SUCCEEDED, "running"))
    before = await task_of(house, asked)
    await take(house, asked, ended(asked, Status.FAILED, "install_failed"))
    await take(house, asked, report(asked, "starting", 50))
    assert await task_of(house, asked) == before
    assert await seen(house, asked) in (Seen.RUNNING, Seen.FAILED)
    kept = await house.store.get(ORG, ServerObserved, f"obs_{asked.server.id}")
    assert kept.at == 100.0, "older observations are left out"


@pytest.mark.parametrize(
    ("kept", "state", "told_at"),
    [
        ({"at": 90.0}, "running", 100.0),
        ({"at": 100.0}, "running", 100.0),
        ({"at": 101.0, "state": "crashed"}, "crashed", 101.0),  # what the end says is older
        ({"node_id": "nod_elsewhere"}, "running", 100.0),  # from before the server was placed again
    ],
    ids=["older", "of the same moment", "newer", "of another node"],
)
async def test_the_end_of_a_task_and_what_is_kept(
    house: Services, asked: Asked, kept: dict[str, Any], state: str, told_at: float
) -> None:
    await take(house, asked, report(asked, "installing", 80, steps=(StepReport("install", "running", 1.0),)))
    id = f"obs_{asked.server.id}"
    await house.store.update(ORG, ServerObserved, id, lambda before: before.having(**kept))
    await take(house, asked, ended(asked, Status.SUCCEEDED, "running"))
    now = await house.store.get(ORG, ServerObserved, id)
    assert (now.state, now.at, now.over, now.server_id) == (state, told_at, asked.task.id, asked.server.id)
    assert now.node_id == asked.server.node_id
    assert (await task_of(house, asked)).state is TaskState.SUCCEEDED


async def test_an_end_without_anything_kept_is_kept(house: Services, asked: Asked) -> None:
    await house.store.update(ORG, Task, asked.task.id, lambda task: task.having(state=TaskState.RUNNING))
    await take(house, asked, ended(asked, Status.SUCCEEDED, "running"))
    now = await house.store.get(ORG, ServerObserved, f"obs_{asked.server.id}")
    assert (now.state, now.over) == ("running", asked.task.id)


async def test_a_first_word_about_a_server_that_is_known_after_all(house: Services, asked: Asked) -> None:
    early = ServerObserved(
        id=f"obs_{asked.server.id}", org_id=ORG, server_id=asked.server.id, node_id=str(asked.server.node_id),
        state="installing", at=90.0,
    )  # fmt: skip
    await house.store.create(ORG, early)
    await take(house, asked, ended(asked, Status.SUCCEEDED, "running"))
    now = await house.store.get(ORG, ServerObserved, early.id)
    assert (now.state, now.over) == ("running", asked.task.id)


async def test_a_failed_install_releases_once(house: Services, asked: Asked) -> None:
    step = StepReport("install", "failed", 1.0, code="digest_mismatch", error="why")
    for _ in range(2):
        await take(house, asked, ended(asked, Status.FAILED, "install_failed", steps=(step,)))
    task = await task_of(house, asked)
    assert task.failure is not None
    assert (task.state, task.failure.step) == (TaskState.FAILED, "install")
    assert not await held(house, asked)


async def test_a_failed_start_keeps_the_room_for_the_files_are_there(house: Services, asked: Asked) -> None:
    await take(house, asked, ended(asked, Status.FAILED, "backing_off"))
    assert await held(house, asked)
    assert await seen(house, asked) is Seen.CRASHED


async def test_a_retryable_failure_is_not_the_end(house: Services, asked: Asked) -> None:
    step = StepReport("install", "failed", 1.0, code="download_failed", retryable=True)
    await take(house, asked, ended(asked, Status.FAILED, "install_failed", steps=(step,)))
    task = await task_of(house, asked)
    assert (task.state, task.attempt) == (TaskState.RUNNING, 2)
    assert await held(house, asked)


async def test_another_node_cannot_speak_about_it(house: Services, asked: Asked) -> None:
    await take(house, asked, ended(asked, Status.SUCCEEDED, "running"), node="nod_other")
    assert (await task_of(house, asked)).state is TaskState.PENDING
    assert await house.store.find(ORG, ServerObserved, f"obs_{asked.server.id}") is None


async def test_a_refused_command_ends_the_task_and_gives_the_room_back(house: Services, asked: Asked) -> None:
    await take(house, asked, Outcome(Status.REJECTED, "stale_revision", "too old"))
    assert (await task_of(house, asked)).state is TaskState.FAILED
    assert not await held(house, asked)
    assert await seen(house, asked) is Seen.FAILED


async def test_minutes_are_kept_once_and_rolled_up(house: Services, asked: Asked, clock: SetClock) -> None:
    await take(house, asked, ended(asked, Status.SUCCEEDED, "running"))
    now = clock.now().timestamp()
    samples = tuple(Sample(now - 60 * n, 10.0 * n, 100.0, n) for n in range(1, 6))
    for _ in range(2):
        await take(house, asked, report(asked, "running", 101.0, samples=samples))
    since, until = clock.now() - timedelta(hours=2), clock.now()
    minutes = await house.history.read(ORG, asked.server.id, since, until, hours=False)
    assert [point.players for point in minutes] == [5, 4, 3, 2, 1]
    hours = await house.history.read(ORG, asked.server.id, since, until, hours=True)
    assert [(point.cpu_percent, point.players) for point in hours] == [(30.0, 5.0)]


class Flows:
    """What a durable client was asked to begin."""

    def __init__(self, known: set[str]) -> None:
        self.known, self.begun = known, []

    async def get_status(self, instance: str) -> Any:
        return type("Status", (), {"runtime_status": "Running"})() if instance in self.known else None

    async def start_new(self, name: str, instance_id: str | None = None, client_input: Any = None) -> str:
        self.begun.append((name, instance_id))
        return str(instance_id)

    async def raise_event(self, instance_id: str, event_name: str, event_data: Any = None) -> None:
        """Not used by the sweep."""


class Sender:
    """What would have gone to the broker."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, org_id: str, node_id: str, order: Any, *, task_id: str, **_: Any) -> Any:
        self.sent.append(order.step)


async def test_the_sweep_begins_what_was_left_and_ends_what_is_overdue(
    house: Services, asked: Asked, clock: SetClock
) -> None:
    flows = Flows(set())
    await sweep(house, ORG, flows)
    assert flows.begun == [], "it may be about to begin"
    clock.advance(180)
    await sweep(house, ORG, flows)
    assert flows.begun == [("provision_server", asked.task.id)]
    waiting, sender = Flows({asked.task.id}), Sender()
    house.dispatcher._sender = sender
    await sweep(house, ORG, waiting)
    assert waiting.begun == []
    assert sender.sent == ["server.provision#1"], "it waits: its command goes again, and is the same one"
    clock.advance(3 * 3600)
    await sweep(house, ORG, waiting)
    task = await task_of(house, asked)
    assert task.failure is not None
    assert (task.state, task.failure.code) == (TaskState.TIMED_OUT, "timed_out")
    assert not await held(house, asked)


async def test_a_deletion_that_nobody_answers_leaves_an_orphan_that_holds_its_room(
    house: Services, asked: Asked, clock: SetClock
) -> None:
    from shared.audit.models import Actor
    from shared.servers.lifecycle import Event

    await take(house, asked, ended(asked, Status.SUCCEEDED, "running"))
    removal = await house.servers.ask(
        ORG, asked.server.id, Event.DELETE, task_id="tsk_removal", actor=Actor(kind="user", id="usr_ann")
    )
    clock.advance(3 * 3600)
    await sweep(house, ORG, Flows({removal.task.id}))
    assert await house.store.find(ORG, Server, asked.server.id) is None
    assert await house.store.find(ORG, Orphan, orphan_id(asked.server.id, asked.server.node_id or "")) is not None
    assert await held(house, asked), "its game may still run there"
    late = Outcome(Status.SUCCEEDED, "ok", result={"report": to_wire(report(asked, "removed", 200.0))})
    await house.server_reports.take(
        ORG, str(asked.server.node_id), server_id=asked.server.id, task_id="tsk_removal", payload={}, outcome=late
    )
    assert await house.store.find(ORG, Orphan, orphan_id(asked.server.id, asked.server.node_id or "")) is None
    assert not await held(house, asked)
    assert removal.task.kind is TaskKind.DELETE
