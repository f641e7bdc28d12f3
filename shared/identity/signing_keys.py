"""Our own signing keys: which one signs now, which are published, and when the next comes. Pure but for making a key.

    key 1   |--published--|======signs======|--still published--|
    key 2                       |-published-|======signs======|---
                                 24 h ahead

A key is published for a day before it signs, so whoever caches the key set (5 minutes by its header) has it in time;
it stays for as long as a token that it signed can live.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from shared.platform.clock import Timestamp

if TYPE_CHECKING:  # loaded when a key is made or read, not with the doors
    from cryptography.hazmat.primitives.asymmetric import ec

SIGNS_FOR = timedelta(days=30)
PUBLISHED_AHEAD = timedelta(hours=24)
PUBLISHED_AFTER = timedelta(hours=1)  # six lives of a token, and room for clocks that differ


class SigningKey(BaseModel):
    """An EC P-256 key pair with the time from which it signs."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,), defer_build=True)
    kid: str
    pem: str
    signs_from: Timestamp

    @cached_property
    def private(self) -> ec.EllipticCurvePrivateKey:
        """The private key, parsed once."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = serialization.load_pem_private_key(self.pem.encode(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"the signing key {self.kid} is not an EC key")
        return key

    @cached_property
    def public(self) -> ec.EllipticCurvePublicKey:
        """The public key."""
        return self.private.public_key()

    def jwk(self) -> dict[str, Any]:
        """The public key as RFC 7517 wants it."""
        return {**_coordinates(self.public), "kid": self.kid, "alg": "ES256", "use": "sig"}

    def __repr__(self) -> str:
        return f"SigningKey({self.kid})"


def make_key(signs_from: datetime) -> SigningKey:
    """A new key; its id is the RFC 7638 thumbprint."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SigningKey(kid=_thumbprint(private.public_key()), pem=pem.decode(), signs_from=signs_from)


class KeyRing(BaseModel):
    """The keys in order of `signs_from`."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)
    keys: tuple[SigningKey, ...]

    def signer(self, now: datetime) -> SigningKey:
        """The key that signs now: the youngest whose time has come."""
        return next((key for key in reversed(self.keys) if key.signs_from <= now), self.keys[0])

    def find(self, kid: str) -> SigningKey | None:
        """The key with this id, if it is still published."""
        return next((key for key in self.keys if key.kid == kid), None)

    def published(self) -> bytes:
        """The key set for everybody (RFC 7517), as JSON."""
        return json.dumps({"keys": [key.jwk() for key in self.keys]}).encode()

    def text(self) -> str:
        """What is kept in the secret store."""
        return self.model_dump_json()

    @classmethod
    def read(cls, text: str) -> KeyRing:
        """The ring that `text` gave.

        Raises:
            ValueError: it is not one.
        """
        ring = TypeAdapter(cls).validate_json(text)
        if not ring.keys:
            raise ValueError("the key ring is empty")
        return ring


def first_ring(now: datetime) -> KeyRing:
    """A ring of one new key, which signs at once: for a new installation, and when others may know what was there."""
    return KeyRing(keys=(make_key(now),))


def turn(ring: KeyRing, now: datetime) -> KeyRing:
    """The ring as it should be now: a next key made in time, old ones dropped; the same object if nothing is due."""
    keys = ring.keys
    if keys[-1].signs_from + SIGNS_FOR - PUBLISHED_AHEAD <= now:
        keys = (*keys, make_key(max(keys[-1].signs_from + SIGNS_FOR, now + PUBLISHED_AHEAD)))
    kept = tuple(
        key
        for key, successor in zip(keys, (*keys[1:], None), strict=True)
        if successor is None or now < successor.signs_from + PUBLISHED_AFTER
    )
    return ring if kept == ring.keys else KeyRing(keys=kept)


def _coordinates(public: ec.EllipticCurvePublicKey) -> dict[str, str]:
    numbers = public.public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
    return {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def _thumbprint(public: ec.EllipticCurvePublicKey) -> str:
    canonical = json.dumps(_coordinates(public), separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).rstrip(b"=").decode()
