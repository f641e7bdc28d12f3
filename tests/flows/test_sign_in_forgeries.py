"""Sign-in tokens that somebody made or changed, and tokens used for what they were not made for."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.house import HouseForTests
from tests.support.people import PATIENCE, ApiClient, Person
from tests.support.sign_in import b64, exchange, refused


@pytest.fixture(scope="module")
def ann(house: HouseForTests) -> Person:
    return Person.sign_up(house, "ann")


def _part(text: str) -> dict[str, Any]:
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def _tampered_payload(token: str, house: HouseForTests) -> str:
    head, payload, signature = token.split(".")
    return f"{head}.{b64({**_part(payload), 'sub': 'somebody-else'})}.{signature}"


def _tampered_signature(token: str, house: HouseForTests) -> str:
    head, payload, signature = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[10] ^= 1
    return f"{head}.{payload}.{b64(bytes(raw))}"


def _no_algorithm(token: str, house: HouseForTests) -> str:
    head, payload, _ = token.split(".")
    return f"{b64({**_part(head), 'alg': 'none'})}.{payload}."


def _public_key_as_secret(token: str, house: HouseForTests) -> str:
    """Key confusion: the published key, used as the secret of an HMAC."""
    head, payload, _ = token.split(".")
    key = requests.get(f"{house.auth}/api/auth/jwks", timeout=PATIENCE).json()["keys"][0]
    secret = base64.urlsafe_b64decode(key["x"] + "=")
    signed = f"{b64({**_part(head), 'alg': 'HS256'})}.{payload}"
    return f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _own_key_in_header(token: str, house: HouseForTests) -> str:
    """A key of the attacker's, offered in the token itself."""
    head, payload, _ = token.split(".")
    private = Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
    signed = f"{b64({**_part(head), 'jwk': jwk, 'jku': 'http://evil.example/jwks'})}.{payload}"
    return f"{signed}.{b64(private.sign(signed.encode()))}"


def _critical_header(token: str, house: HouseForTests) -> str:
    head, payload, signature = token.split(".")
    return f"{b64({**_part(head), 'crit': ['exp']})}.{payload}.{signature}"


def _unknown_key(token: str, house: HouseForTests) -> str:
    head, payload, signature = token.split(".")
    return f"{b64({**_part(head), 'kid': 'made-up'})}.{payload}.{signature}"


def _unknown_issuer(token: str, house: HouseForTests) -> str:
    head, payload, signature = token.split(".")
    return f"{head}.{b64({**_part(payload), 'iss': 'https://evil.example'})}.{signature}"


FORGERIES = {
    "payload changed": (_tampered_payload, "signature"),
    "signature changed": (_tampered_signature, "signature"),
    "alg none": (_no_algorithm, "EdDSA"),
    "public key as HMAC secret": (_public_key_as_secret, "EdDSA"),
    "key in the header": (_own_key_in_header, "signature"),
    "critical header": (_critical_header, "critical"),
    "unknown key": (_unknown_key, "does not publish"),
    "unknown issuer": (_unknown_issuer, "not trusted"),
    "garbage": (lambda token, house: "a.b.c", "not JSON"),
    "nothing": (lambda token, house: "abc", "JWT"),
    "oversized": (lambda token, house: token + "A" * 4096, "4096"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_opens_nothing(house: HouseForTests, ann: Person, name: str) -> None:
    forge, word = FORGERIES[name]
    genuine = ann.site_token()
    assert refused(exchange(house, forge(genuine, house)), word)
    assert exchange(house, genuine).status_code == 200  # a forgery does not use the genuine one up


def test_our_own_access_token_is_no_sign_in(house: HouseForTests, ann: Person) -> None:
    assert refused(exchange(house, ann.exchange().json()["access_token"]), "EdDSA")


def test_a_site_token_is_no_access_token(house: HouseForTests, ann: Person) -> None:
    reply = ApiClient(house.api, ann.site_token()).get("/v1/me")
    assert reply.status_code == 401
    assert reply.json()["code"] == "token_invalid"
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_client_that_the_token_was_not_made_for_is_refused(house: HouseForTests, ann: Person) -> None:
    assert refused(exchange(house, ann.site_token(), client_id="cli"), "panel")
