"""The rules for a site's statement. Forged signatures are tried on the real server, in tests/flows/test_sign_in.py."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from shared.identity import assertions
from shared.identity.assertions import LOGOUT_EVENT, AssertionRefused
from shared.identity.keysets import parse_key_set
from shared.identity.trust import TrustTable
from shared.platform.settings import TrustedIssuer

SITE = "https://panel.example"
EXCHANGE = "https://api.example/v1/auth/token"
KEY = Ed25519PrivateKey.generate()
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
TRUST = TrustTable((TrustedIssuer(issuer=SITE, jwks_uri=f"{SITE}/jwks", clients=("panel", "cli"), origins=(SITE,)),))
PUBLIC = parse_key_set(
    b'{"keys":[%s]}'
    % jwt.algorithms.OKPAlgorithm.to_jwk(KEY.public_key()).replace('"kty"', '"kid": "k1", "kty"').encode()
)["k1"]

CLAIMS: dict[str, Any] = {
    "iss": SITE, "aud": EXCHANGE, "sub": "u1", "jti": "j1", "sid": "s1", "azp": "panel", "iat": AT, "exp": AT + 60,
    "auth_time": AT - 5, "email": "ann@example.com", "email_verified": True, "name": "Ann",
}  # fmt: skip
GONE = object()


def signed(headers: dict[str, Any] | None = None, **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not GONE}
    return jwt.encode(claims, KEY, "EdDSA", headers={"kid": "k1", **(headers or {})})


def checked(token: str, client: str | None = None, now: datetime = NOW) -> assertions.Assertion:
    return assertions.check(assertions.read(token, TRUST), PUBLIC, EXCHANGE, client, now)


def test_what_a_good_token_says() -> None:
    assertion = checked(signed(), "panel")
    assert (assertion.issuer, assertion.subject, assertion.session, assertion.client) == (SITE, "u1", "s1", "panel")
    assert (assertion.email, assertion.email_verified, assertion.name) == ("ann@example.com", True, "Ann")
    assert assertion.authenticated_at == NOW - timedelta(seconds=5)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another audience": ({"aud": "https://other.example/v1/auth/token"}, "audience"),
    "several audiences": ({"aud": [EXCHANGE]}, "audience"),
    "no audience": ({"aud": GONE}, "audience"),
    "no jti": ({"jti": GONE}, "claim"),
    "empty jti": ({"jti": ""}, "claim"),
    "jti too long": ({"jti": "x" * 257}, "claim"),
    "no sid": ({"sid": GONE}, "claim"),
    "no sub": ({"sub": GONE}, "claim"),
    "no exp": ({"exp": GONE}, "claim"),
    "no iat": ({"iat": GONE}, "claim"),
    "exp is text": ({"exp": "soon"}, "claim"),
    "exp is true": ({"exp": True}, "claim"),
    "lives too long": ({"exp": AT + 121}, "life"),
    "ends before it begins": ({"exp": AT - 1}, "life"),
    "no client": ({"azp": GONE}, "claim"),
    "a client the site does not speak for": ({"azp": "cart"}, "client"),
    "a logout token": ({"events": {LOGOUT_EVENT: {}}}, "kind"),
    "begins later": ({"nbf": AT + 10}, "not_yet"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    changes, code = REFUSED[name]
    with pytest.raises(AssertionRefused) as refusal:
        checked(signed(**changes))
    assert refusal.value.code == code


HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "critical extension": ({"crit": ["b64"], "b64": True}, "critical_header"),
    "no key id": ({"kid": None}, "no_key_id"),
    "another kind": ({"typ": "at+jwt"}, "kind"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_refused_by_its_header(name: str) -> None:
    headers, code = HEADERS[name]
    parts = signed().split(".")
    head = jwt.utils.base64url_encode(
        __import__("json").dumps({"alg": "EdDSA", "kid": "k1", **headers}).encode()
    ).decode()
    with pytest.raises(AssertionRefused) as refusal:
        assertions.read(".".join([head, *parts[1:]]), TRUST)
    assert refusal.value.code == code


SKEW = {
    "a little late": (64.9, None),
    "too late": (65.0, "expired"),
    "a little early": (-5.0, None),
    "too early": (-5.1, "not_yet"),
}


@pytest.mark.parametrize("name", SKEW)
def test_clocks_may_differ_by_five_seconds(name: str) -> None:
    offset, code = SKEW[name]
    moment = NOW + timedelta(seconds=offset)
    if code is None:
        assert checked(signed(), now=moment).subject == "u1"
        return
    with pytest.raises(AssertionRefused) as refusal:
        checked(signed(), now=moment)
    assert refusal.value.code == code


def test_another_client_cannot_present_it() -> None:
    with pytest.raises(AssertionRefused, match="issued to 'panel'"):
        checked(signed(), "cli")


@pytest.mark.parametrize(("given_value", "kept"), [("true", False), (1, False), (None, False), (True, True)])
def test_an_address_is_verified_only_if_the_site_says_exactly_so(given_value: object, kept: bool) -> None:
    assert checked(signed(email_verified=given_value)).email_verified is kept


def test_a_logout_token_names_a_session() -> None:
    token = signed(events={LOGOUT_EVENT: {}}, azp=GONE)
    unverified = assertions.read(token, TRUST)
    assert assertions.check_logout(unverified, PUBLIC, EXCHANGE, NOW) == (SITE, "s1")


@pytest.mark.parametrize("changes", [{}, {"events": {}}, {"events": {LOGOUT_EVENT: {}}, "nonce": "n"}, {"events": "x"}])
def test_what_is_no_logout_token(changes: dict[str, Any]) -> None:
    with pytest.raises(AssertionRefused):
        assertions.check_logout(assertions.read(signed(**changes), TRUST), PUBLIC, EXCHANGE, NOW)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(AssertionRefused):
        assertions.read(text, TRUST)


def test_a_deeply_nested_payload_is_refused_quickly() -> None:
    payload = jwt.utils.base64url_encode(b"[" * 2500).decode()
    head = signed().split(".")[0]
    started = time.monotonic()
    with pytest.raises(AssertionRefused):
        assertions.read(f"{head}.{payload}.x", TRUST)
    assert time.monotonic() - started < 1.0
