"""Proofs of possession that agents' calls carry: each for one call, once, with a certificate that holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from agent.identity import Identity
from shared.messaging.proof import PROOF_HEADER
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.papers import call, lasting_, other_, proof_for, signed  # noqa: F401  # two are fixtures
from tests.support.server_house import api_  # noqa: F401  # a fixture

SESSION = "/v1/agent/session"


def test_a_proof_is_for_one_call_once(lasting: AgentProcess) -> None:
    agent = lasting
    identity = Identity(agent.folder)
    token = signed(proof_for(identity, SESSION, b"{}"), identity)
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
        identity = Identity(agent.folder)
        changes["token"] = signed(proof_for(identity, changes.pop("path"), b"{}"), identity)
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
        headers = {PROOF_HEADER: signed(proof_for(identity, SESSION, b""), identity), "x-arr-clientcert": certificate}
        request = Request("POST", SESSION, headers, {}, {}, b"", "req-1", begin(None))
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
