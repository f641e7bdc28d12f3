"""No change without its entry: the process dies before each call to the store in turn, and then everything is looked at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from shared.audit.models import Actor
from shared.composition import Services
from shared.messaging.reports import Outcome, Status
from shared.platform.errors import NotFound
from shared.platform.settings import load_settings
from shared.servers.asking import Asked
from shared.servers.lifecycle import Event
from shared.servers.views import ServerEdit
from shared.store.client import Database
from shared.store.query import Where
from shared.templates.service import shipped
from shared.templates.stored import PUBLIC, TemplateHead
from tests.support.clocks import SetClock
from tests.unit.servers.test_reports import ended, take
from tests.unit.servers.test_reserving import ORG, ask, servers_of

ANN = Actor(kind="user", id="usr_ann", address="203.0.113.7", request_id="req_1")
TEMPLATE = "tpl_01ARZ3NDEKTSV4RRFFQ69G5FAV"


class Killed(BaseException):
    """The process ends here."""


class Sender:
    """What has gone to the broker."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, org_id: str, node_id: str, order: Any, *, task_id: str, **_: Any) -> Any:
        self.sent.append(order.step)


class House:
    """One server that runs, one template of the organization, and the state that the tests look at."""

    def __init__(self, services: Services, asked: Asked) -> None:
        self.services, self.asked, self.sender = services, asked, Sender()
        services.consoles._sender = self.sender

    async def state(self) -> list[Any]:
        """Everything that an act may change, without what the store stamps."""
        services, found = self.services, []
        for org in (ORG, PUBLIC):
            rows = await services.store.select(
                org, TemplateHead, "SELECT * FROM c WHERE c.type <> 'audit_event' ORDER BY c.id"
            )
            found += [{name: value for name, value in row.items() if not name.startswith("_")} for row in rows]
        return [found, list(self.sender.sent)]

    async def told(self, action: str) -> int:
        page = await self.services.audit.page(ORG, where=[Where("entry.action", "=", action)], limit=100)
        for event in page.items:
            assert (event.entry.actor, event.entry.target.id != "") == (ANN, True)
        return len(page.items)


@pytest_asyncio.fixture
async def house(values: dict[str, str]) -> AsyncIterator[House]:
    services = Services(load_settings(values), clock=SetClock())
    services.__dict__["servers"] = servers_of(services)
    asked = await ask(services.servers, services, "one", actor=ANN)
    assert isinstance(asked, Asked)
    echo = shipped()["echo"]
    await services.templates.create(ORG, TEMPLATE, echo, by=ANN, action="template.seeded")
    made = House(services, asked)
    yield made
    await services.close()


Act = Callable[[House], Awaitable[Any]]


async def running(house: House) -> None:
    await take(house.services, house.asked, ended(house.asked, Status.SUCCEEDED, "running"))


async def failed(house: House) -> None:
    await take(house.services, house.asked, ended(house.asked, Status.FAILED, "install_failed"))


async def failed_with_files(house: House) -> None:
    await take(house.services, house.asked, ended(house.asked, Status.FAILED, "stopped"))


async def removing(house: House) -> None:
    await running(house)
    await power(Event.DELETE)(house)
    await house.services.server_reports.take(
        ORG,
        str(house.asked.server.node_id),
        server_id=house.asked.server.id,
        task_id=f"tsk_{Event.DELETE}",
        payload={},
        outcome=Outcome(Status.FAILED, "busy", "why"),
    )


async def nothing(house: House) -> None:
    """As it is."""


async def published(house: House) -> None:
    await house.services.templates.publish(ORG, TEMPLATE, by=ANN)


def power(event: Event) -> Act:
    async def act(house: House) -> None:
        await house.services.servers.ask(
            ORG, house.asked.server.id, event, task_id=f"tsk_{event}", actor=ANN, reason="because"
        )

    return act


def edit(**changes: Any) -> Act:
    body = ServerEdit.model_validate(changes)
    return lambda h: h.services.servers.edit(ORG, h.asked.server.id, body, etag=None, actor=ANN)


