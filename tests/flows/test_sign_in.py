"""Sign-in through the real parts: the sign-in server over HTTP, the API in its host, the store; and the attacks on it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.house import HouseForTests
from tests.support.people import EXCHANGE, JWT_TYPE, PATIENCE, ApiClient, Person
from tests.support.processes import Part, free_port


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


@pytest.fixture(scope="module")
def ann(world: World) -> Person:
    return Person.sign_up(world.house, "ann")


def exchange(world: World, token: str, **more: str) -> requests.Response:
    form = {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": JWT_TYPE, **more}
    return requests.post(f"{world.house.api}/v1/auth/token", data=form, timeout=PATIENCE)


def refused(reply: requests.Response, *words: str) -> bool:
    """Whether it is a refusal in OAuth's form whose reason has these words, and is not to be cached."""
    assert reply.status_code == 400, reply.text
    assert reply.headers["Cache-Control"] == "no-store"
    body = reply.json()
    assert body["error"] == "invalid_grant"
    assert all(word in body["error_description"] for word in words), body
    return True


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


# --- how it should go ------------------------------------------------------------------------------------------------


def test_a_new_person_is_led_to_an_organization_of_their_own(world: World) -> None:
    ben = Person.sign_up(world.house, "ben")
    first = ben.exchange().json()
    assert first["organization"] is None
    assert first["onboarding"] is True
    assert first["expires_in"] == 600
    assert first["refresh_token"] is None  # a browser asks its site again
    owner = ben.found_organization("Ben's")
    second = ben.exchange().json()
    assert second["user"] == first["user"]
    assert second["organization"] == owner.organization
    assert second["onboarding"] is False
    assert owner.get("/v1/organization").json()["name"] == "Ben's"


def test_the_token_is_ours_by_the_published_keys_and_says_no_more_than_it_must(world: World, ann: Person) -> None:
    text = ann.exchange().json()["access_token"]
    keys = jwt.PyJWKClient(f"{world.house.api}/.well-known/jwks.json")
    claims = jwt.decode(
        text, keys.get_signing_key_from_jwt(text), ["ES256"], audience=world.house.api, issuer=world.house.api
    )
    assert jwt.get_unverified_header(text)["typ"] == "at+jwt"
    assert claims["exp"] - claims["iat"] == 600
    assert claims["client_id"] == "panel"
    assert not {"email", "role", "roles", "permissions", "name"} & claims.keys()


def test_the_metadata_names_what_is_there(world: World) -> None:
    document = requests.get(f"{world.house.api}/.well-known/oauth-authorization-server", timeout=PATIENCE).json()
    assert document["issuer"] == world.house.api
    for name in ("jwks_uri", "token_endpoint", "revocation_endpoint"):
        assert requests.options(document[name], timeout=PATIENCE).status_code != 404


# --- attacks ---------------------------------------------------------------------------------------------------------


def test_of_twenty_callers_with_one_token_exactly_one_gets_in(world: World, ann: Person) -> None:
    token = ann.site_token()
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: exchange(world, token), range(20)))
    assert sorted(reply.status_code for reply in replies) == [200] + [400] * 19
    assert all(refused(reply, "used before") for reply in replies if reply.status_code == 400)


def _part(text: str) -> dict[str, Any]:
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def _b64(value: bytes | dict[str, Any]) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _tampered_payload(token: str, world: World) -> str:
    head, payload, signature = token.split(".")
    return f"{head}.{_b64({**_part(payload), 'sub': 'somebody-else'})}.{signature}"


