"""Sign-in through the real parts: the sign-in server over HTTP, the API in its host, the store; and the end of a session."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
import requests

from tests.support.house import HouseForTests
from tests.support.people import PATIENCE, Person
from tests.support.sign_in import exchange, refused


@pytest.fixture(scope="module")
def ann(house: HouseForTests) -> Person:
    return Person.sign_up(house, "ann")


# --- how it should go ------------------------------------------------------------------------------------------------


def test_a_new_person_is_led_to_an_organization_of_their_own(house: HouseForTests) -> None:
    ben = Person.sign_up(house, "ben")
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


def test_the_token_is_ours_by_the_published_keys_and_says_no_more_than_it_must(
    house: HouseForTests, ann: Person
) -> None:
    text = ann.exchange().json()["access_token"]
    keys = jwt.PyJWKClient(f"{house.api}/.well-known/jwks.json")
    claims = jwt.decode(text, keys.get_signing_key_from_jwt(text), ["ES256"], audience=house.api, issuer=house.api)
    assert jwt.get_unverified_header(text)["typ"] == "at+jwt"
    assert claims["exp"] - claims["iat"] == 600
    assert claims["client_id"] == "panel"
    assert not {"email", "role", "roles", "permissions", "name"} & claims.keys()


def test_the_metadata_names_what_is_there(house: HouseForTests) -> None:
    document = requests.get(f"{house.api}/.well-known/oauth-authorization-server", timeout=PATIENCE).json()
    assert document["issuer"] == house.api
    for name in ("jwks_uri", "token_endpoint", "revocation_endpoint"):
        assert requests.options(document[name], timeout=PATIENCE).status_code != 404


# --- attacks ---------------------------------------------------------------------------------------------------------


def test_of_twenty_callers_with_one_token_exactly_one_gets_in(house: HouseForTests, ann: Person) -> None:
    token = ann.site_token()
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda _: exchange(house, token), range(20)))
    assert sorted(reply.status_code for reply in replies) == [200] + [400] * 19
    assert all(refused(reply, "used before") for reply in replies if reply.status_code == 400)


# --- the end of a session --------------------------------------------------------------------------------------------


def test_signing_out_at_the_site_ends_the_access_token(house: HouseForTests) -> None:
    eve = Person.sign_up(house, "eve")
    api = eve.client()
    other = eve.sign_in().client()
    waiting = eve.site_token()
    assert api.get("/v1/me").status_code == 200
    eve.browser.post(f"{house.auth}/api/auth/sign-out", json={}, headers={"Origin": house.auth}, timeout=PATIENCE)
    reply = api.get("/v1/me")
    assert reply.status_code == 401
    assert reply.json()["code"] == "session_ended"
    assert refused(exchange(house, waiting), "session has ended")
    assert other.get("/v1/me").status_code == 200  # the other browser is another session


def test_signing_out_at_the_api_ends_the_access_token(house: HouseForTests) -> None:
    api = Person.sign_up(house, "fay").client()
    assert api.call("POST", "/v1/auth/sign-out").status_code == 204
    assert api.get("/v1/me").json()["code"] == "session_ended"


def test_nobody_else_can_end_a_session(house: HouseForTests, ann: Person) -> None:
    api = ann.client()
    for token in (ann.site_token(), "a.b.c", api.credential or ""):
        reply = requests.post(f"{house.api}/v1/auth/backchannel-logout", data={"logout_token": token}, timeout=PATIENCE)
        assert reply.status_code == 400
        assert reply.json()["error"] == "invalid_request"
    assert api.get("/v1/me").status_code == 200


def test_first_sign_ins_at_once_make_one_user(house: HouseForTests) -> None:
    hal = Person.sign_up(house, "hal")
    tokens = [hal.site_token() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        users = {reply.json()["user"] for reply in pool.map(lambda token: exchange(house, token), tokens)}
    assert len(users) == 1
