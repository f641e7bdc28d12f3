"""What a thief of a token, a forger of reports and a node that was shut out can do: nothing."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from cryptography.hazmat.primitives.asymmetric import ec

from agent.amqp.codec import AmqpError
from agent.amqp.connection import connected
from agent.api import Api
from agent.identity import Identity, make_csr
from agent.link import TcpStream
from shared.messaging import codec, jws
from shared.messaging.agent_api import EnrolRequest, Grant, Hardware, Platform, SessionAnswer
from shared.messaging.commands import CommandType, Order, build_command, seal_command
from shared.messaging.proof import PROOF_HEADER, Proof, body_digest, make_proof
from shared.messaging.reports import NodeEvent, Report, ReportType, seal_report
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient, Person


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseForTests]:
    with HouseForTests(
        tmp_path_factory.mktemp("house"), "cosmos", "bus", "auth", "host", settings={"MERIDIAN_RATE_LIMITS": "false"}
    ) as house:
        yield house


@pytest.fixture(scope="module")
def api(house: HouseForTests) -> ApiClient:
    return Person.sign_up(house, "ann").found_organization("Ann's servers")


@pytest.fixture
def agent(house: HouseForTests, api: ApiClient, tmp_path: Path) -> AgentProcess:
    return AgentProcess.enrolled(house, api, tmp_path, name=f"n{secrets.token_hex(4)}")


@pytest.fixture(scope="module")
def lasting(house: HouseForTests, api: ApiClient, tmp_path_factory: pytest.TempPathFactory) -> AgentProcess:
    """An agent for tests that leave it as it was."""
    return AgentProcess.enrolled(house, api, tmp_path_factory.mktemp("lasting"), name="lasting")


@pytest.fixture(scope="module")
def other(house: HouseForTests, api: ApiClient, tmp_path_factory: pytest.TempPathFactory) -> AgentProcess:
    """Another node of the same organization, left as it was."""
    return AgentProcess.enrolled(house, api, tmp_path_factory.mktemp("other"), name="other")


def until(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.05)
    return found


def session_of(agent: AgentProcess) -> SessionAnswer:
    identity = Identity(agent.folder)
    return asyncio.run(Api(agent.house.api).post("/v1/agent/session", {}, SessionAnswer, identity))


def audited(api: ApiClient, action: str, node_id: str) -> list[dict[str, Any]]:
    items = api.get("/v1/audit?limit=100").json()["items"]
    return [one for one in items if one["action"] == action and one["target"]["id"] == node_id]


# ---------------------------------------------------------------- the stolen signature


async def reach(session: SessionAnswer, grant: Grant, entity: str, *, receiver: bool) -> str:
    """Try to attach to an entity with one grant; "ok" or the broker's condition."""
    space = session.namespace
    reader, writer = await asyncio.open_connection(space.host, space.amqp_port)
    async with connected(TcpStream(reader, writer), space.host) as connection:
        try:
            await connection.authorize(f"sb://{space.host}/{grant.entity}", grant.token)
            await connection.attach(entity, receiver=receiver)
        except AmqpError as error:
            return error.condition
    return "ok"


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


# ---------------------------------------------------------------- proofs


def call(
    agent: AgentProcess, path: str = "/v1/agent/session", body: bytes = b"{}", **changes: Any
) -> requests.Response:
    identity = changes.pop("identity", None) or Identity(agent.folder)
    token = changes.pop("token", None)
    sent = changes.pop("sent", body)
    headers = {"Content-Type": "application/json", **changes.pop("headers", {})}
    proof = Proof(secrets.token_urlsafe(16), "POST", path, identity.papers.domain, datetime.now(UTC), body_digest(body))
    proof = replace(proof, **changes)
    token = token if token is not None else make_proof(proof, identity.key, identity.papers.certificate.thumbprint)
    if token:
        headers[PROOF_HEADER] = token
    return requests.post(agent.house.api + path, data=sent, headers=headers, timeout=30)


