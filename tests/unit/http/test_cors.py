"""Pages of other sites: which may read an answer, and what a browser asks beforehand."""

from __future__ import annotations

import pytest

from tests.unit.http.world import KIM, ORIGIN, SERVER, World


async def test_a_known_origin_may_read_the_answer(world: World) -> None:
    answer = await world.doors.call("GET", "/v1/things", headers={**KIM, "origin": ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Vary"] == "Origin"
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["https://console.example.evil", "http://console.example", "null", "https://CONSOLE.example"]
)
async def test_another_origin_may_not(world: World, origin: str) -> None:
    answer = await world.doors.call("GET", "/v1/things", headers={**KIM, "origin": origin})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Vary"] == "Origin"


async def test_a_refusal_can_be_read_by_a_known_origin_too(world: World) -> None:
    answer = await world.doors.call("GET", "/v1/things", headers={"origin": ORIGIN})
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, ORIGIN)


async def test_a_preflight_is_answered_without_a_token(world: World) -> None:
    headers = {"origin": ORIGIN, "access-control-request-method": "PATCH", "access-control-request-headers": "if-match"}
    answer = await world.doors.call("OPTIONS", f"/v1/things/{SERVER}", headers=headers, name="fallback")
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
    assert "If-Match" in answer.headers["Access-Control-Allow-Headers"]
    assert answer.headers["Access-Control-Max-Age"] == "600"


async def test_a_preflight_of_another_origin_gets_no_leave(world: World) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "GET"}
    answer = await world.doors.call("OPTIONS", "/v1/things", headers=headers, name="fallback")
    assert not any(name.lower().startswith("access-control-allow") for name in dict(answer.headers))
