"""The agent's line to the broker over TLS, and over WebSocket where the AMQP port is closed; tokens renewed on the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from agent.amqp.connection import Connection, connected
from agent.amqp.frames import Stream
from agent.api import ApiUnreachable
from agent.config import Config
from agent.identity import KEY, Identity, command_keys, make_csr, make_key
from agent.inbox import Inbox
from agent.link import BrokerLink
from agent.outbox import Outbox
from agent.storage import Storage
from shared.composition import Services
from shared.messaging.agent_api import Certificate, EnrolAnswer, Namespace, SessionAnswer
from shared.messaging.commands import Command, CommandType, Order, build_command, seal_command
from shared.messaging.reports import Outcome, Status, open_report
from shared.nodes.models import queue_of
from shared.platform.settings import load_settings
from tests.support.house import HouseForTests
from tests.support.processes import free_port
from tests.support.waiting import eventually

NODE, ORG = "nod_01J00000000000000000000000", "org_01J00000000000000000000000"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseForTests]:
    with HouseForTests(tmp_path_factory.mktemp("house"), "bus") as house:
        yield house


@pytest.fixture
async def services(house: HouseForTests, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Services]:
    for name, value in house.settings().items():
        monkeypatch.setenv(name, value)
    services = Services(load_settings())
    await services.namespaces.ready_reports_queue("default")
    await services.namespaces.make_queue("default", queue_of(NODE))
    yield services
    await services.namespaces.remove_queue("default", queue_of(NODE))
    await services.namespaces.close()


class Node:
    """An agent's link without the rest: it answers pings."""

    def __init__(self, services: Services, house: HouseForTests, folder: Path, way: str) -> None:
        self.services, self.folder = services, folder
        ports = house.house.ports
        ca = (house.folder / "servicebus" / "ca.pem").read_text()
        amqp = ports.bus_tls if way == "tls" else free_port()
        self.namespace = Namespace("localhost", amqp, ports.bus_websocket, tls=True, websocket=True, ca_pem=ca)
        self.sessions = self.tries = 0
        self.away = False  # the control plane, not the broker
        self.life = timedelta(hours=1)

    async def open(self) -> None:
        key = make_key(self.folder / KEY)
        issued = await self.services.authority.issue(make_csr(key, "x"), ORG, NODE)
        certificate = Certificate(
            issued.chain_pem, issued.thumbprint, issued.not_before, issued.not_after, issued.renew_after
        )
        domain, root = self.services.authority.domain, await self.services.authority.root_pem()
        answer = EnrolAnswer(NODE, ORG, "x", domain, certificate, root, datetime.now(UTC))
        Identity.save_enrolment(self.folder, "http://localhost", answer, self.folder / KEY)
        self.identity = Identity(self.folder)
        self.storage = Storage(self.folder / "agent.db")
        self.outbox = Outbox(self.storage, ORG, NODE)
        self.inbox = Inbox(self.storage, self.outbox, ORG, NODE, {CommandType.NODE_PING: self._ping})
        config = Config(folder=str(self.folder))
        self.link = BrokerLink(config, self.storage, self.outbox, self.inbox, lambda: self.identity, self.session)
        self.task = asyncio.create_task(self.link.run())

    async def _ping(self, _: Command) -> Outcome:
        return Outcome(Status.SUCCEEDED)

    async def session(self) -> SessionAnswer:
        self.tries += 1
        if self.away:
            raise ApiUnreachable("the control plane is away")
        self.sessions += 1
        spaces, authority = self.services.namespaces, self.services.authority
        chains = await authority.signer_chains()
        self.inbox.keys = command_keys(chains, self.identity.papers, datetime.now(UTC))
        commands = await spaces.grant("default", queue_of(NODE), "listen")
        now = datetime.now(UTC)
        commands = replace(commands, expires_at=now + self.life)
        return SessionAnswer(self.namespace, commands, await spaces.grant("default", "reports", "send"), chains, now)

    async def ask(self, step: str) -> None:
        signer = await self.services.authority.signer()
        command = build_command(Order(CommandType.NODE_PING, step), ORG, NODE, "tsk_1", datetime.now(UTC), None)
        envelope = seal_command(command, signer.key, signer.key_id)
        await self.services.namespaces.senders.send(
            "default", queue_of(NODE), envelope, id=command.id, subject="x", life=timedelta(minutes=1)
        )

    async def answers(self, count: int) -> list[str]:
        """What has arrived in the queue of reports, its signatures checked."""
        leaf = x509.load_pem_x509_certificate(self.identity.papers.certificate.chain_pem.encode())
        found: list[str] = []
        client = self.services.namespaces.client("default")
        async with client.get_queue_receiver("reports") as receiver, asyncio.timeout(40):
            while len(found) < count:
                for message in await receiver.receive_messages(count, max_wait_time=5):
                    report = open_report(b"".join(message.body).decode(), lambda _: leaf.public_key())  # type: ignore[arg-type,return-value]
                    found.append(str(report.payload["status"]))
                    await receiver.complete_message(message)
        return found

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.inbox.close()
        self.storage.close()


