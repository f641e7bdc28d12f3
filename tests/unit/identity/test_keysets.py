from __future__ import annotations

import asyncio
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.identity.errors import KeySetUnavailable
from shared.identity.keysets import KeySets, parse_key_set
from shared.platform.settings import TrustedIssuer
from tests.support.clocks import SetClock

SITE = TrustedIssuer(issuer="https://panel.example", jwks_uri="https://panel.example/jwks", clients=("panel",))


def key_set(*kids: str) -> bytes:
    keys = [
        {**json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate().public_key())), "kid": kid}
        for kid in kids
    ]
    return json.dumps({"keys": keys}).encode()


class Site:
    """A site's key set: what it answers now, and how often it was asked."""

    def __init__(self, *kids: str) -> None:
        self.kids, self.up, self.asked = kids, True, 0

    async def fetch(self, uri: str) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.up:
            raise OSError("connection refused")
        return key_set(*self.kids)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


async def test_a_key_is_fetched_once_and_remembered(clock: SetClock) -> None:
    site = Site("k1")
    sets = KeySets(clock, site.fetch)
    found = await asyncio.gather(*(sets.find(SITE, "k1") for _ in range(20)))
    assert all(found)
    assert site.asked == 1


async def test_made_up_keys_cost_the_site_one_call_in_five_seconds(clock: SetClock) -> None:
    site = Site("k1")
    sets = KeySets(clock, site.fetch)
    for number in range(100):
        assert await sets.find(SITE, f"made-up-{number}") is None
    assert site.asked == 1
    clock.advance(5)
    assert await sets.find(SITE, "made-up") is None
    assert site.asked == 2


async def test_a_new_key_is_found_after_the_pause(clock: SetClock) -> None:
    site = Site("k1")
    sets = KeySets(clock, site.fetch)
    assert await sets.find(SITE, "k1")
    site.kids = ("k1", "k2")
    assert await sets.find(SITE, "k2") is None
    clock.advance(5)
    assert await sets.find(SITE, "k2")


async def test_a_key_that_was_withdrawn_is_gone_after_five_minutes(clock: SetClock) -> None:
    site = Site("k1", "k2")
    sets = KeySets(clock, site.fetch)
    assert await sets.find(SITE, "k1")
    site.kids = ("k2",)
    clock.advance(301)
    assert await sets.find(SITE, "k1") is None


async def test_while_a_site_is_down_its_last_keys_count_for_a_day(clock: SetClock) -> None:
    site = Site("k1")
    sets = KeySets(clock, site.fetch)
    assert await sets.find(SITE, "k1")
    site.up = False
    clock.advance(23 * 3600)
    assert await sets.find(SITE, "k1")
    clock.advance(3601)
    with pytest.raises(KeySetUnavailable):
        await sets.find(SITE, "k1")
    site.up = True
    clock.advance(5)
    assert await sets.find(SITE, "k1")


async def test_a_site_that_never_answered_is_asked_again_after_the_pause(clock: SetClock) -> None:
    site = Site("k1")
    site.up = False
    sets = KeySets(clock, site.fetch)
    for _ in range(3):
        with pytest.raises(KeySetUnavailable):
            await sets.find(SITE, "k1")
    assert site.asked == 1
    site.up = True
    clock.advance(5)
    assert await sets.find(SITE, "k1")


NO_KEY_SETS = {
    "not JSON": b"<html>",
    "a list": b"[]",
    "keys is no list": b'{"keys": {}}',
    "too many": json.dumps({"keys": [{}] * 21}).encode(),
    "too large": b" " * 65_537,
    "damaged": b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "!"}]}',
}


@pytest.mark.parametrize("name", NO_KEY_SETS)
def test_what_is_no_key_set(name: str) -> None:
    with pytest.raises(ValueError):
        parse_key_set(NO_KEY_SETS[name])


def test_keys_of_other_kinds_are_left_out() -> None:
    other = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(generate_private_key(SECP256R1()).public_key()))
    symmetric = {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}
    document = json.loads(key_set("k1"))
    document["keys"] += [{**other, "kid": "e"}, symmetric, "text"]
    assert set(parse_key_set(json.dumps(document).encode())) == {"k1"}
