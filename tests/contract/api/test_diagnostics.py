"""Health, readiness and diagnostics of the running app, with what it needs and without."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
import requests

from tests.support.house import HouseForTests
from tests.support.seeding import seed_house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseForTests]:
    with HouseForTests(tmp_path_factory.mktemp("house"), "cosmos", "bus", "host") as house:
        yield house


def _get(house: HouseForTests, path: str, **headers: str) -> requests.Response:
    return requests.get(house.api + path, headers=headers, timeout=30)


def _master_key(house: HouseForTests) -> str:
    keys = json.loads((house.folder / "host" / "keys.json").read_text())
    return str(keys["master"] if isinstance(keys.get("master"), str) else keys["masterKey"]["value"])


def test_diagnostics_need_the_master_key(house: HouseForTests) -> None:
    for name in ("configuration", "versions", "dependencies", "limits"):
        assert _get(house, f"/diagnostics/{name}").status_code == 401


def test_the_configuration_shows_no_secret(house: HouseForTests) -> None:
    reply = _get(house, "/diagnostics/configuration", **{"x-functions-key": _master_key(house)})
    assert reply.status_code == 200
    assert reply.json()["settings"]["cosmos_database"] == "meridian"
    for secret in (house.settings()["COSMOS_KEY"], house.settings()["ServiceBusConnection"]):
        assert secret not in reply.text


def test_the_page_of_the_api_and_what_it_draws_are_served(house: HouseForTests) -> None:
    for path, kind in (("/docs", "text/html"), ("/docs/style.css", "text/css"), ("/docs/script.js", "text/javascript")):
        reply = _get(house, path)
        assert (reply.status_code, reply.headers["Content-Type"].split(";")[0]) == (200, kind)
    page = _get(house, "/docs")
    assert "http://" not in page.text
    assert "https://" not in page.text, "nothing of the page comes from anywhere else"
    assert _get(house, "/openapi.json").json()["openapi"].startswith("3.1")
    assert "rate_limited" in _get(house, "/docs/problems").text


def test_a_key_that_got_out_is_replaced_and_its_tokens_end(house: HouseForTests) -> None:
    token = {"Authorization": f"Bearer {asyncio.run(seed_house(house.settings())).token}"}
    assert _get(house, "/v1/organization", **token).status_code == 200
    before = {key["kid"] for key in _get(house, "/.well-known/jwks.json").json()["keys"]}
    url = f"{house.api}/diagnostics/access-token-keys/replace"
    assert requests.post(url, timeout=30).status_code == 401
    assert requests.post(url, headers={"x-functions-key": _master_key(house)}, timeout=30).status_code == 204
    assert _get(house, "/v1/organization", **token).status_code == 401
    after = {key["kid"] for key in _get(house, "/.well-known/jwks.json").json()["keys"]}
    assert len(after) == 1
    assert not before & after


def test_everything_answers_and_then_the_store_is_gone_and_comes_back(house: HouseForTests) -> None:
    key = {"x-functions-key": _master_key(house)}
    first = {each["name"]: each for each in _get(house, "/diagnostics/dependencies", **key).json()["dependencies"]}
    assert {name: each["ok"] for name, each in first.items()} == {"store": True, "secrets": True, "messages": True}
    assert _get(house, "/readyz").json() == {"status": "ok", "store": "ok"}
    house.kill("cosmos")
    without = {each["name"]: each for each in _get(house, "/diagnostics/dependencies", **key).json()["dependencies"]}
    assert not without["store"]["ok"]
    assert without["store"]["reason"]
    assert without["secrets"]["ok"]
    unready = _get(house, "/readyz")
    assert (unready.status_code, unready.json()["status"]) == (503, "unavailable")
    alive = _get(house, "/healthz")
    assert (alive.status_code, alive.json()["status"]) == (200, "ok"), "a process is healthy while it makes progress"
    house.start("cosmos")
    assert _get(house, "/readyz").status_code == 200
