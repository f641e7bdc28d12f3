"""ETags through a declared route: `If-Match` before a change, `If-None-Match` before a read."""

from __future__ import annotations

import pytest

from tests.unit.http.world import KIM, SERVER, World


async def test_an_etag_travels_both_ways(world: World) -> None:
    read = await world.doors.call("GET", f"/v1/things/{SERVER}", headers=KIM)
    assert read.headers["ETag"] == '"7"'
    unchanged = await world.doors.call("GET", f"/v1/things/{SERVER}", headers={**KIM, "if-none-match": '"7"'})
    assert (unchanged.status, unchanged.body) == (304, b"")
    for match in ('"7"', "*"):
        edited = await world.doors.call(
            "PATCH", f"/v1/things/{SERVER}", {"name": "y"}, headers={**KIM, "if-match": match}
        )
        assert (edited.status, edited.headers["ETag"]) == (200, '"8"')


@pytest.mark.parametrize(
    ("match", "status", "code"),
    [
        pytest.param(None, 428, "if_match_required", id="none"),
        pytest.param(" ", 428, "if_match_required", id="blank"),
        pytest.param('"6"', 412, "precondition_failed", id="an older one"),
        pytest.param('W/"7"', 412, "precondition_failed", id="a weak one never matches here"),
        pytest.param('"6", "7"', 400, "invalid", id="several"),
        pytest.param("7", 400, "invalid", id="without quotes"),
    ],
)
async def test_what_if_match_must_be(world: World, match: str | None, status: int, code: str) -> None:
    headers = KIM if match is None else {**KIM, "if-match": match}
    answer = await world.doors.call("PATCH", f"/v1/things/{SERVER}", {"name": "y"}, headers=headers)
    assert (answer.status, answer.json["code"]) == (status, code)


@pytest.mark.parametrize(
    ("listed", "status"), [('"7"', 304), ('"6", "7"', 304), ('W/"7"', 304), ('"6"', 200), ("", 200)]
)
async def test_if_none_match_may_name_several_versions(world: World, listed: str, status: int) -> None:
    answer = await world.doors.call("GET", f"/v1/things/{SERVER}", headers={**KIM, "if-none-match": listed})
    assert answer.status == status
