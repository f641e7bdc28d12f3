"""A request through a declared route, with the real checks; who calls and who may is the test's to say."""

from __future__ import annotations

from typing import Any

import pytest

from shared.http.rates import RATE_CLASSES
from shared.platform.errors import Forbidden
from tests.support.doors import Backing, Doors, settings_for_tests
from tests.unit.http.sample import Can, make
from tests.unit.http.world import GOOD, KIM, ORIGIN, SERVER, World


async def test_a_good_call_gets_its_answer(world: World) -> None:
    answer = await world.doors.call("POST", "/v1/plain", GOOD, headers=KIM)
    assert (answer.status, answer.json) == (201, {"id": "p1", "name": "one"})
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-Id"].startswith("req-")
    assert answer.headers["RateLimit-Policy"].startswith('"client";q=')
    assert answer.headers["RateLimit"]


REFUSALS = [
    pytest.param("GET", "/v1/things", None, {}, 401, "unauthenticated", id="no token"),
    pytest.param("GET", "/v1/things", None, {"authorization": "Bearer bad"}, 401, "unauthenticated", id="bad token"),
    pytest.param(
        "GET", "/v1/things", None, {"authorization": "Bearer new"}, 403, "no_organization", id="no organization"
    ),
    pytest.param("GET", "/v1/things?limit=0", None, KIM, 400, "invalid", id="limit too low"),
    pytest.param("GET", "/v1/things?limit=101", None, KIM, 400, "invalid", id="limit too high"),
    pytest.param("GET", "/v1/things?colour=red", None, KIM, 400, "invalid", id="unknown filter"),
    pytest.param("GET", "/v1/me?x=1", None, KIM, 400, "invalid", id="a query where none is taken"),
    pytest.param("GET", "/v1/things/42", None, KIM, 400, "invalid", id="not an id"),
    pytest.param("GET", f"/v1/things/{SERVER[:-1]}9", None, KIM, 404, "not_found", id="not there"),
    pytest.param("POST", "/v1/plain", {**GOOD, "admin": True}, KIM, 400, "invalid", id="unknown field"),
    pytest.param("POST", "/v1/plain", {"name": "x"}, KIM, 400, "invalid", id="missing field"),
    pytest.param("POST", "/v1/plain", b"{", KIM, 400, "invalid", id="not JSON"),
    pytest.param("POST", "/v1/plain", b"", {**KIM, "content-type": "application/json"}, 400, "invalid", id="no body"),
    pytest.param("POST", "/v1/plain", b"[" * 200 + b"]" * 200, KIM, 400, "body_too_deep", id="too deep"),
    pytest.param("POST", "/v1/plain", b'"' + b"x" * 10_000 + b'"', KIM, 413, "body_too_large", id="too large"),
    pytest.param(
        "POST", "/v1/plain", b"a=1", {**KIM, "content-type": "text/plain"}, 415, "unsupported_media_type", id="type"
    ),
    pytest.param("GET", "/v1/me", b"{}", KIM, 400, "invalid", id="a body where none is taken"),
    pytest.param("PATCH", f"/v1/things/{SERVER}", {"name": "y"}, KIM, 428, "if_match_required", id="no If-Match"),
    pytest.param(
        "PATCH", f"/v1/things/{SERVER}", {"name": "y"}, {**KIM, "if-match": '"6"'}, 412, "precondition_failed", id="old"
    ),
    pytest.param("DELETE", f"/v1/things/{SERVER}", None, KIM, 428, "if_match_required", id="delete without If-Match"),
    pytest.param(
        "POST",
        "/v1/token",
        b"grant_type=a&grant_type=b",
        {"content-type": "application/x-www-form-urlencoded"},
        400,
        "invalid",
        id="twice",
    ),
    pytest.param("POST", "/v1/token", GOOD, {}, 415, "unsupported_media_type", id="JSON where a form is taken"),
]


