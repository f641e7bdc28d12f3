"""What agents call. Their shapes are the wire contract's own (`shared/messaging/agent_api.py`)."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, RootModel

from shared.composition import services
from shared.http import Auth, Call, In, Reply, Routes
from shared.messaging import agent_api, codec
from shared.nodes.certificates import Holder
from shared.nodes.errors import BadCsr, EnrolmentRefused, NodeStateConflict, ProtocolTooOld
from shared.platform.errors import Internal

routes = Routes("agent", services)
blueprint = routes.blueprint


class Wire(RootModel[Any]):
    """A shape of the wire contract, as pydantic reads and describes it; built when it is first used."""

    model_config = ConfigDict(defer_build=True)


class EnrolBody(Wire):
    """A token, a certificate request, and what the machine is."""

    root: agent_api.EnrolRequest


class RenewBody(Wire):
    """A certificate request."""

    root: agent_api.RenewRequest


class BeatBody(Wire):
    """Alive, and how."""

    root: agent_api.Beat


class Nothing(In):
    """An empty object."""


class EnrolReply(Wire):
    """Who the node is from now on."""

    root: agent_api.EnrolAnswer


class CertificateReply(Wire):
    """A certificate with its chain."""

    root: agent_api.Certificate


class SessionReply(Wire):
    """Where messages are, and signatures to reach them."""

    root: agent_api.SessionAnswer


class BeatReply(Wire):
    """When to beat next."""

    root: agent_api.BeatAnswer


def _holder(call: Call) -> Holder:
    holder = call.principal.details.get("holder")
    if not isinstance(holder, Holder):
        raise Internal("an agent's call without its certificate")
    return holder


def _json(answer: object) -> Reply:
    return Reply(codec.to_json(answer))


@routes.post(
    "/v1/agent/enroll", auth=Auth.ANONYMOUS, organization=False, rate="sign_in", response=EnrolReply,
    problems=[EnrolmentRefused, BadCsr, ProtocolTooOld, NodeStateConflict],
)  # fmt: skip
async def enroll(call: Call, body: EnrolBody) -> Reply:
    """Join a machine: spend a one-time token for a node and its certificate."""
    return _json(await call.services.joining.redeem(body.root, call.request.address))


@routes.post(
    "/v1/agent/certificates", auth=Auth.AGENT, rate="agent", response=CertificateReply,
    problems=[BadCsr, NodeStateConflict],
)  # fmt: skip
async def renew_certificate(call: Call, body: RenewBody) -> Reply:
    """A further certificate, for a key that the node made; the present one stands until its end."""
    return _json(await call.services.joining.renew(_holder(call), body.root.csr_pem, call.request.address))


@routes.post("/v1/agent/session", auth=Auth.AGENT, rate="agent", response=SessionReply, problems=[NodeStateConflict])
async def open_session(call: Call, body: Nothing) -> Reply:  # noqa: ARG001  # what is signed is an empty object
    """Access to the node's own queue and to the queue of reports, for an hour."""
    return _json(await call.services.nodes.session(_holder(call).org, _holder(call).node))


@routes.post(
    "/v1/agent/beat", auth=Auth.AGENT, durable=True, rate="agent", response=BeatReply, problems=[ProtocolTooOld]
)
async def beat(call: Call, body: BeatBody) -> Reply:
    """The node lives, and has these servers."""
    holder, house = _holder(call), call.services

    async def look() -> bool:
        return await house.reconciler.hear(holder, body.root.servers, lambda: call.durable)

    return _json(await house.nodes.beat(holder, float(call.principal.details["skew"]), body.root, look))


@routes.get(
    "/v1/pki/revocations.crl", auth=Auth.ANONYMOUS, organization=False, rate="open", media_type="application/x-pem-file"
)
async def revocation_list(call: Call) -> Reply:
    """The certificates that are revoked, for fronts that end mutual TLS: one list (RFC 5280) of each of our authorities."""
    found = await call.services.joining.revocation_list()
    return Reply(found, content_type="application/x-pem-file")
