"""Compact JWS (RFC 7515) with ES256 and nothing else: what envelopes and proofs are wrapped in.

The agent reads a few of these an hour and PyJWT would cost it 2 MB, so the two operations are written out here over
`cryptography`. The algorithm is never taken from the token: a header that names another is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # loaded with the first signature: every door of the API knows commands, few of them sign
    from cryptography.hazmat.primitives.asymmetric import ec

    PrivateKey = ec.EllipticCurvePrivateKey
    PublicKey = ec.EllipticCurvePublicKey

_MAX_HEADER_BYTES = 2048


class SignatureError(ValueError):
    """Not a JWS that this house accepts: malformed, of another kind, by an unknown key, or changed."""


@dataclass(frozen=True, slots=True)
class Header:
    """The protected header: what the token is, and which key signed it."""

    kind: str
    key_id: str


def b64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    """The bytes of strict base64url without padding.

    Raises:
        SignatureError: other characters, or an impossible length.
    """
    try:
        raw = text.encode("ascii").translate(_URL_TO_STD)
        return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise SignatureError("not base64url") from None


# "+" and "/" are the other alphabet: mapped to a character that strict decoding refuses, so one token has one spelling.
_URL_TO_STD = bytes.maketrans(b"-_+/=", b"+/!!!")


def sign(payload: bytes, key: PrivateKey, kind: str, key_id: str) -> str:
    """A compact JWS over `payload`; `kind` becomes `typ`."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    header = json.dumps({"alg": "ES256", "kid": key_id, "typ": kind}, separators=(",", ":")).encode()
    signed = f"{b64url(header)}.{b64url(payload)}"
    r, s = decode_dss_signature(key.sign(signed.encode(), _es256()))
    return f"{signed}.{b64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def peek(token: str, limit: int) -> tuple[Header, bytes]:
    """The header and payload of a token whose signature has NOT been checked: only to choose the key or to log.

    Raises:
        SignatureError: malformed or too long.
    """
    header, payload, _, _ = _split(token, limit)
    return header, payload


def verify(token: str, kind: str, find_key: Callable[[str], PublicKey | None], limit: int) -> bytes:
    """The payload of a token of this kind, signed by a key that `find_key` knows by its id.

    Raises:
        SignatureError: it is not that; the reason says which.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    header, payload, signed, signature = _split(token, limit)
    if header.kind != kind:
        raise SignatureError(f"a {header.kind!r} where a {kind!r} belongs")
    key = find_key(header.key_id)
    if key is None:
        raise SignatureError(f"signed by an unknown key {header.key_id!r}")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), signed, _es256())
    except InvalidSignature:
        raise SignatureError("the signature does not fit the content") from None
    return payload


@cache
def _es256() -> ec.ECDSA:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.ECDSA(hashes.SHA256())


def _split(token: str, limit: int) -> tuple[Header, bytes, bytes, bytes]:
    if len(token) > limit:
        raise SignatureError(f"{len(token)} characters are more than the {limit} allowed")
    parts = token.split(".")
    if len(parts) != 3:
        raise SignatureError("not a compact JWS")
    header = _read_header(unb64url(parts[0][:_MAX_HEADER_BYTES]))
    signature = unb64url(parts[2])
    if len(signature) != 64:
        raise SignatureError(f"a signature of {len(signature)} bytes, ES256 has 64")
    return header, unb64url(parts[1]), f"{parts[0]}.{parts[1]}".encode(), signature


def _read_header(raw: bytes) -> Header:
    try:
        header: Any = json.loads(raw)
    except (ValueError, RecursionError):
        raise SignatureError("the header is not JSON") from None
    if not isinstance(header, dict) or header.get("alg") != "ES256" or "crit" in header:
        raise SignatureError("the header does not say ES256")
    kind, key_id = header.get("typ"), header.get("kid")
    if not isinstance(kind, str) or not isinstance(key_id, str) or not key_id:
        raise SignatureError("the header names no type or no key")
    return Header(kind, key_id)