def test_a_proof_is_for_one_call_once(lasting: AgentProcess) -> None:
    agent = lasting
    identity = Identity(agent.folder)
    right = Proof(
        secrets.token_urlsafe(16),
        "POST",
        "/v1/agent/session",
        identity.papers.domain,
        datetime.now(UTC),
        body_digest(b"{}"),
    )
    token = make_proof(right, identity.key, identity.papers.certificate.thumbprint)
    assert call(agent, token=token).status_code == 200
    again = call(agent, token=token)
    assert (again.status_code, again.json()["code"]) == (401, "proof_refused")
    assert "used before" in again.json()["detail"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"at": datetime.now(UTC) - timedelta(seconds=600)}, "s are allowed"),
        ({"at": datetime.now(UTC) + timedelta(seconds=600)}, "s are allowed"),
        ({"method": "GET"}, "the call is POST"),
        ({"path": "/v1/agent/beat"}, "the call is POST /v1/agent/session"),
        ({"domain": "evil.example"}, "evil.example"),
        ({"sent": b"{ }"}, "body"),
        ({"token": ""}, "carries a proof"),
        ({"token": "x.y.z"}, ""),
    ],
    ids=["old", "future", "method", "path", "domain", "body", "none", "noise"],
)
def test_a_proof_that_does_not_fit_is_refused(lasting: AgentProcess, changes: dict[str, Any], says: str) -> None:
    agent, changes = lasting, dict(changes)
    if "path" in changes:
        proof_path = changes.pop("path")
        identity = Identity(agent.folder)
        proof = Proof(
            secrets.token_urlsafe(16), "POST", proof_path, identity.papers.domain, datetime.now(UTC), body_digest(b"{}")
        )
        changes["token"] = make_proof(proof, identity.key, identity.papers.certificate.thumbprint)
    reply = call(agent, **changes)
    assert reply.status_code == 401, reply.text
    assert says in reply.json()["detail"]


