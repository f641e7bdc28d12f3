"""What a node may make of its reports, over a real store: nothing that it has no say in, and nothing that holds up others."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec

from agent.identity import make_csr
from shared.composition import Services
from shared.messaging import jws
from shared.messaging.codec import to_wire
from shared.messaging.commands import command_id, report_event
from shared.messaging.reports import REPORT_KIND, NodeEvent, Outcome, Report, ReportType, Status
from shared.messaging.server_messages import Observed, Sample, ServerReport
from shared.nodes.commands import STEP
from shared.nodes.models import Node, NodeCommand
from shared.platform.ids import NodeId, OrgId
from shared.platform.settings import load_settings
from shared.servers.models import ServerObserved, observed_id
from shared.tasks.models import Task, TaskKind
from tests.support.cosmos import CosmosPart

ORG = OrgId("org_01J00000000000000000000007")
SERVER = "srv_01J00000000000000000000001"
FAR = 1e14  # seconds since the epoch, some three million years from now


@dataclass
class Machine:
    """A node with a key of its own."""

    id: NodeId
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    thumbprint: str = ""

    def report(self, kind: ReportType, payload: object, **more: Any) -> bytes:
        made = Report(
            f"rpt_{secrets.token_hex(8)}", kind, ORG, self.id, 1, datetime.now(UTC), payload=to_wire(payload), **more
        )
        content = json.dumps(to_wire(made)).encode()  # in ASCII: a hostile node need not send what we would send
        return jws.sign(content, self.key, REPORT_KIND, self.thumbprint).encode()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    endpoint = CosmosPart(tmp_path_factory.mktemp("cosmos"))
    with endpoint.part:
        yield endpoint.database()


@pytest_asyncio.fixture
async def services(database: dict[str, str], tmp_path: Path) -> AsyncIterator[Services]:
    made = Services(load_settings({**database, "secrets_folder": str(tmp_path / "secrets")}))
    yield made
    await made.close()


async def joined(services: Services) -> Machine:
    machine = Machine(NodeId(services.ids.new("nod")))
    node = Node(id=machine.id, org_id=ORG, name=machine.id, enrolled_at=services.clock.now())
    issued = await services.authority.issue(make_csr(machine.key, "x"), ORG, machine.id)
    await services.store.create(ORG, node)
    await services.joining.remember(node, issued)
    machine.thumbprint = issued.thumbprint
    return machine


class Waiting:
    """Stands where the durable client stands: who was told what."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    async def __call__(self, instance: str, event: str, _: str) -> None:
        self.told.append((instance, event))


async def events_of(services: Services, machine: Machine) -> list[str]:
    items = (await services.audit.page(ORG)).items
    return [one.entry.after["code"] for one in items if one.entry.actor.id == machine.id and one.entry.after]


def observed(**changes: Any) -> Observed:
    return Observed(**{"server_id": SERVER, "revision": 1, "state": "running", "at": 1.0, **changes})