def _tampered_signature(token: str, world: World) -> str:
    head, payload, signature = token.split(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[10] ^= 1
    return f"{head}.{payload}.{_b64(bytes(raw))}"


def _no_algorithm(token: str, world: World) -> str:
    head, payload, _ = token.split(".")
    return f"{_b64({**_part(head), 'alg': 'none'})}.{payload}."


def _public_key_as_secret(token: str, world: World) -> str:
    """Key confusion: the published key, used as the secret of an HMAC."""
    head, payload, _ = token.split(".")
    key = requests.get(f"{world.house.auth}/api/auth/jwks", timeout=PATIENCE).json()["keys"][0]
    secret = base64.urlsafe_b64decode(key["x"] + "=")
    signed = f"{_b64({**_part(head), 'alg': 'HS256'})}.{payload}"
    return f"{signed}.{_b64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _own_key_in_header(token: str, world: World) -> str:
    """A key of the attacker's, offered in the token itself."""
    head, payload, _ = token.split(".")
    private = Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": _b64(raw)}
    signed = f"{_b64({**_part(head), 'jwk': jwk, 'jku': 'http://evil.example/jwks'})}.{payload}"
    return f"{signed}.{_b64(private.sign(signed.encode()))}"


def _critical_header(token: str, world: World) -> str:
    head, payload, signature = token.split(".")
    return f"{_b64({**_part(head), 'crit': ['exp']})}.{payload}.{signature}"


def _unknown_key(token: str, world: World) -> str:
    head, payload, signature = token.split(".")
    return f"{_b64({**_part(head), 'kid': 'made-up'})}.{payload}.{signature}"


def _unknown_issuer(token: str, world: World) -> str:
    head, payload, signature = token.split(".")
    return f"{head}.{_b64({**_part(payload), 'iss': 'https://evil.example'})}.{signature}"


FORGERIES = {
    "payload changed": (_tampered_payload, "signature"),
    "signature changed": (_tampered_signature, "signature"),
    "alg none": (_no_algorithm, "EdDSA"),
    "public key as HMAC secret": (_public_key_as_secret, "EdDSA"),
    "key in the header": (_own_key_in_header, "signature"),
    "critical header": (_critical_header, "critical"),
    "unknown key": (_unknown_key, "does not publish"),
    "unknown issuer": (_unknown_issuer, "not trusted"),
    "garbage": (lambda token, world: "a.b.c", "not JSON"),
    "nothing": (lambda token, world: "abc", "JWT"),
    "oversized": (lambda token, world: token + "A" * 4096, "4096"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_opens_nothing(world: World, ann: Person, name: str) -> None:
    forge, word = FORGERIES[name]
    genuine = ann.site_token()
    assert refused(exchange(world, forge(genuine, world)), word)
    assert exchange(world, genuine).status_code == 200  # a forgery does not use the genuine one up


def test_our_own_access_token_is_no_sign_in(world: World, ann: Person) -> None:
    assert refused(exchange(world, ann.exchange().json()["access_token"]), "EdDSA")


def test_a_site_token_is_no_access_token(world: World, ann: Person) -> None:
    reply = ApiClient(world.house.api, ann.site_token()).get("/v1/me")
    assert reply.status_code == 401
    assert reply.json()["code"] == "token_invalid"
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_token_for_another_audience_is_refused(world: World) -> None:
    browser = at_site(world, world.elsewhere)
    assert refused(exchange(world, token_of(browser, world.elsewhere)), "not for")


def test_a_token_that_came_too_late_is_refused(world: World) -> None:
    token = token_of(at_site(world, world.brief), world.brief)
    expires = jwt.decode(token, options={"verify_signature": False})["exp"]
    time.sleep(max(0.0, expires + 5 - time.time()) + 0.2)  # its life and the leeway of 5 s: only time makes it old
    assert refused(exchange(world, token), "expired")


def test_a_client_that_the_token_was_not_made_for_is_refused(world: World, ann: Person) -> None:
    assert refused(exchange(world, ann.site_token(), client_id="cli"), "panel")


def test_a_page_of_another_site_cannot_use_the_token(world: World, ann: Person) -> None:
    form = {"grant_type": EXCHANGE, "subject_token": ann.site_token(), "subject_token_type": JWT_TYPE}
    reply = requests.post(
        f"{world.house.api}/v1/auth/token", data=form, headers={"Origin": world.brief.url}, timeout=PATIENCE
    )
    assert reply.status_code in (400, 403), reply.text


def test_a_new_key_of_a_site_is_found_and_the_old_one_lives_on(world: World) -> None:
    browser = at_site(world, world.turning)
    first = token_of(browser, world.turning)
    assert exchange(world, first).status_code == 200
    old = jwt.get_unverified_header(first)["kid"]
    deadline = time.monotonic() + PATIENCE
    while True:
        token = token_of(browser, world.turning)
        if jwt.get_unverified_header(token)["kid"] != old:
            break
        assert time.monotonic() < deadline
        time.sleep(0.2)
    # A key set is fetched anew for an unknown key at most every five seconds: until then it is refused, then taken.
    while exchange(world, token).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.5)
        token = token_of(browser, world.turning)


def test_a_trusted_site_that_never_answered_is_a_failure_and_no_refusal(world: World) -> None:
    key = Ed25519PrivateKey.generate()
    now = int(time.time())
    claims = {"iss": world.dead.url, "sub": "x", "jti": "x", "sid": "x", "azp": "dead", "iat": now, "exp": now + 60}
    reply = exchange(world, jwt.encode(claims, key, "EdDSA", headers={"kid": "k"}))
    assert reply.status_code == 503
    assert reply.json()["code"] == "key_set_unavailable"
    assert reply.headers["Retry-After"]


def test_a_site_that_has_died_leaves_its_people_signed_in(world: World) -> None:
    browser = at_site(world, world.brief)
    assert exchange(world, token_of(browser, world.brief)).status_code == 200
    late = token_of(browser, world.brief)
    assert world.brief.part is not None
    world.brief.part.kill()
    try:
        assert exchange(world, late).status_code == 200  # by the key set that is remembered
    finally:
        world.brief.part.start()


# --- the end of a session --------------------------------------------------------------------------------------------


def test_signing_out_at_the_site_ends_the_access_token(world: World) -> None:
    eve = Person.sign_up(world.house, "eve")
    api = eve.client()
    other = eve.sign_in().client()
    waiting = eve.site_token()
    assert api.get("/v1/me").status_code == 200
    eve.browser.post(
        f"{world.house.auth}/api/auth/sign-out", json={}, headers={"Origin": world.house.auth}, timeout=PATIENCE
    )
    reply = api.get("/v1/me")
    assert reply.status_code == 401
    assert reply.json()["code"] == "session_ended"
    assert refused(exchange(world, waiting), "session has ended")
    assert other.get("/v1/me").status_code == 200  # the other browser is another session


def test_signing_out_at_the_api_ends_the_access_token(world: World) -> None:
    api = Person.sign_up(world.house, "fay").client()
    assert api.call("POST", "/v1/auth/sign-out").status_code == 204
    assert api.get("/v1/me").json()["code"] == "session_ended"


def test_nobody_else_can_end_a_session(world: World, ann: Person) -> None:
    api = ann.client()
    for token in (ann.site_token(), "a.b.c", api.credential or ""):
        reply = requests.post(
            f"{world.house.api}/v1/auth/backchannel-logout", data={"logout_token": token}, timeout=PATIENCE
        )
        assert reply.status_code == 400
        assert reply.json()["error"] == "invalid_request"
    assert api.get("/v1/me").status_code == 200


# --- two issuers -----------------------------------------------------------------------------------------------------


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
    while (other := exchange(world, token_of(browser, world.turning))).status_code != 200:
        assert time.monotonic() < deadline, other.text
        time.sleep(0.5)  # until the site's present key is fetched
    assert other.json()["user"] != gil.exchange().json()["user"]


def test_first_sign_ins_at_once_make_one_user(world: World) -> None:
    hal = Person.sign_up(world.house, "hal")
    tokens = [hal.site_token() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        users = {reply.json()["user"] for reply in pool.map(lambda token: exchange(world, token), tokens)}
    assert len(users) == 1


# --- the command line ------------------------------------------------------------------------------------------------


def cli_token(world: World, person: Person) -> str:
    """What `meridian login` does: the browser confirms, the command line redeems the code."""
    verifier = secrets.token_urlsafe(48)
    challenge = _b64(hashlib.sha256(verifier.encode()).digest())
    code = person.browser.post(
        f"{world.house.auth}/cli/authorize",
        json={"challenge": challenge},
        headers={"Origin": world.house.auth},
        timeout=PATIENCE,
    ).json()["code"]
    wrong = requests.post(
        f"{world.house.auth}/cli/token", json={"code": "x" * 43, "verifier": verifier}, timeout=PATIENCE
    )
    assert wrong.status_code == 400
    reply = requests.post(f"{world.house.auth}/cli/token", json={"code": code, "verifier": verifier}, timeout=PATIENCE)
    again = requests.post(f"{world.house.auth}/cli/token", json={"code": code, "verifier": verifier}, timeout=PATIENCE)
    assert again.status_code == 400  # a code is good once
    return str(reply.json()["token"])


def refresh(world: World, token: str, client: str = "cli") -> requests.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client}
    return requests.post(f"{world.house.api}/v1/auth/token", data=form, timeout=PATIENCE)


def test_refresh_tokens_turn_over_and_a_reuse_ends_them_all(world: World) -> None:
    ida = Person.sign_up(world.house, "ida")
    first = exchange(world, cli_token(world, ida), client_id="cli").json()
    assert first["refresh_token"].startswith("mrt_")
    second = refresh(world, first["refresh_token"]).json()
    assert ApiClient(world.house.api, second["access_token"]).get("/v1/me").status_code == 200
    assert refused(refresh(world, second["refresh_token"], client="panel"), "fit")
    assert refused(refresh(world, first["refresh_token"]), "used before")
    assert refused(refresh(world, second["refresh_token"]), "over")  # the newest is gone too
    reply = ApiClient(world.house.api, second["access_token"]).get("/v1/me")
    assert reply.json()["code"] == "session_ended"


def test_an_organization_that_is_refused_does_not_cost_the_refresh_token(world: World) -> None:
    lea = Person.sign_up(world.house, "lea")
    other = Person.sign_up(world.house, "mia").found_organization("Mia's")
    first = exchange(world, cli_token(world, lea), client_id="cli").json()
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], "client_id": "cli"}
    wrong = requests.post(
        f"{world.house.api}/v1/auth/token", data={**form, "organization": str(other.organization)}, timeout=PATIENCE
    )
    assert wrong.json()["error"] == "invalid_target"
    mine = lea.found_organization("Lea's")
    right = requests.post(
        f"{world.house.api}/v1/auth/token", data={**form, "organization": str(mine.organization)}, timeout=PATIENCE
    )
    assert right.json()["organization"] == mine.organization
    assert refresh(world, right.json()["refresh_token"]).json()["organization"] == mine.organization


