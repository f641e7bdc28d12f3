"""Staying signed in at the command line: refresh tokens, and what a reuse of one ends."""

from __future__ import annotations

import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.support.house import HouseForTests
from tests.support.people import PATIENCE, ApiClient, Person
from tests.support.sign_in import b64, exchange, refused


def cli_token(house: HouseForTests, person: Person) -> str:
    """What `meridian login` does: the browser confirms, the command line redeems the code."""
    verifier = secrets.token_urlsafe(48)
    challenge = b64(hashlib.sha256(verifier.encode()).digest())
    code = person.browser.post(
        f"{house.auth}/cli/authorize",
        json={"challenge": challenge},
        headers={"Origin": house.auth},
        timeout=PATIENCE,
    ).json()["code"]
    wrong = requests.post(f"{house.auth}/cli/token", json={"code": "x" * 43, "verifier": verifier}, timeout=PATIENCE)
    assert wrong.status_code == 400
    reply = requests.post(f"{house.auth}/cli/token", json={"code": code, "verifier": verifier}, timeout=PATIENCE)
    again = requests.post(f"{house.auth}/cli/token", json={"code": code, "verifier": verifier}, timeout=PATIENCE)
    assert again.status_code == 400  # a code is good once
    return str(reply.json()["token"])


def refresh(house: HouseForTests, token: str, client: str = "cli") -> requests.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client}
    return requests.post(f"{house.api}/v1/auth/token", data=form, timeout=PATIENCE)


def test_refresh_tokens_turn_over_and_a_reuse_ends_them_all(house: HouseForTests) -> None:
    ida = Person.sign_up(house, "ida")
    first = exchange(house, cli_token(house, ida), client_id="cli").json()
    assert first["refresh_token"].startswith("mrt_")
    second = refresh(house, first["refresh_token"]).json()
    assert ApiClient(house.api, second["access_token"]).get("/v1/me").status_code == 200
    assert refused(refresh(house, second["refresh_token"], client="panel"), "fit")
    assert refused(refresh(house, first["refresh_token"]), "used before")
    assert refused(refresh(house, second["refresh_token"]), "over")  # the newest is gone too
    reply = ApiClient(house.api, second["access_token"]).get("/v1/me")
    assert reply.json()["code"] == "session_ended"


def test_an_organization_that_is_refused_does_not_cost_the_refresh_token(house: HouseForTests) -> None:
    lea = Person.sign_up(house, "lea")
    other = Person.sign_up(house, "mia").found_organization("Mia's")
    first = exchange(house, cli_token(house, lea), client_id="cli").json()
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], "client_id": "cli"}
    wrong = requests.post(
        f"{house.api}/v1/auth/token", data={**form, "organization": str(other.organization)}, timeout=PATIENCE
    )
    assert wrong.json()["error"] == "invalid_target"
    mine = lea.found_organization("Lea's")
    right = requests.post(
        f"{house.api}/v1/auth/token", data={**form, "organization": str(mine.organization)}, timeout=PATIENCE
    )
    assert right.json()["organization"] == mine.organization
    assert refresh(house, right.json()["refresh_token"]).json()["organization"] == mine.organization


def test_of_callers_with_one_refresh_token_at_most_one_gets_in(house: HouseForTests) -> None:
    jon = Person.sign_up(house, "jon")
    first = exchange(house, cli_token(house, jon), client_id="cli").json()
    with ThreadPoolExecutor(8) as pool:
        codes = [reply.status_code for reply in pool.map(lambda _: refresh(house, first["refresh_token"]), range(8))]
    assert codes.count(200) <= 1
    assert set(codes) <= {200, 400}


def test_revoking_a_refresh_token_ends_its_session(house: HouseForTests) -> None:
    kim = Person.sign_up(house, "kim")
    first = exchange(house, cli_token(house, kim), client_id="cli").json()
    reply = requests.post(f"{house.api}/v1/auth/revoke", data={"token": first["refresh_token"]}, timeout=PATIENCE)
    assert reply.status_code == 204
    assert refused(refresh(house, first["refresh_token"]), "over")
    assert ApiClient(house.api, first["access_token"]).get("/v1/me").json()["code"] == "session_ended"


MADE_UP = {
    "another kind": "abc",
    "no secret": "mrt_fam_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "unknown family": "mrt_fam_01ARZ3NDEKTSV4RRFFQ69G5FAV_" + "x" * 43,
    "a path": "mrt_fam_../../x",
}


@pytest.mark.parametrize("name", MADE_UP)
def test_a_made_up_refresh_token_opens_nothing(house: HouseForTests, name: str) -> None:
    assert refused(refresh(house, MADE_UP[name]))