@pytest.mark.parametrize(("method", "url", "body", "headers", "status", "code"), REFUSALS)
async def test_a_refusal_is_a_problem_document(
    world: World, method: str, url: str, body: Any, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await world.doors.call(method, url, body, headers=headers)
    assert (answer.status, answer.json["code"]) == (status, code), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["type"] == f"/docs/problems#{code}"
    assert answer.json["instance"] == url.partition("?")[0]
    assert answer.json["request_id"] == answer.headers["X-Request-Id"]
    assert answer.json["detail"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_every_wrong_place_is_named_at_once_and_nothing_sent_is_repeated(world: World) -> None:
    body = {"name": "", "memory_mib": 1, "ports": [{"number": 1}, {"number": 70000}], "hunter2": "hunter2"}
    answer = await world.doors.call("POST", "/v1/plain", body, headers=KIM)
    found = {error["field"]: error["code"] for error in answer.json["errors"]}
    assert found == {
        "body.name": "string_too_short",
        "body.memory_mib": "greater_than_equal",
        "body.ports.1.number": "less_than_equal",
        "body.hunter2": "unknown_field",
    }
    assert "70000" not in answer.body.decode()


async def test_the_permission_is_asked_with_the_thing_it_is_about(world: World) -> None:
    world.gate.may = {Can.READ}
    read = await world.doors.call("GET", f"/v1/things/{SERVER}", headers=KIM)
    deleted = await world.doors.call("DELETE", f"/v1/things/{SERVER}", headers={**KIM, "if-match": "*"})
    assert (read.status, deleted.status) == (200, 403)
    assert deleted.json["permission"] == "things:write"
    assert world.gate.resources == [SERVER, SERVER]


async def test_permission_is_asked_before_the_body_is_looked_at(world: World) -> None:
    world.gate.may = set()
    answer = await world.doors.call("POST", "/v1/plain", b"{", headers=KIM)
    assert answer.status == 403


async def test_nothing_to_say_is_204(world: World) -> None:
    answer = await world.doors.call("DELETE", f"/v1/things/{SERVER}", headers={**KIM, "if-match": '"7"'})
    assert (answer.status, answer.body) == (204, b"")


async def test_a_page_links_to_the_next_one_with_the_same_filters(world: World) -> None:
    first = await world.doors.call("GET", "/v1/things?state=ready&tags=a,b&limit=10", headers=KIM)
    assert first.json == {"items": [{"id": "t1", "name": "org_a"}], "next": first.json["next"]}
    assert world.kept["query"].tags == ["a", "b"]
    second = await world.doors.call("GET", first.json["next"], headers=KIM)
    assert (world.kept["query"].state, world.kept["query"].limit, world.kept["query"].cursor) == ("ready", 10, "more")
    assert second.json["next"] is None


async def test_long_work_names_its_task(world: World) -> None:
    function = world.doors.functions["start_thing"]
    import azure.functions as func

    request = func.HttpRequest(
        "POST",
        f"http://h/v1/things/{SERVER}/start",
        headers=KIM,
        params={},
        route_params={"server_id": SERVER},
        body=b"",
    )
    answer = await function.get_user_function()(req=request, client='{"taskHubName":"x"}')
    assert (answer.status_code, answer.headers["Location"]) == (202, "/v1/tasks/tsk_1")
    assert world.kept["durable"] == '{"taskHubName":"x"}'


async def test_a_form_is_read(world: World) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    answer = await world.doors.call("POST", "/v1/token", b"grant_type=x%20y&subject_token=", headers=headers)
    assert (answer.status, answer.json["name"]) == (200, "x y")


async def test_our_own_mistake_is_a_500_with_an_id_and_without_details(world: World) -> None:
    answer = await world.doors.call("GET", "/v1/broken")
    assert answer.status == 500
    assert answer.json["code"] == "internal"
    assert b"secret detail" not in answer.body


async def test_other_bytes_keep_their_type_and_headers(world: World) -> None:
    answer = await world.doors.call("GET", "/v1/notes.txt")
    assert (answer.status, answer.body, answer.headers["Cache-Control"]) == (200, b"hello", "public")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param("order-12345678", True, id="a sane one"),
        pytest.param("short", False, id="too short"),
        pytest.param("x" * 65, False, id="too long"),
        pytest.param("bad\r\nheader: 1", False, id="a header in it"),
        pytest.param("näme-12345678", False, id="not ASCII"),
    ],
)
async def test_the_callers_request_id_is_taken_if_it_is_sane(world: World, sent: str, kept: bool) -> None:
    answer = await world.doors.call("GET", "/v1/notes.txt", headers={"x-request-id": sent})
    assert (answer.headers["X-Request-Id"] == sent) is kept


# --- the platform's types ------------------------------------------------------------------------------------------------


async def test_the_platforms_own_converter_takes_our_response(world: World) -> None:
    """Our response fills the headers of the platform's own without its constructor; this is what the worker makes of it."""
    from azure.functions import meta
    from azure.functions.http import HttpResponseConverter

    function = world.doors.functions["notes"].get_user_function()
    import azure.functions as func

    request = func.HttpRequest("GET", "http://h/v1/notes.txt", headers={}, params={}, route_params={}, body=b"")
    datum = HttpResponseConverter.encode(await function(req=request), expected_type=func.HttpResponse)
    assert isinstance(datum, meta.Datum)
    assert datum.value["status_code"].value == "200"
    assert datum.value["body"].value == b"hello"
    assert datum.value["headers"]["Content-Type"].value == "text/plain; charset=utf-8"
    assert datum.value["cookies"] is None