def test_of_callers_with_one_refresh_token_at_most_one_gets_in(world: World) -> None:
    jon = Person.sign_up(world.house, "jon")
    first = exchange(world, cli_token(world, jon), client_id="cli").json()
    with ThreadPoolExecutor(8) as pool:
        codes = [reply.status_code for reply in pool.map(lambda _: refresh(world, first["refresh_token"]), range(8))]
    assert codes.count(200) <= 1
    assert set(codes) <= {200, 400}


def test_revoking_a_refresh_token_ends_its_session(world: World) -> None:
    kim = Person.sign_up(world.house, "kim")
    first = exchange(world, cli_token(world, kim), client_id="cli").json()
    reply = requests.post(f"{world.house.api}/v1/auth/revoke", data={"token": first["refresh_token"]}, timeout=PATIENCE)
    assert reply.status_code == 204
    assert refused(refresh(world, first["refresh_token"]), "over")
    assert ApiClient(world.house.api, first["access_token"]).get("/v1/me").json()["code"] == "session_ended"


MADE_UP = {
    "another kind": "abc",
    "no secret": "mrt_fam_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "unknown family": "mrt_fam_01ARZ3NDEKTSV4RRFFQ69G5FAV_" + "x" * 43,
    "a path": "mrt_fam_../../x",
}


@pytest.mark.parametrize("name", MADE_UP)
def test_a_made_up_refresh_token_opens_nothing(world: World, name: str) -> None:
    assert refused(refresh(world, MADE_UP[name]))
