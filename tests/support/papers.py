"""Nodes that are enrolled, their agents not running; and what one who has such a node's papers can try.

Import the fixtures by these names: `agent_` (a test's own), `lasting_` and `other_` (a module's, left as they were).
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from agent.amqp.codec import AmqpError
from agent.amqp.connection import connected
from agent.api import Api
from agent.identity import Identity
from agent.link import TcpStream
from shared.messaging.agent_api import Grant, SessionAnswer
from shared.messaging.proof import PROOF_HEADER, Proof, body_digest, make_proof
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient


@pytest.fixture(name="agent")
def agent_(house: HouseForTests, api: ApiClient, tmp_path: Path) -> AgentProcess:
    """A node of the test's own."""
    return AgentProcess.enrolled(house, api, tmp_path, name=f"n{secrets.token_hex(4)}")


@pytest.fixture(name="lasting", scope="module")
def lasting_(house: HouseForTests, api: ApiClient, tmp_path_factory: pytest.TempPathFactory) -> AgentProcess:
    """An agent for tests that leave it as it was."""
    return AgentProcess.enrolled(house, api, tmp_path_factory.mktemp("lasting"), name="lasting")


@pytest.fixture(name="other", scope="module")
def other_(house: HouseForTests, api: ApiClient, tmp_path_factory: pytest.TempPathFactory) -> AgentProcess:
    """Another node of the same organization, left as it was."""
    return AgentProcess.enrolled(house, api, tmp_path_factory.mktemp("other"), name="other")


def session_of(agent: AgentProcess) -> SessionAnswer:
    """What the node is given for its work: names of queues, and signatures for them."""
    identity = Identity(agent.folder)
    return asyncio.run(Api(agent.house.api).post("/v1/agent/session", {}, SessionAnswer, identity))


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


def proof_for(identity: Identity, path: str, body: bytes) -> Proof:
    """What an agent with these papers says of a call that it makes now."""
    return Proof(secrets.token_urlsafe(16), "POST", path, identity.papers.domain, datetime.now(UTC), body_digest(body))


def signed(proof: Proof, identity: Identity) -> str:
    """The proof as it is sent."""
    return make_proof(proof, identity.key, identity.papers.certificate.thumbprint)


def call(
    agent: AgentProcess,
    path: str = "/v1/agent/session",
    body: bytes = b"{}",
    *,
    identity: Identity | None = None,
    token: str | None = None,
    sent: bytes | None = None,
    **changes: Any,
) -> requests.Response:
    """POST with a proof.

    Args:
        agent: whose node it is.
        path: where.
        body: what the proof is of.
        identity: whose papers; None means the agent's present ones.
        token: the proof as it is sent, if it is not to be made here; empty means none.
        sent: the body that goes out, if it is not the one that the proof is of.
        changes: fields of the proof that are to be wrong.
    """
    identity = identity or Identity(agent.folder)
    if token is None:
        token = signed(replace(proof_for(identity, path, body), **changes), identity)
    headers = {"Content-Type": "application/json", **({PROOF_HEADER: token} if token else {})}
    return requests.post(agent.house.api + path, data=body if sent is None else sent, headers=headers, timeout=30)
