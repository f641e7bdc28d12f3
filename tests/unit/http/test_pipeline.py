"""A request through a declared route, with the real checks; who calls and who may is the test's to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from shared.http.principal import Auth
from shared.platform.ids import Ids
from tests.support.clocks import SetClock
from tests.support.doors import Backing, Doors, settings_for_tests
from tests.unit.http.sample import Can, Gate, make

KIM = {"authorization": "Bearer kim"}
SERVER = Ids().new("srv")[:-1] + "0"
GOOD = {"name": "one", "memory_mib": 2048}
ORIGIN = "https://console.example"


@dataclass
class World:
    doors: Doors
    gate: Gate
    kept: dict[str, Any]
    clock: SetClock


@pytest.fixture
def world() -> World:
    gate, clock = Gate(), SetClock()
    backing = Backing(
        authenticators={Auth.USER: gate},
        authorizer=gate,
        clock=clock,
        settings=settings_for_tests(cors_origins=(ORIGIN,), body_limit_bytes=10_000),
    )
    routes, kept = make(backing)
    return World(Doors(routes), gate, kept, clock)


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


# --- other sites -----------------------------------------------------------------------------------------------------


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


async def test_what_no_route_takes_is_a_problem_too(world: World) -> None:
    unknown = await world.doors.call("GET", "/v1/nothing", name="fallback")
    assert (unknown.status, unknown.json["code"]) == (404, "route_not_found")
    other = await world.doors.call("PUT", "/v1/things", name="fallback")
    assert (other.status, other.json["code"], other.headers["Allow"]) == (405, "method_not_allowed", "GET, POST")
    root = await world.doors.call("GET", "/", name="fallback")
    assert (root.status, root.headers["Location"]) == (302, "/docs")


# --- how often -------------------------------------------------------------------------------------------------------


async def test_too_many_calls_are_refused_until_they_are_a_minute_old(world: World) -> None:
    answers = [await world.doors.call("POST", "/v1/plain", GOOD, headers=KIM) for _ in range(121)]
    assert [answer.status for answer in answers] == [201] * 120 + [429]
    refused = answers[-1]
    assert refused.json["code"] == "rate_limited"
    assert (refused.json["limit"], refused.json["dimension"]) == (120, "user")
    assert refused.headers["RateLimit"] == '"user";r=0;t=61'  # at 60 s the first of them is just a minute old
    assert refused.headers["Retry-After"] == "61"
    lee = await world.doors.call("POST", "/v1/plain", GOOD, headers={"authorization": "Bearer lee"})
    assert lee.status == 201
    world.clock.advance(60)
    assert (await world.doors.call("POST", "/v1/plain", GOOD, headers=KIM)).status == 429
    world.clock.advance(1)
    assert (await world.doors.call("POST", "/v1/plain", GOOD, headers=KIM)).status == 201


async def test_bad_proofs_from_one_address_end_at_sixty_a_minute_without_being_checked(world: World) -> None:
    bad = {"authorization": "Bearer guess"}
    statuses = [(await world.doors.call("GET", "/v1/things", headers=bad)).status for _ in range(62)]
    assert statuses == [401] * 60 + [429] * 2
    assert world.gate.asked == 60
    elsewhere = await world.doors.call("GET", "/v1/things", headers={**bad, "x-forwarded-for": "198.51.100.9:1"})
    assert elsewhere.status == 401
    world.clock.advance(61)
    assert (await world.doors.call("GET", "/v1/things", headers=bad)).status == 401


async def test_an_address_is_the_one_our_front_saw_not_one_that_was_sent(world: World) -> None:
    bad = {"authorization": "Bearer guess"}
    for number in range(60):
        sent = {**bad, "x-forwarded-for": f"10.0.0.{number}, 203.0.113.7:5{number:04}"}
        await world.doors.call("GET", "/v1/things", headers=sent)
    sent = {**bad, "x-forwarded-for": "10.9.9.9, 203.0.113.7:44444"}
    assert (await world.doors.call("GET", "/v1/things", headers=sent)).status == 429


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


@pytest.mark.parametrize(
    ("listed", "status"), [('"7"', 304), ('"6", "7"', 304), ('W/"7"', 304), ('"6"', 200), ("", 200)]
)
async def test_if_none_match_may_name_several_versions(world: World, listed: str, status: int) -> None:
    answer = await world.doors.call("GET", f"/v1/things/{SERVER}", headers={**KIM, "if-none-match": listed})
    assert answer.status == status


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


async def test_a_literal_path_with_a_method_of_its_neighbours_is_405(world: World) -> None:
    import azure.functions as func

    reader = world.doors.functions["read_thing"].get_user_function()
    request = func.HttpRequest(
        "GET", "http://h/v1/things/recount", headers=KIM, params={}, route_params={"server_id": "recount"}, body=b""
    )
    answer = await reader(req=request)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    other = await world.doors.call("PUT", "/v1/things/recount", name="fallback")
    assert (other.status, other.headers["Allow"]) == (405, "POST")
