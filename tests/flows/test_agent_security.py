"""What a thief of a signature, a forger of reports and a node that was let go can do: nothing."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.servicebus import ServiceBusClient, ServiceBusMessage
from cryptography.hazmat.primitives.asymmetric import ec

from agent.amqp.codec import AmqpError
from agent.amqp.connection import connected
from agent.identity import Identity
from agent.link import TcpStream
from shared.messaging import codec, jws
from shared.messaging.agent_api import Grant, SessionAnswer
from shared.messaging.commands import CommandType, Order, build_command, seal_command
from shared.messaging.reports import NodeEvent, Report, ReportType, seal_report
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.papers import agent_, call, lasting_, other_, reach, session_of  # noqa: F401  # three are fixtures
from tests.support.people import ApiClient, Person
from tests.support.server_house import api_  # noqa: F401  # a fixture
from tests.support.waiting import until


def audited(api: ApiClient, action: str, node_id: str) -> list[dict[str, Any]]:
    items = api.get("/v1/audit?limit=100").json()["items"]
    return [one for one in items if one["action"] == action and one["target"]["id"] == node_id]


async def claim(session: SessionAnswer, grant: Grant, audience: str) -> str:
    """Try to put one grant's token for another entity."""
    space = session.namespace
    reader, writer = await asyncio.open_connection(space.host, space.amqp_port)
    async with connected(TcpStream(reader, writer), space.host) as connection:
        try:
            await connection.authorize(f"sb://{space.host}/{audience}", grant.token)
        except AmqpError as error:
            return error.condition
    return "ok"


def test_a_stolen_signature_reaches_nothing_but_its_own_queue(lasting: AgentProcess, other: AgentProcess) -> None:
    agent = lasting
    session, others = session_of(agent), session_of(other)
    denied = "amqp:unauthorized-access"

    async def tries() -> dict[str, str]:
        own, reports = session.commands, session.reports
        return {
            "listen on its own": await reach(session, own, own.entity, receiver=True),
            "send to the reports": await reach(session, reports, reports.entity, receiver=False),
            "send to its own": await reach(session, own, own.entity, receiver=False),
            "listen on another's": await reach(session, own, others.commands.entity, receiver=True),
            "send to another's": await reach(session, reports, others.commands.entity, receiver=False),
            "listen on the reports": await reach(session, reports, reports.entity, receiver=True),
            "dead letters of another": await reach(
                session, own, f"{others.commands.entity}/$DeadLetterQueue", receiver=True
            ),
            "claim another's": await claim(session, own, others.commands.entity),
            "claim the namespace": await claim(session, own, ""),
            "claim a longer name": await claim(session, own, f"{own.entity}0"),
        }

    found = asyncio.run(tries())
    assert found == {name: "ok" if name in ("listen on its own", "send to the reports") else denied for name in found}


# ---------------------------------------------------------------- forged reports and commands


def send_as(house: HouseForTests, queue: str, body: str, message_id: str | None = None) -> None:
    with (
        ServiceBusClient.from_connection_string(house.settings()["ServiceBusConnection"]) as client,
        client.get_queue_sender(queue) as sender,
    ):
        sender.send_messages(ServiceBusMessage(body, message_id=message_id or secrets.token_hex(8)), timeout=20)


def a_report(agent: AgentProcess, **changes: Any) -> Report:
    papers = Identity(agent.folder).papers
    made = Report(
        f"rpt_{secrets.token_hex(8)}",
        ReportType.NODE_EVENT,
        papers.org_id,
        papers.node_id,
        1,
        datetime.now(UTC),
        payload=codec.to_wire(NodeEvent("test", "x")),
    )
    return replace(made, **changes)


def test_a_report_that_speaks_for_another_node_is_refused_and_audited(
    house: HouseForTests, api: ApiClient, lasting: AgentProcess, other: AgentProcess
) -> None:
    agent = lasting
    identity = Identity(agent.folder)
    thumbprint = identity.papers.certificate.thumbprint
    foreign = seal_report(a_report(agent, node_id=other.node_id), identity.key, thumbprint)
    stranger = seal_report(a_report(other), ec.generate_private_key(ec.SECP256R1()), thumbprint)
    unsigned = ".".join([*seal_report(a_report(other), identity.key, thumbprint).split(".")[:2], ""])
    old = seal_report(a_report(agent, created_at=datetime.now(UTC) - timedelta(days=8)), identity.key, thumbprint)
    for body in (foreign, stranger, unsigned, old, "not a report", "x" * 150_000):
        send_as(house, "reports", body)
    until(lambda: len(audited(api, "node.report_refused", other.node_id)) >= 2, "the forgeries are audited")
    until(lambda: audited(api, "node.report_refused", agent.node_id), "the old one is audited")
    assert audited(api, "node.event_reported", other.node_id) == []


def test_a_forged_command_is_refused_by_the_agent_and_audited(
    house: HouseForTests, api: ApiClient, agent: AgentProcess
) -> None:
    papers = Identity(agent.folder).papers
    queue = session_of(agent).commands.entity
    order = Order(CommandType.NODE_PING, "x")
    key = ec.generate_private_key(ec.SECP256R1())
    forged = seal_command(
        build_command(order, papers.org_id, papers.node_id, "tsk_1", datetime.now(UTC), None), key, "no-such-key"
    )
    with agent:
        for body in (forged, "noise", json.dumps({"run": "rm -rf /"}), jws.b64url(b"{}") + "..x"):
            send_as(house, queue, body)
        found = until(
            lambda: (items := audited(api, "node.command_refused", agent.node_id)) and len(items) >= 4 and items,
            "the refusals are audited",
        )
        reply = api.post(f"/v1/nodes/{agent.node_id}/commands", {"type": "node.ping"})
        until(lambda: api.get(reply.headers["Location"]).json()["state"] == "succeeded", "it works on unharmed")
    assert all("bad_signature" in one["reason"] for one in found)


# ---------------------------------------------------------------- letting go


def test_a_node_is_let_go_though_it_is_away(house: HouseForTests, api: ApiClient, agent: AgentProcess) -> None:
    session = session_of(agent)
    path = f"/v1/nodes/{agent.node_id}"
    assert api.change("DELETE", path, etag="*").json()["code"] == "node_state_conflict"
    gone = api.post(f"{path}/decommission", {"reason": "sold"})
    assert (gone.status_code, gone.json()["state"]) == (200, "decommissioned"), gone.text
    assert api.post(f"{path}/decommission", {}).status_code == 200  # asked again
    assert call(agent).status_code == 401
    assert asyncio.run(reach(session, session.commands, session.commands.entity, receiver=True)) != "ok"
    assert api.post(f"{path}/commands", {"type": "node.ping"}).json()["code"] == "node_state_conflict"
    assert api.change("DELETE", path, etag="*").status_code == 204
    assert api.get(path).json()["code"] == "node_not_found"


def test_another_organization_sees_and_changes_nothing(house: HouseForTests, lasting: AgentProcess) -> None:
    agent = lasting
    bob = Person.sign_up(house, "bob").found_organization("Bob's servers")
    path = f"/v1/nodes/{agent.node_id}"
    for reply in (
        bob.get(path),
        bob.get(f"{path}/certificates"),
        bob.post(f"{path}/drain", {}),
        bob.post(f"{path}/decommission", {}),
        bob.post(f"{path}/commands", {"type": "node.ping"}),
        bob.post("/v1/enrolment-tokens", {"node_id": agent.node_id}),
    ):
        assert (reply.status_code, reply.json()["code"]) == (404, "node_not_found"), reply.text
    assert bob.get("/v1/nodes").json()["items"] == []
