"""What no route takes: an unknown path, another method, the root."""

from __future__ import annotations

from tests.unit.http.world import KIM, World


async def test_what_no_route_takes_is_a_problem_too(world: World) -> None:
    unknown = await world.doors.call("GET", "/v1/nothing", name="fallback")
    assert (unknown.status, unknown.json["code"]) == (404, "route_not_found")
    other = await world.doors.call("PUT", "/v1/things", name="fallback")
    assert (other.status, other.json["code"], other.headers["Allow"]) == (405, "method_not_allowed", "GET, POST")
    root = await world.doors.call("GET", "/", name="fallback")
    assert (root.status, root.headers["Location"]) == (302, "/docs")


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