@pytest.mark.parametrize("way", ["tls", "websocket"])
async def test_commands_come_and_reports_go(services: Services, house: HouseForTests, tmp_path: Path, way: str) -> None:
    node = Node(services, house, tmp_path, way)
    await node.open()
    await node.ask("one")
    await node.ask("two")
    assert await node.answers(2) == ["succeeded", "succeeded"]
    assert node.link.state == "up"
    await node.close()


async def test_tokens_are_renewed_on_the_same_connection(
    services: Services, house: HouseForTests, tmp_path: Path
) -> None:
    node = Node(services, house, tmp_path, "tls")
    node.life = timedelta(seconds=3)
    await node.open()
    await node.ask("one")
    assert await node.answers(1) == ["succeeded"]
    async with asyncio.timeout(30):
        while node.sessions < 3:
            await asyncio.sleep(0.05)
    assert node.link.state == "up"
    await node.ask("two")
    assert await node.answers(1) == ["succeeded"]
    await node.close()


async def test_while_the_control_plane_is_away_a_session_is_used_to_its_end(
    services: Services, house: HouseForTests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.link.RENEW_AT", 1 / 3600)  # of an hour
    node = Node(services, house, tmp_path, "tls")
    await node.open()
    await node.ask("one")
    assert await node.answers(1) == ["succeeded"]
    node.away = True
    tries, sessions = node.tries, node.sessions
    await eventually(lambda: node.tries >= tries + 2, "it has asked for another session, in vain")
    await node.ask("two")
    assert await node.answers(1) == ["succeeded"]
    assert (node.link.state, node.sessions) == ("up", sessions)
    node.link._session_since -= node.life
    await eventually(lambda: node.link.state != "up", "the session has ended")
    assert "away" in node.link.problem
    node.away = False
    await eventually(lambda: node.link.state == "up", "it comes back by itself")
    await node.close()


async def test_the_link_for_reports_is_open_while_there_is_something_to_say(
    services: Services, house: HouseForTests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.link.SENDER_IDLE_SECONDS", 1.0)
    made: list[Connection] = []

    @contextlib.asynccontextmanager
    async def noted(stream: Stream, host: str) -> AsyncIterator[Connection]:
        async with connected(stream, host) as connection:
            made.append(connection)
            yield connection

    monkeypatch.setattr("agent.link.connected", noted)
    node = Node(services, house, tmp_path, "tls")
    await node.open()
    await eventually(lambda: node.link.state == "up", "connected")
    calm = len(made[0]._links)  # the receiver, and the pair that tokens are put by
    for step in ("one", "two"):
        await node.ask(step)
        await eventually(lambda: len(made[0]._links) == calm + 1, "a link for what is to be said")
        await eventually(lambda: len(made[0]._links) == calm, "let go, as nothing is said any more")
    assert await node.answers(2) == ["succeeded"] * 2
    assert len(made) == 1, "all of it went over one connection"
    await node.close()


async def test_a_broker_that_is_not_the_real_one_is_not_believed(
    services: Services, house: HouseForTests, tmp_path: Path
) -> None:
    node = Node(services, house, tmp_path, "tls")
    node.namespace = replace(node.namespace, ca_pem=await services.authority.root_pem(), websocket=False)
    await node.open()
    async with asyncio.timeout(30):
        while "CERTIFICATE_VERIFY_FAILED" not in node.link.problem:
            await asyncio.sleep(0.05)
    assert node.link.state != "up"
    await node.close()