ROWS: list[tuple[str, Act, Act, str]] = [
    ("stop", running, power(Event.STOP), "server.stopped"),
    ("restart", running, power(Event.RESTART), "server.restarted"),
    ("kill", running, power(Event.KILL), "server.killed"),
    ("suspend", running, power(Event.SUSPEND), "server.suspended"),
    ("reinstall", running, power(Event.REINSTALL), "server.reinstalled"),
    ("delete", running, power(Event.DELETE), "server.deleted"),
    ("rename", running, edit(name="two"), "server.changed"),
    ("resize", running, edit(resources={"memory_mib": 96, "cpu_millicores": 100, "disk_mib": 64}), "server.changed"),
    ("create", nothing, lambda h: ask(h.services.servers, h.services, "two", actor=ANN), "server.created"),
    (
        "cancel a task",
        nothing,
        lambda h: h.services.tasks.request_cancel(ORG, h.asked.task.id, by=ANN),
        "task.cancelled",
    ),
    ("retry, placed anew", failed, lambda h: h.services.operations.retry(ORG, h.asked.task.id, by=ANN), "task.retried"),
    (
        "retry, where it is",
        failed_with_files,
        lambda h: h.services.operations.retry(ORG, h.asked.task.id, by=ANN),
        "task.retried",
    ),
    (
        "retry a deletion",
        removing,
        lambda h: h.services.operations.retry(ORG, f"tsk_{Event.DELETE}", by=ANN),
        "task.retried",
    ),
    (
        "a console line",
        running,
        lambda h: h.services.consoles.write(ORG, h.asked.server.id, "op ann", id="tsk_line", by=ANN),
        "server.console_line_sent",
    ),
    (
        "a template",
        nothing,
        lambda h: h.services.templates.create(ORG, "tpl_new", shipped()["echo"], by=ANN),
        "template.created",
    ),
    (
        "a version",
        published,
        lambda h: h.services.templates.add_version(ORG, TEMPLATE, shipped()["echo"], etag=None, by=ANN),
        "template.changed",
    ),
    ("publish", nothing, published, "template.published"),
    ("withdraw", published, lambda h: h.services.templates.withdraw(ORG, TEMPLATE, by=ANN), "template.withdrawn"),
    (
        "delete a template",
        nothing,
        lambda h: h.services.templates.delete(ORG, TEMPLATE, etag=None, by=ANN),
        "template.deleted",
    ),
]


def dying(monkeypatch: pytest.MonkeyPatch, at: int) -> Callable[[], int]:
    """Let the process die before its call number `at` of the store; how many calls there were."""
    real, calls = Database.call, 0

    async def call(self: Database, *arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise Killed
        return await real(self, *arguments, **named)

    monkeypatch.setattr(Database, "call", call)
    return lambda: calls


@pytest.mark.parametrize(("prepare", "act", "action"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
async def test_a_change_without_its_entry_cannot_be(
    house: House, monkeypatch: pytest.MonkeyPatch, prepare: Act, act: Act, action: str
) -> None:
    await prepare(house)
    before, had = await house.state(), await house.told(action)
    for at in range(1, 40):
        with monkeypatch.context() as patched:
            calls = dying(patched, at)
            try:
                await act(house)
                ended = True
            except Killed:
                ended = False
            assert ended == (calls() < at)
        after, has = await house.state(), await house.told(action)
        if after != before:
            assert has > had, f"changed, and nobody is told: died before call {at}"
            return  # what is changed cannot be asked for once more
        before, had = after, has
    raise AssertionError("it never changed anything")


async def test_who_looks_at_secrets_is_written_down_before_they_see(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await running(house)
    server, _ = await house.services.servers.get(ORG, house.asked.server.id)
    dying(monkeypatch, 1)
    with pytest.raises(Killed):
        await house.services.servers.secrets_of(ORG, server, by=ANN)
    monkeypatch.undo()
    await house.services.servers.secrets_of(ORG, server, by=ANN)
    assert await house.told("server.secrets_read") == 1


async def test_a_published_template_that_is_deleted_is_not_left_with_the_public(house: House) -> None:
    await published(house)
    await house.services.templates.delete(ORG, TEMPLATE, etag=None, by=ANN)
    with pytest.raises(NotFound):
        await house.services.store.get(PUBLIC, TemplateHead, TEMPLATE)
    assert [await house.told(f"template.{end}") for end in ("withdrawn", "deleted")] == [1, 1]