@pytest.mark.parametrize("value", ["/v1/a\r\nSet-Cookie: x=1", "/v1/a\nb", "/v1/\x00"])
def test_a_line_break_never_gets_into_a_header(value: str) -> None:
    from shared.http.wire import check_value

    with pytest.raises(ValueError, match="control character"):
        check_value(value)


async def test_the_charge_of_the_store_is_told_in_development_only() -> None:
    production = settings_for_tests(
        environment="production", public_url="https://a.example", cursor_key="k", secrets_folder="/secrets"
    )
    told, quiet = [
        await Doors(make(Backing(settings=settings))[0]).call("GET", "/v1/charged")
        for settings in (settings_for_tests(), production)
    ]
    assert told.headers["X-Request-Charge"] == "2.83"
    assert "X-Request-Charge" not in quiet.headers
    assert quiet.headers["Strict-Transport-Security"].startswith("max-age=")


async def test_missing_settings_are_one_clear_line_in_the_log_and_a_503(caplog: pytest.LogCaptureFixture) -> None:
    from shared.http import Routes
    from shared.platform.settings import SettingsError

    def incomplete() -> Backing:
        raise SettingsError("settings: COSMOS_ENDPOINT is missing")

    sample, _ = make(Backing())
    routes = Routes("things", incomplete)
    for route in sample.declared:
        if route.name in ("notes", "broken"):
            routes.route(route.method, route.path, auth=route.auth, media_type=route.media_type)(route.handler)
    answer = await Doors(routes).call("GET", "/v1/notes.txt")
    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    assert "COSMOS_ENDPOINT" not in answer.body.decode()
    assert [record.message for record in caplog.records if record.levelname == "CRITICAL"] == [
        "settings: COSMOS_ENDPOINT is missing"
    ]


async def test_a_query_value_that_is_empty_counts_as_sent(world: World) -> None:
    """The platform leaves such parameters out of what it hands over; what was asked for must not silently widen."""
    import azure.functions as func

    function = world.doors.functions["list_things"].get_user_function()
    for url, status in (
        ("?limit=", 400),
        ("?state=", 200),
        ("?colour=", 400),
        ("?limit=5&colour", 400),
        ("?limit=5", 200),
    ):
        sent = {"limit": "5"} if "limit=5" in url else {}
        request = func.HttpRequest(
            "GET", f"http://h/v1/things{url}", headers=KIM, params=sent, route_params={}, body=b""
        )
        assert (await function(req=request)).status_code == status, url


async def test_who_has_no_organization_is_counted_as_anybody(world: World) -> None:
    """A refusal that costs the caller nothing of their limit can be had without end."""
    answer = await world.doors.call("GET", "/v1/things", headers={"authorization": "Bearer new"})
    assert (answer.status, answer.json["code"]) == (403, "no_organization")
    assert answer.headers["RateLimit"]
    limit = RATE_CLASSES["read"].user or 0
    answers = [
        await world.doors.call("GET", "/v1/things", headers={"authorization": "Bearer new"}) for _ in range(limit)
    ]
    assert [each.status for each in answers[-2:]] == [403, 429]


@pytest.mark.parametrize("url", ["/v1/me", "/v1/notes.txt", "/v1/things/42"])
async def test_caches_are_told_that_the_origin_counts_whether_one_was_sent_or_not(world: World, url: str) -> None:
    for sent in ({}, {"origin": ORIGIN}, {"origin": "https://evil.example"}):
        answer = await world.doors.call("GET", url, headers={**KIM, **sent})
        assert answer.headers["Vary"] == "Origin"
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        assert allowed == (ORIGIN if sent.get("origin") == ORIGIN else None)
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_page_elsewhere_may_read_every_field_that_it_needs(world: World) -> None:
    answer = await world.doors.call("GET", "/v1/me", headers={**KIM, "origin": ORIGIN})
    exposed = {name.strip() for name in answer.headers["Access-Control-Expose-Headers"].split(",")}
    assert {"ETag", "Link", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id"} <= exposed


@pytest.mark.parametrize(
    ("sent", "status"), [('"7"', 304), ('W/"7"', 304), ('"1", W/"7"', 304), ("*", 304), ('"8"', 200)]
)
async def test_what_the_caller_has_already_is_not_sent_again(world: World, sent: str, status: int) -> None:
    answer = await world.doors.call("GET", f"/v1/things/{SERVER}", headers={**KIM, "if-none-match": sent})
    assert (answer.status, answer.headers["ETag"]) == (status, '"7"')


async def test_a_refusal_of_a_handler_is_noted(world: World) -> None:
    world.kept["fail_with"] = Forbidden("you cannot give what you lack")
    answer = await world.doors.call("POST", "/v1/plain", GOOD, headers=KIM)
    assert answer.status == 403
    assert world.gate.noted == [("create_plain", "forbidden")]
