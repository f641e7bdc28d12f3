"""Certificates of nodes, renewed and revoked: what dies with one, and what goes on."""

from __future__ import annotations

import asyncio
import json
import time

import requests

from agent.amqp.codec import AmqpError
from agent.amqp.connection import connected
from agent.identity import Identity, make_csr
from agent.link import TcpStream
from tests.support.nodes import AgentProcess
from tests.support.papers import agent_, call, reach, session_of  # noqa: F401  # one is a fixture
from tests.support.people import ApiClient
from tests.support.server_house import api_  # noqa: F401  # a fixture
from tests.support.waiting import until


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
