"""Sign-in with further sites beside the house's own: keys that turn, tokens that end, sites that die."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.house import HouseForTests
from tests.support.people import EXCHANGE, JWT_TYPE, PATIENCE, Person
from tests.support.processes import Part, free_port
from tests.support.sign_in import exchange, refused


@dataclass
class Site:
    """A further sign-in site beside the house's own, for one kind of attack."""

    client: str
    port: int
    options: tuple[str, ...] = ()
    part: Part | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def entry(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/api/auth/jwks",
            "clients": [self.client],
            "origins": [self.url],
        }


@dataclass
class World:
    house: HouseForTests
    brief: Site  # its tokens live one second
    turning: Site  # its signing key lives two seconds
    elsewhere: Site  # its tokens are for another API
    dead: Site  # trusted, but not running


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("sign-in")
    brief = Site("brief", free_port(), ("--life-seconds", "1"))
    turning = Site("turning", free_port(), ("--rotate-seconds", "2", "--grace-seconds", "120"))
    elsewhere = Site("elsewhere", free_port(), ("--audience", "https://other.example/v1/auth/token"))
    dead = Site("dead", free_port())
    house = HouseForTests(folder, "cosmos", "auth", "host")
    trusted = json.loads(house.settings()["MERIDIAN_TRUSTED_ISSUERS"])
    entries = [*trusted, *(site.entry() for site in (brief, turning, elsewhere, dead))]
    house._settings.update(MERIDIAN_TRUSTED_ISSUERS=json.dumps(entries), MERIDIAN_RATE_LIMITS="false")
    with house:
        for site in (brief, turning, elsewhere):
            arguments = ("--port", str(site.port), "--data", str(folder / site.client), "--client", site.client)
            where = ("--api", house.api, *site.options)
            site.part = Part.module("local.auth", *arguments, *where, log=folder / f"{site.client}.log", port=site.port)
            site.part.start()
        try:
            yield World(house, brief, turning, elsewhere, dead)
        finally:
            for site in (brief, turning, elsewhere):
                if site.part is not None:
                    site.part.kill()


def at_site(world: World, site: Site) -> requests.Session:
    """A browser that has signed up at a further site."""
    browser = requests.Session()
    account = {"email": f"{secrets.token_hex(4)}@example.com", "password": "correct horse battery", "name": "Zoe"}
    reply = browser.post(
        f"{site.url}/api/auth/sign-up/email", json=account, headers={"Origin": site.url}, timeout=PATIENCE
    )
    assert reply.status_code == 200, reply.text
    return browser


def token_of(browser: requests.Session, site: Site) -> str:
    return str(browser.get(f"{site.url}/api/auth/token", timeout=PATIENCE).json()["token"])


def test_a_token_for_another_audience_is_refused(world: World) -> None:
    browser = at_site(world, world.elsewhere)
    assert refused(exchange(world.house, token_of(browser, world.elsewhere)), "not for")


def test_a_token_that_came_too_late_is_refused(world: World) -> None:
    token = token_of(at_site(world, world.brief), world.brief)
    expires = jwt.decode(token, options={"verify_signature": False})["exp"]
    time.sleep(max(0.0, expires + 5 - time.time()) + 0.2)  # its life and the leeway of 5 s: only time makes it old
    assert refused(exchange(world.house, token), "expired")


def test_a_page_of_another_site_cannot_use_the_token(world: World) -> None:
    ann = Person.sign_up(world.house, "ann")
    form = {"grant_type": EXCHANGE, "subject_token": ann.site_token(), "subject_token_type": JWT_TYPE}
    reply = requests.post(
        f"{world.house.api}/v1/auth/token", data=form, headers={"Origin": world.brief.url}, timeout=PATIENCE
    )
    assert reply.status_code in (400, 403), reply.text


def test_a_new_key_of_a_site_is_found_and_the_old_one_lives_on(world: World) -> None:
    browser = at_site(world, world.turning)
    first = token_of(browser, world.turning)
    assert exchange(world.house, first).status_code == 200
    old = jwt.get_unverified_header(first)["kid"]
    deadline = time.monotonic() + PATIENCE
    while True:
        token = token_of(browser, world.turning)
        if jwt.get_unverified_header(token)["kid"] != old:
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)
    # A key set is fetched anew for an unknown key at most every five seconds: until then it is refused, then taken.
    while exchange(world.house, token).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.5)
        token = token_of(browser, world.turning)


def test_a_trusted_site_that_never_answered_is_a_failure_and_no_refusal(world: World) -> None:
    key = Ed25519PrivateKey.generate()
    now = int(time.time())
    claims = {"iss": world.dead.url, "sub": "x", "jti": "x", "sid": "x", "azp": "dead", "iat": now, "exp": now + 60}
    reply = exchange(world.house, jwt.encode(claims, key, "EdDSA", headers={"kid": "k"}))
    assert reply.status_code == 503
    assert reply.json()["code"] == "key_set_unavailable"
    assert reply.headers["Retry-After"]


def test_a_site_that_has_died_leaves_its_people_signed_in(world: World) -> None:
    browser = at_site(world, world.brief)
    assert exchange(world.house, token_of(browser, world.brief)).status_code == 200
    late = token_of(browser, world.brief)
    assert world.brief.part is not None
    world.brief.part.kill()
    try:
        assert exchange(world.house, late).status_code == 200  # by the key set that is remembered
    finally:
        world.brief.part.start()


def test_people_of_two_sites_are_two_people_whatever_their_addresses(world: World) -> None:
    gil = Person.sign_up(world.house, "gil")
    browser = requests.Session()
    account = {"email": gil.email, "password": "correct horse battery", "name": "Not Gil"}
    browser.post(
        f"{world.turning.url}/api/auth/sign-up/email",
        json=account,
        headers={"Origin": world.turning.url},
        timeout=PATIENCE,
    )
    deadline = time.monotonic() + PATIENCE
    while (other := exchange(world.house, token_of(browser, world.turning))).status_code != 200:
        assert time.monotonic() < deadline, other.text
        time.sleep(0.5)  # until the site's present key is fetched
    assert other.json()["user"] != gil.exchange().json()["user"]