TOLD = {"observed": to_wire(observed()), "task_id": "TASK"}
STEP_THEN = {"name": "install", "state": "running", "started_at": FAR}
ABSURD: dict[str, tuple[ReportType, Any, dict[str, Any]]] = {
    "a step of another age": (ReportType.SERVER_REPORT, {**TOLD, "steps": [STEP_THEN]}, {"task_id": "TASK"}),
    "a minute of another age": (ReportType.SERVER_REPORT, {**TOLD, "samples": [{"at": FAR}]}, {}),
    "an id that is a path": (ReportType.SERVER_REPORT, ServerReport(observed()), {"server_id": "a/../b?c#d"}),
    "a task that is a path": (ReportType.COMMAND_RESULT, Outcome(Status.SUCCEEDED), {"task_id": "../x", "command_id": "c"}),
    "an outcome that is none": (ReportType.COMMAND_RESULT, {"status": "fine"}, {"task_id": "tsk_1", "command_id": "c"}),
    "a report in it that is none": (
        ReportType.COMMAND_RESULT, Outcome(Status.SUCCEEDED, result={"report": [1]}), {"task_id": "TASK", "command_id": "c"},
    ),
    "lines beyond all numbers": (ReportType.SERVER_CONSOLE, {"server_id": SERVER, "first": 10**400, "lines": ["x"]}, {}),
    "an event without a name": (ReportType.NODE_EVENT, {"detail": "x"}, {}),
    "an inventory without anything": (ReportType.NODE_INVENTORY, {"hardware": [], "platform": None}, {}),
    "text that is no text": (ReportType.NODE_EVENT, {"code": "\ud800", "detail": "\udfff"}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", ABSURD)
async def test_a_signed_absurdity_does_not_hold_up_the_reports_of_others(services: Services, name: str) -> None:
    hostile, honest = await joined(services), await joined(services)
    task = services.ids.new("tsk")
    kept = Task(
        id=task, org_id=ORG, kind=TaskKind.START, target=SERVER, node_id=hostile.id, deadline=services.clock.now()
    )
    await services.store.create(ORG, kept)
    await services.store.upsert(
        ORG, ServerObserved(id=observed_id(SERVER), org_id=ORG, server_id=SERVER, node_id=hostile.id, state="running", at=0)
    )  # fmt: skip
    kind, payload, more = ABSURD[name]
    wire = json.loads(json.dumps(to_wire(payload)).replace("TASK", task))
    about = {"server_id": SERVER, **more}
    if about.get("task_id") == "TASK":
        about["task_id"] = task
    batch = [
        honest.report(ReportType.NODE_EVENT, NodeEvent("before")),
        hostile.report(kind, wire, **about),
        honest.report(ReportType.NODE_EVENT, NodeEvent("after")),
    ]
    await services.reports.take(batch, Waiting())
    assert set(await events_of(services, honest)) == {"before", "after"}


@pytest.mark.parametrize("claim", ["nod_/../../x?y#z", "nod_\ud800", "nod_" + "x" * 5000])
async def test_a_forgery_that_names_what_can_be_no_node_is_refused_and_nothing_more(
    services: Services, claim: str
) -> None:
    honest, stranger = await joined(services), ec.generate_private_key(ec.SECP256R1())
    forged = jws.sign(json.dumps({"org_id": ORG, "node_id": claim}).encode(), stranger, REPORT_KIND, "k")
    await services.reports.take([forged.encode(), honest.report(ReportType.NODE_EVENT, NodeEvent("x"))], Waiting())
    assert await events_of(services, honest) == ["x"]


async def test_who_waits_is_told_by_the_tasks_own_node_alone(services: Services) -> None:
    own, other = await joined(services), await joined(services)
    task = services.ids.new("tsk")
    command = command_id(task, STEP)
    await services.store.create(ORG, NodeCommand(id=task, org_id=ORG, node_id=own.id, command="node.ping"))
    waiting, said = Waiting(), Outcome(Status.SUCCEEDED)
    about = {"task_id": task, "command_id": command}
    await services.reports.take([other.report(ReportType.COMMAND_RESULT, said, **about)], waiting)
    assert waiting.told == []
    for _ in range(2):  # a repeated one tells again: who waited may have died before it heard
        await services.reports.take([own.report(ReportType.COMMAND_RESULT, said, **about)], waiting)
    await services.reports.take([other.report(ReportType.COMMAND_RESULT, said, **about)], waiting)
    assert waiting.told == [(task, report_event(command))] * 2


async def test_a_servers_task_and_its_minutes_are_its_nodes_to_tell_of(services: Services) -> None:
    own, other = await joined(services), await joined(services)
    server, task = services.ids.new("srv"), services.ids.new("tsk")
    kept = Task(id=task, org_id=ORG, kind=TaskKind.START, target=server, node_id=own.id, deadline=services.clock.now())
    await services.store.create(ORG, kept)
    said = Outcome(Status.SUCCEEDED, result={"report": to_wire(ServerReport(observed(server_id=server)))})
    about = {"server_id": server, "task_id": task, "command_id": "cmd_x"}
    minutes = ServerReport(observed(server_id=server), samples=(Sample(services.clock.now().timestamp(), 50.0),))

    async def known() -> int:
        now = services.clock.now()
        return len(await services.history.read(ORG, server, now.replace(year=now.year - 1), now.replace(year=now.year + 1), hours=True))  # fmt: skip

    waiting = Waiting()
    await services.reports.take([other.report(ReportType.COMMAND_RESULT, said, **about)], waiting)
    await services.reports.take([other.report(ReportType.SERVER_REPORT, minutes, server_id=server)], waiting)
    assert (waiting.told, await known()) == ([], 0)
    await services.reports.take([own.report(ReportType.COMMAND_RESULT, said, **about)], waiting)
    await services.reports.take([own.report(ReportType.SERVER_REPORT, minutes, server_id=server)], waiting)
    assert (waiting.told, await known()) == ([(task, report_event("cmd_x"))], 1)


async def test_what_is_yet_to_come_does_not_stand_above_what_is_told_now(services: Services) -> None:
    own, server = await joined(services), services.ids.new("srv")
    now = services.clock.now().timestamp()
    await services.store.create(
        ORG,
        ServerObserved(id=observed_id(server), org_id=ORG, server_id=server, node_id=own.id, state="starting", at=1.0),
    )
    for state, at in (("crash_loop", now + 3600), ("running", now)):
        said = ServerReport(observed(server_id=server, state=state, at=at))
        await services.reports.take([own.report(ReportType.SERVER_REPORT, said, server_id=server)], Waiting())
    kept = await services.store.get(ORG, ServerObserved, observed_id(server))
    assert (kept.state, kept.at) == ("running", now)
