"""How an agent proves who it is: a signature for this call, by the key of a certificate that holds."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from shared.http.principal import Principal, PrincipalKind
from shared.http.request import Request
from shared.messaging import codec, jws
from shared.messaging.limits import PROOF_LIFE
from shared.messaging.proof import MAX_PROOF_BYTES, PROOF_HEADER, PROOF_KIND, ProofError, check_proof, open_proof
from shared.nodes.errors import CertificateRefused, ProofRefused

if TYPE_CHECKING:
    from shared.composition import Services
    from shared.nodes.certificates import Holder

#: A repeated beat says nothing new (beats are numbered), so its proof's id is not worth a write for each minute of each node.
HARMLESS_WHEN_REPEATED: Final = frozenset({"/v1/agent/beat"})
FORWARDED_CERTIFICATE: Final = "x-arr-clientcert"


class AgentAuthenticator:
    """See the module. Fails closed: without the store no new proof is believed."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def authenticate(self, request: Request) -> Principal:
        """The node that calls.

        Raises:
            ProofRefused: no proof, or not for this call, or used before.
            CertificateRefused: the certificate is unknown, expired or revoked, or not the one that TLS showed.
        """
        token = request.headers.get(PROOF_HEADER)
        if not token:
            raise ProofRefused("an agent's call carries a proof of possession in the header Meridian-Proof")
        try:
            header, _ = jws.peek(token, MAX_PROOF_BYTES)
            if header.kind != PROOF_KIND:
                raise ProofRefused(f"a {header.kind[:40]!r} where a proof belongs")
            holder = await self._services.certificates.holder(header.key_id)
            proof = open_proof(token, lambda key_id: holder.key if key_id == holder.thumbprint else None)
            skew = check_proof(
                proof,
                method=request.method,
                path=request.path,
                domain=self._services.authority.domain,
                body=request.body,
                now=self._services.clock.now(),
            )
        except (jws.SignatureError, codec.WireError, ProofError) as error:
            raise ProofRefused(str(error)) from None
        await self._check_forwarded(request, holder)
        if request.path not in HARMLESS_WHEN_REPEATED:
            life = int(2 * PROOF_LIFE.total_seconds()) + 1
            if not await self._services.directory.burn("proof", holder.thumbprint, proof.id, ttl=life):
                raise ProofRefused("this proof was used before")
        details = {"holder": holder, "skew": skew}
        return Principal(PrincipalKind.AGENT, holder.node, org=holder.org, client="agent", details=details)

    async def _check_forwarded(self, request: Request, holder: Holder) -> None:
        """Where the front ends TLS and hands the client certificate on, it must be the very one, and hold in full."""
        text = request.headers.get(FORWARDED_CERTIFICATE)
        if not text:
            return
        from cryptography import x509

        from shared.nodes.x509 import thumbprint

        try:
            if "BEGIN" in text:
                certificate = x509.load_pem_x509_certificate(unquote(text).encode())
            else:
                certificate = x509.load_der_x509_certificate(base64.b64decode(text, validate=True))
        except (ValueError, binascii.Error):
            raise CertificateRefused("the forwarded client certificate cannot be read") from None
        if thumbprint(certificate) != holder.thumbprint:
            raise CertificateRefused("the client certificate of the connection is not that of the proof")
        now = self._services.clock.now()
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise CertificateRefused("the client certificate is outside its dates")
        if not await self._services.authority.check_chain(certificate):
            raise CertificateRefused("the client certificate does not chain up to ours, or is not for clients")


def build(services: Services) -> AgentAuthenticator:
    """Called by the composition root."""
    return AgentAuthenticator(services)