async def test_a_certificate_that_the_front_forwards_must_be_the_proofs_and_hold(
    house: HouseForTests, lasting: AgentProcess, other: AgentProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local host lets nobody send that header, as Azure's front lets nobody: so the check is called as a door calls it."""
    for name, value in house.settings().items():
        monkeypatch.setenv(name, value)
    from shared.composition import Services
    from shared.http.request import Request
    from shared.nodes.authenticator import AgentAuthenticator
    from shared.nodes.errors import CertificateRefused
    from shared.platform.settings import load_settings
    from shared.platform.tracing import begin

    services = Services(load_settings())
    identity = Identity(lasting.folder)

    def leaf(chain: str) -> str:
        return quote(chain[: chain.index("-----END CERTIFICATE-----") + len("-----END CERTIFICATE-----\n")])

    async def present(certificate: str) -> str:
        proof = Proof(
            secrets.token_urlsafe(16),
            "POST",
            "/v1/agent/session",
            identity.papers.domain,
            datetime.now(UTC),
            body_digest(b""),
        )
        token = make_proof(proof, identity.key, identity.papers.certificate.thumbprint)
        headers = {PROOF_HEADER: token, "x-arr-clientcert": certificate}
        request = Request("POST", "/v1/agent/session", headers, {}, {}, b"", "req-1", begin(None))
        try:
            return (await AgentAuthenticator(services).authenticate(request)).id
        except CertificateRefused as refused:
            return refused.reason

    own = identity.papers.certificate.chain_pem
    assert await present(leaf(own)) == lasting.node_id
    assert await present(own.split("-----")[2].replace("\n", "")) == lasting.node_id  # App Service's form: bare base64
    assert "not that of the proof" in await present(leaf(Identity(other.folder).papers.certificate.chain_pem))
    assert "cannot be read" in await present("bm90IGEgY2VydA==")
    await services.close()


def test_a_revoked_certificate_is_dead_at_once_and_on_the_list(api: ApiClient, agent: AgentProcess) -> None:
    assert call(agent).status_code == 200
    listed = api.get(f"/v1/nodes/{agent.node_id}/certificates").json()["items"]
    began = time.monotonic()
    reply = api.post(f"/v1/nodes/{agent.node_id}/certificates/{listed[0]['id']}/revoke", {"reason": "stolen"})
    assert reply.status_code == 200, reply.text
    until(lambda: call(agent).status_code == 401, "the certificate is refused", 60)
    assert time.monotonic() - began < 60
    from cryptography import x509

    crl = x509.load_pem_x509_crl(requests.get(f"{agent.house.api}/v1/pki/revocations.crl", timeout=30).content)
    assert crl.get_revoked_certificate_by_serial_number(int(listed[0]["serial"], 16)) is not None


def test_a_key_that_was_lost_is_replaced_and_the_node_stays_the_same(api: ApiClient, agent: AgentProcess) -> None:
    node_id, old = agent.node_id, Identity(agent.folder)
    token = api.post("/v1/enrolment-tokens", {"node_id": node_id}).json()["token"]
    done = agent.run("enroll", "--token", token, "--force")
    assert done.returncode == 0, done.stderr
    assert agent.node_id == node_id
    assert call(agent).status_code == 200
    assert call(agent, identity=old).json()["code"] == "certificate_refused"
    assert len(api.get(f"/v1/nodes/{node_id}/certificates").json()["items"]) == 2


def renewed(agent: AgentProcess) -> None:
    """Have the agent's certificate renewed, as it does itself."""
    from agent.app import Agent
    from agent.config import load_config

    async def renew() -> None:
        made = Agent(load_config(None, {}, {"folder": str(agent.folder)}))
        await made.renew_certificate()
        made.storage.close()
        await made.context.driver.close()

    asyncio.run(renew())


def test_renewing_keeps_the_old_certificate_until_its_end(agent: AgentProcess) -> None:
    before = Identity(agent.folder)
    renewed(agent)
    after = Identity(agent.folder)
    assert after.papers.certificate.thumbprint != before.papers.certificate.thumbprint
    assert call(agent).status_code == 200
    assert call(agent, identity=before).status_code == 200


@pytest.mark.parametrize("token", ["", "mce_" + "A" * 43, "x" * 300, "mce_short"])
def test_an_unknown_token_enrols_nothing(house: HouseForTests, tmp_path: Path, token: str) -> None:
    failed = AgentProcess(house, tmp_path / "a").run("enroll", "--token", token or " ")
    assert failed.returncode == 1
    assert not (tmp_path / "a" / "node.json").exists()


def test_a_revoked_token_enrols_nothing_and_a_lost_answer_is_given_again(
    house: HouseForTests, api: ApiClient, tmp_path: Path
) -> None:
    made = api.post("/v1/enrolment-tokens", {}).json()
    assert api.change("DELETE", f"/v1/enrolment-tokens/{made['id']}", etag="*").status_code == 204
    assert AgentProcess(house, tmp_path / "a").run("enroll", "--token", made["token"]).returncode == 1

    token = api.post("/v1/enrolment-tokens", {}).json()["token"]
    agent = AgentProcess(house, tmp_path / "b")
    assert agent.run("enroll", "--token", token).returncode == 0
    node_id = agent.node_id
    (agent.folder / "node.json").unlink()  # as if the answer had been lost: the key is there, the papers are not
    assert agent.run("enroll", "--token", token).returncode == 0
    assert agent.node_id == node_id


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


def revoke(api: ApiClient, agent: AgentProcess, thumbprint: str) -> None:
    """Revoke one of the node's certificates."""
    listed = api.get(f"/v1/nodes/{agent.node_id}/certificates").json()["items"]
    (found,) = [one["id"] for one in listed if one["thumbprint"] == thumbprint]
    reply = api.post(f"/v1/nodes/{agent.node_id}/certificates/{found}/revoke", {"reason": "stolen"})
    assert reply.status_code == 200, reply.text


def test_with_a_revoked_certificate_dies_what_was_given_out_on_it(api: ApiClient, agent: AgentProcess) -> None:
    """A signature for the queue holds for an hour, and whoever reads there reads the secrets of servers."""
    stolen = session_of(agent)
    old = Identity(agent.folder).papers.certificate.thumbprint
    assert asyncio.run(reach(stolen, stolen.commands, stolen.commands.entity, receiver=True)) == "ok"

    async def held_open() -> str:
        """A line that was open when the certificate was revoked."""
        reader, writer = await asyncio.open_connection(stolen.namespace.host, stolen.namespace.amqp_port)
        async with connected(TcpStream(reader, writer), stolen.namespace.host) as connection:
            await connection.authorize(f"sb://{stolen.namespace.host}/{stolen.commands.entity}", stolen.commands.token)
            receiver = await connection.attach(stolen.commands.entity, receiver=True)
            connection.grant(receiver, 10)
            await asyncio.to_thread(renewed, agent)
            await asyncio.to_thread(revoke, api, agent, old)
            try:
                async with asyncio.timeout(60):
                    await connection.receive(receiver)
            except AmqpError as error:
                return error.condition
        return "got a message"

    assert asyncio.run(held_open()) != "got a message"
    assert asyncio.run(reach(stolen, stolen.commands, stolen.commands.entity, receiver=True)) != "ok"
    assert session_of(agent).commands.entity != stolen.commands.entity, "the node's other certificate holds"
    with agent:
        place = api.post(f"/v1/nodes/{agent.node_id}/commands", {"type": "node.ping"}).headers["Location"]
        until(lambda: api.get(place).json()["state"] == "succeeded", "it works on, over its new queue")


def test_an_agent_at_work_goes_on_when_an_older_certificate_of_its_is_revoked(
    api: ApiClient, agent: AgentProcess
) -> None:
    old = Identity(agent.folder).papers.certificate.thumbprint
    renewed(agent)
    with agent:
        revoke(api, agent, old)

        def answers() -> bool:
            reply = api.post(f"/v1/nodes/{agent.node_id}/commands", {"type": "node.ping"})
            if reply.status_code != 202:
                return False
            until(lambda: api.get(reply.headers["Location"]).json()["state"] != "sent", "it has ended", 150)
            return bool(api.get(reply.headers["Location"]).json()["state"] == "succeeded")

        until(answers, "commands reach it again", 180)


def test_every_certificate_dies_however_often_a_stolen_key_had_it_renewed(api: ApiClient, agent: AgentProcess) -> None:
    thief = Identity(agent.folder)
    request = {"csr_pem": make_csr(thief.key, "thief")}
    for _ in range(120):
        assert call(agent, path="/v1/agent/certificates", body=json.dumps(request).encode()).status_code == 200
    token = api.post("/v1/enrolment-tokens", {"node_id": agent.node_id}).json()["token"]
    done = agent.run("enroll", "--token", token, "--force")
    assert done.returncode == 0, done.stderr
    holding, path = 0, f"/v1/nodes/{agent.node_id}/certificates"
    for one in api.get(path).json()["items"]:
        holding += one["revoked_at"] is None
    assert holding == 1
    from cryptography import x509

    crl = x509.load_pem_x509_crl(requests.get(f"{agent.house.api}/v1/pki/revocations.crl", timeout=30).content)
    assert len(list(crl)) >= 121


async def test_a_spent_token_is_answered_again_for_ten_minutes_only(
    house: HouseForTests, api: ApiClient, agent: AgentProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that was stolen together with the shell's history must not get in again once its certificate is revoked."""
    from shared.composition import Services
    from shared.nodes.errors import EnrolmentRefused
    from shared.nodes.joining import ANSWERED_AGAIN
    from shared.platform.settings import load_settings
    from tests.support.clocks import SetClock

    for name, value in house.settings().items():
        monkeypatch.setenv(name, value)
    clock = SetClock(datetime.now(UTC))
    services = Services(load_settings(), clock=clock)
    again = EnrolRequest(
        agent.token, make_csr(Identity(agent.folder).key, "attic"), "0.1.0", Platform("linux", "x86_64"),
        Hardware(1, 1024, 1024),
    )  # fmt: skip
    try:
        assert (await services.joining.redeem(again, "192.0.2.1")).node_id == agent.node_id
        clock.advance(ANSWERED_AGAIN.total_seconds() + 1)
        with pytest.raises(EnrolmentRefused):
            await services.joining.redeem(again, "192.0.2.1")
    finally:
        await services.close()
