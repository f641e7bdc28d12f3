"""Joining: a one-time token and a new key in, papers out. The token is used once and not kept."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from agent import __version__
from agent.api import Api
from agent.config import Config
from agent.identity import (
    KEY,
    NODE,
    Identity,
    IdentityError,
    check_certificate,
    key_for,
    load_key,
    make_csr,
    make_key,
)
from agent.metrics import read_hardware, read_platform
from shared.messaging.agent_api import EnrolAnswer, EnrolRequest


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What came of it."""

    node_id: str
    name: str
    renewed: bool


async def enrol(
    config: Config, token: str, name: str | None = None, root_sha256: str | None = None, *, force: bool = False
) -> Enrolled:
    """Enrol this machine.

    A key that was made for this token is used again: when the answer was lost on its way, the same call with the same
    key is answered again, though the token is spent. The papers and the key in use stay until new ones have come.

    Raises:
        IdentityError: it is enrolled already, or what came back does not fit.
        ApiRefused: the token is unknown, spent or expired.
        ApiUnreachable: no answer.
    """
    enrolled, token = Identity.enrolled(config.path), token.strip()
    if enrolled and not force:
        raise IdentityError(f"this machine is enrolled already ({config.path / NODE}); --force enrols it anew")
    if not config.api_url:
        raise IdentityError("where is the control plane? --api-url https://...")
    key_file = config.path / (key_for(token) if enrolled else KEY)
    key = load_key(key_file) if key_file.exists() else make_key(key_file)
    platform = read_platform(config.driver)
    request = EnrolRequest(
        token=token,
        csr_pem=make_csr(key, name or platform.hostname),
        agent_version=__version__,
        platform=platform,
        hardware=read_hardware(config.path),
        name=name,
    )
    api = Api(config.api_url, config.ca_file)
    answer = await api.post("/v1/agent/enroll", request, EnrolAnswer)
    if root_sha256:
        _check_root(answer.root_pem, root_sha256)
    check_certificate(key, answer.certificate, answer.root_pem)
    Identity.save_enrolment(config.path, config.api_url, answer, key_file)
    return Enrolled(answer.node_id, answer.name, force)


def _check_root(root_pem: str, wanted: str) -> None:
    """Hold the root against the fingerprint that came by another way: then not even an opened TLS line can lie."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    der = x509.load_pem_x509_certificate(root_pem.encode()).public_bytes(Encoding.DER)
    found = hashlib.sha256(der).hexdigest()
    if found != re.sub(r"[^0-9a-f]", "", wanted.lower()):
        raise IdentityError(f"the authority's fingerprint is {found}, not the one given: somebody stands in between")
