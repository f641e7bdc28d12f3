"""Reading a site's statement about who signed in: the subject token of the exchange, and its word that a session ended.

Only the rules: keys, clock and audience are given. Public sources: RFC 7519 (claims), RFC 8725 (best practice: algorithm
fixed per issuer, one kind of token never taken for another), RFC 8693 (exchange), OpenID Connect Back-Channel Logout 1.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.identity.trust import TrustTable
from shared.platform.settings import TrustedIssuer

if TYPE_CHECKING:
    import jwt

MAX_BYTES = 4096
LEEWAY_SECONDS = 5
MAX_LIFE_SECONDS = 120
ALGORITHM = "EdDSA"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


class AssertionRefused(ValueError):
    """The token proves nothing; `code` is a stable word for logs and tests, the text tells a developer what to mend."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Unverified:
    """A well-formed token whose signature has not been checked, and the issuer whose key must fit it."""

    token: str
    key_id: str
    issuer: TrustedIssuer
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a trusted site says, checked: this person, this sign-in session, now, through this client."""

    issuer: str
    subject: str
    token_id: str
    session: str
    client: str
    expires_at: datetime
    authenticated_at: datetime
    session_ends_at: datetime | None
    email: str | None
    email_verified: bool
    name: str | None


def read(token: str, trust: TrustTable) -> Unverified:
    """Take a token apart as far as needed to find whose key must fit.

    Raises:
        AssertionRefused: too long, malformed, another algorithm, no key id, or an issuer that nobody trusts.
    """
    if len(token) > MAX_BYTES:
        raise AssertionRefused("too_long", f"a token of {len(token)} characters; {MAX_BYTES} are allowed")
    parts = token.split(".")
    if len(parts) != 3:
        raise AssertionRefused("malformed", "not a compact JWT")
    header, claims = _json(parts[0], "header"), _json(parts[1], "payload")
    if header.get("alg") != ALGORITHM:
        raise AssertionRefused("algorithm", f"signed with {str(header.get('alg'))[:20]!r}; only {ALGORITHM} is taken")
    if "crit" in header:
        raise AssertionRefused("critical_header", "the header names critical extensions; none is understood")
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not 0 < len(key_id) <= 128:
        raise AssertionRefused("no_key_id", "the header names no key (kid)")
    if str(header.get("typ", "JWT")).lower() not in ("jwt", "logout+jwt"):
        raise AssertionRefused("kind", f"a token of type {str(header.get('typ'))[:30]!r}")
    issuer = trust.find(claims.get("iss"))
    if issuer is None:
        raise AssertionRefused("unknown_issuer", f"the issuer {str(claims.get('iss'))[:100]!r} is not trusted here")
    return Unverified(token, key_id, issuer, claims)


def check(unverified: Unverified, key: jwt.PyJWK, audience: str, client: str | None, now: datetime) -> Assertion:
    """The assertion in a subject token.

    Args:
        unverified: what `read` gave.
        key: the issuer's key of that id.
        audience: the address of our exchange; a token for another audience is not for us.
        client: the client that the caller says it is, if it says so.
        now: the moment of the check.

    Raises:
        AssertionRefused: the signature, the time, the audience or any needed claim does not fit.
    """
    claims = _verified(unverified, key, audience, now)
    if "events" in claims:
        raise AssertionRefused("kind", "a logout token is not a sign-in")
    session, subject, token_id = (_text(claims, name) for name in ("sid", "sub", "jti"))
    authorized = _text(claims, "azp")
    if authorized not in unverified.issuer.clients:
        raise AssertionRefused("client", f"this issuer does not speak for the client {authorized[:50]!r}")
    if client is not None and client != authorized:
        raise AssertionRefused("client", f"issued to {authorized!r}, presented by {client[:50]!r}")
    email = claims.get("email")
    name = claims.get("name")
    return Assertion(
        issuer=unverified.issuer.issuer,
        subject=subject,
        token_id=token_id,
        session=session,
        client=authorized,
        expires_at=_moment(claims, "exp"),
        authenticated_at=_moment(claims, "auth_time" if "auth_time" in claims else "iat"),
        session_ends_at=_moment(claims, "session_exp") if "session_exp" in claims else None,
        email=email if isinstance(email, str) and 3 <= len(email) <= 254 and "@" in email else None,
        email_verified=claims.get("email_verified") is True,
        name=name[:200] if isinstance(name, str) and name.strip() else None,
    )


def check_logout(unverified: Unverified, key: jwt.PyJWK, audience: str, now: datetime) -> tuple[str, str]:
    """The issuer and session id of a logout token.

    Raises:
        AssertionRefused: it is not one, or does not fit.
    """
    claims = _verified(unverified, key, audience, now)
    events = claims.get("events")
    if not isinstance(events, dict) or LOGOUT_EVENT not in events or "nonce" in claims:
        raise AssertionRefused("kind", "not a logout token")
    return unverified.issuer.issuer, _text(claims, "sid")


def _verified(unverified: Unverified, key: jwt.PyJWK, audience: str, now: datetime) -> Mapping[str, Any]:
    import jwt

    try:
        jwt.PyJWS(algorithms=[ALGORITHM]).decode_complete(unverified.token, key, algorithms=[ALGORITHM])
    except (jwt.PyJWTError, ValueError, TypeError):
        raise AssertionRefused("signature", "the signature does not fit the issuer's key") from None
    claims = unverified.claims
    if claims.get("aud") != audience:  # a string and equal: a token for several audiences could be used at several
        raise AssertionRefused("audience", f"the token is not for {audience}")
    expires, issued = _moment(claims, "exp"), _moment(claims, "iat")
    life = (expires - issued).total_seconds()
    if life > MAX_LIFE_SECONDS or life <= 0:
        raise AssertionRefused("life", f"valid for {life:.0f} s; at most {MAX_LIFE_SECONDS} s are taken")
    late = (now - expires).total_seconds()
    if late >= LEEWAY_SECONDS:
        raise AssertionRefused("expired", f"expired {late:.0f} s ago")
    early = max(
        (issued - now).total_seconds(), (_moment(claims, "nbf") - now).total_seconds() if "nbf" in claims else 0
    )
    if early > LEEWAY_SECONDS:
        raise AssertionRefused("not_yet", f"issued {early:.0f} s in the future")
    return claims


def _json(part: str, what: str) -> dict[str, Any]:
    from jwt.utils import base64url_decode

    try:
        value = json.loads(base64url_decode(part.encode("ascii")))
    except (ValueError, UnicodeEncodeError, RecursionError):
        raise AssertionRefused("malformed", f"the {what} is not JSON") from None
    if not isinstance(value, dict):
        raise AssertionRefused("malformed", f"the {what} is not an object")
    return value


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 256:
        raise AssertionRefused("claim", f"the claim {name} is missing or not a text of 1 to 256 characters")
    return value


def _moment(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 253402300800:
        raise AssertionRefused("claim", f"the claim {name} is missing or not a time")
    return datetime.fromtimestamp(value, UTC)
