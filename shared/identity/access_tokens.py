"""Our access tokens: RFC 9068 (`at+jwt`), ES256, ten minutes, for one organization.

A token says who, for which organization, from which sign-in. It names no role and no e-mail address: what its bearer may
do is looked up, so that the removal of a member bites while the token still lives.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from shared.identity.errors import TokenRefused
from shared.identity.signing_keys import KeyRing
from shared.platform.ids import OrgId, UserId

if TYPE_CHECKING:
    from jwt.algorithms import ECAlgorithm

TYPE = "at+jwt"
ALGORITHM = "ES256"
MAX_BYTES = 4096
LEEWAY = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What one of our tokens says."""

    token_id: str
    user: UserId
    org: OrgId | None
    client: str
    session: str
    issued_at: datetime
    authenticated_at: datetime
    expires_at: datetime


def mint(token: AccessToken, ring: KeyRing, issuer: str) -> str:
    """The signed text of a token."""
    key = ring.signer(token.issued_at)
    issued = int(token.issued_at.timestamp())
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": issuer,
        "sub": token.user,
        "client_id": token.client,
        "sid": token.session,
        "auth_time": int(token.authenticated_at.timestamp()),
        "iat": issued,
        "nbf": issued,
        "exp": int(token.expires_at.timestamp()),
        "jti": token.token_id,
    }
    if token.org is not None:
        claims["org"] = token.org
    import jwt

    return jwt.encode(claims, key.private, algorithm=ALGORITHM, headers={"typ": TYPE, "kid": key.kid})


def verify(text: str, ring: KeyRing, issuer: str, now: datetime) -> AccessToken:
    """What a token says, if it is ours and good now.

    Raises:
        TokenRefused: malformed, of another kind, by another key, changed, for another audience, or out of its time.
    """
    if len(text) > MAX_BYTES:
        raise TokenRefused(f"a token of {len(text)} characters; {MAX_BYTES} are allowed")
    head, _, signature = text.rpartition(".")
    header_part, _, payload_part = head.partition(".")
    header = _json(header_part)
    # The algorithm is ours to know, never the token's to choose (RFC 8725, 3.1); the type tells our kinds apart (3.11).
    if header.get("alg") != ALGORITHM or header.get("typ") != TYPE or "crit" in header:
        raise TokenRefused("not an access token of this service")
    key = ring.find(str(header.get("kid")))
    if key is None:
        raise TokenRefused("signed by a key that is not (or no longer) ours")
    if not _fits(head, signature, key.public):
        raise TokenRefused("the signature does not fit")
    return _token(_json(payload_part), issuer, now)


def _fits(head: str, signature: str, key: Any) -> bool:
    from jwt.utils import base64url_decode

    try:
        return _es256_verify(head.encode("ascii"), key, base64url_decode(signature.encode("ascii")))
    except (ValueError, UnicodeEncodeError):
        return False


def _es256_verify(message: bytes, key: Any, signature: bytes) -> bool:
    return bool(_es256().verify(message, key, signature))


@cache
def _es256() -> ECAlgorithm:
    from jwt.algorithms import ECAlgorithm

    return ECAlgorithm(ECAlgorithm.SHA256)


def _token(claims: dict[str, Any], issuer: str, now: datetime) -> AccessToken:
    if claims.get("iss") != issuer or claims.get("aud") != issuer:
        raise TokenRefused("a token of another service, or for another one")
    try:
        expires, not_before = _moment(claims["exp"]), _moment(claims["nbf"])
        token = AccessToken(
            token_id=claims["jti"],
            user=UserId(claims["sub"]),
            org=OrgId(claims["org"]) if "org" in claims else None,
            client=claims["client_id"],
            session=claims["sid"],
            issued_at=_moment(claims["iat"]),
            authenticated_at=_moment(claims["auth_time"]),
            expires_at=expires,
        )
    except (KeyError, TypeError) as error:
        raise TokenRefused(f"a claim is missing or of another type: {error}") from None
    if now >= expires:
        raise TokenRefused(f"expired {(now - expires).total_seconds():.0f} s ago")
    if now < not_before - LEEWAY:
        raise TokenRefused("not valid yet")
    return token


def _moment(value: object) -> datetime:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a time")
    return datetime.fromtimestamp(value, UTC)


def _json(part: str) -> dict[str, Any]:
    from jwt.utils import base64url_decode

    try:
        value = json.loads(base64url_decode(part.encode("ascii")))
    except (ValueError, UnicodeEncodeError, RecursionError):
        raise TokenRefused("not a token") from None
    if not isinstance(value, dict):
        raise TokenRefused("not a token")
    return value
