"""Proof of possession: each call of an agent is signed with the node's key, for this call alone.

It follows DPoP (RFC 9449): method, address, time and a one-time id are signed; it adds the body's digest, so that
a proxy that opens TLS cannot change what was said. The key id is the certificate's SHA-256 thumbprint (`x5t#S256`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.messaging import codec, jws
from shared.messaging.limits import PROOF_LIFE

PROOF_KIND: Final = "meridian-proof+jws"
PROOF_HEADER: Final = "meridian-proof"
MAX_PROOF_BYTES: Final = 4096


class ProofError(ValueError):
    """The proof does not fit the call; the text says where."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What is signed. `path` is the address after the host, query included; `domain` the house's trust domain."""

    id: str
    method: str
    path: str
    domain: str
    at: datetime
    body_sha256: str

    def __post_init__(self) -> None:
        if not 16 <= len(self.id) <= 64:
            raise codec.WireError(f"proof.id: {len(self.id)} characters, 16 to 64 allowed")


def body_digest(body: bytes) -> str:
    """The body's SHA-256 in base64url."""
    return jws.b64url(hashlib.sha256(body).digest())


def make_proof(proof: Proof, key: jws.PrivateKey, thumbprint: str) -> str:
    """The value of the header `Meridian-Proof`."""
    return jws.sign(codec.to_json(proof), key, PROOF_KIND, thumbprint)


def open_proof(token: str, find_key: Callable[[str], jws.PublicKey | None]) -> Proof:
    """The content of a proof whose signature fits.

    Raises:
        SignatureError: malformed, by an unknown key, or changed.
        WireError: signed, but not of the form.
    """
    return codec.from_json(Proof, jws.verify(token, PROOF_KIND, find_key, MAX_PROOF_BYTES), MAX_PROOF_BYTES)


def check_proof(proof: Proof, *, method: str, path: str, domain: str, body: bytes, now: datetime) -> float:
    """Hold a proof against the call that it came with; the node's clock minus ours, in seconds.

    Whether its id was seen before is the caller's to ask, for as long as `PROOF_LIFE` in both directions.

    Raises:
        ProofError: it was made for another call, or too long ago.
    """
    skew = (proof.at - now).total_seconds()
    if proof.domain != domain:
        raise ProofError(f"the proof is for {proof.domain!r}, this is {domain!r}")
    if (proof.method, proof.path) != (method.upper(), path):
        raise ProofError(f"the proof is for {proof.method} {proof.path}, the call is {method.upper()} {path}")
    if abs(skew) > PROOF_LIFE.total_seconds():
        raise ProofError(f"the proof's time is {skew:+.0f} s from ours, {PROOF_LIFE.total_seconds():.0f} s are allowed")
    if proof.body_sha256 != body_digest(body):
        raise ProofError("the body is not the one that was signed")
    return skew
