"""Every route of the registry against everybody who might call it. The registry is the list: no route can escape.

The calls by those who may are made so that they fail in validation (a malformed id, an unknown field, no If-Match),
which comes after the permission: the answer tells that the door was open, and nothing is changed. The calls by another
organization are complete and valid, with the ids of things that exist: they must find nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

import functions
from shared.http import Auth
from shared.http.route import PLACEHOLDER, Route
from shared.identity.permissions import ROLE_PERMISSIONS, Permission, Role
from tests.contract.routes.world import MARK, World, build, malformed, nowhere
from tests.support.house import HouseForTests
from tests.support.people import ApiClient

ROUTES = functions.declared()


def ids(routes: list[Route]) -> list[str]:
    return [f"{route.method} {route.path}" for route in routes]


def those(*auths: Auth) -> list[Route]:
    return [route for route in ROUTES if route.auth in auths]


GUARDED = [route for route in ROUTES if route.permission is not None]
ABOUT_ONE_THING = [route for route in ROUTES if route.auth is Auth.USER and PLACEHOLDER.search(route.path)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    parts = ("cosmos", "bus", "auth", "host")
    with HouseForTests(tmp_path_factory.mktemp("matrix"), *parts, settings={"MERIDIAN_RATE_LIMITS": "false"}) as house:
        world = build(house)
        yield world
        world.close()


def harmless(client: ApiClient, route: Route) -> requests.Response:
    """A call that whoever may make gets refused for its form; a GET without placeholders is made as it is."""
    body = None if route.method == "GET" else {"no-such-field": 1}
    return client.call(route.method, malformed(route), body)


def code_of(reply: requests.Response) -> str | None:
    is_problem = reply.headers.get("Content-Type", "").startswith("application/problem+json")
    return reply.json()["code"] if is_problem else None


@pytest.mark.parametrize("route", those(Auth.USER), ids=ids(those(Auth.USER)))
def test_who_is_not_signed_in_is_refused(world: World, route: Route) -> None:
    for name, credential in {
        "no token": None,
        "expired token": world.expired,
        "garbage": "x.y.z",
        "made-up API key": "mk_0123456789_" + "x" * 43,
    }.items():
        reply = harmless(ApiClient(world.house.api, credential), route)
        assert reply.status_code == 401, f"{name}: {reply.status_code} {reply.text}"
        assert "WWW-Authenticate" in reply.headers, name
    cookie = requests.request(
        route.method,
        world.house.api + malformed(route),
        headers={"Cookie": f"access_token={world.owner.credential}"},
        timeout=30,
    )
    assert cookie.status_code == 401  # a credential that a browser sends by itself counts for nothing


@pytest.mark.parametrize("route", GUARDED, ids=ids(GUARDED))
def test_each_role_may_what_the_table_says(world: World, route: Route) -> None:
    permission = Permission(str(route.permission))
    for role, client in world.roles.items():
        reply = harmless(client, route)
        may = permission in ROLE_PERMISSIONS[role]
        assert reply.status_code not in (401, 500, 503), f"{role}: {reply.text}"
        assert (code_of(reply) != "permission_missing") == may, f"{role}: {reply.status_code} {reply.text}"
        assert (reply.status_code == 403) != may, f"{role}: {reply.status_code} {reply.text}"


@pytest.mark.parametrize("route", GUARDED, ids=ids(GUARDED))
def test_an_api_key_opens_what_its_scopes_name(world: World, route: Route) -> None:
    permission = Permission(str(route.permission))
    other = Permission.ORG_READ if permission is not Permission.ORG_READ else Permission.MEMBERS_READ
    reply = harmless(ApiClient(world.house.api, world.key_with(other)), route)
    assert (reply.status_code, code_of(reply)) == (403, "permission_missing")


@pytest.mark.parametrize("route", GUARDED, ids=ids(GUARDED))
def test_who_belongs_to_no_organization_is_refused(world: World, route: Route) -> None:
    reply = harmless(world.homeless, route)
    assert (reply.status_code, code_of(reply)) == (403, "no_organization")


@pytest.mark.parametrize("route", ABOUT_ONE_THING, ids=ids(ABOUT_ONE_THING))
def test_another_organizations_things_are_not_there(world: World, route: Route) -> None:
    headers = {"If-Match": "*"} if route.if_match else {}
    path = world.path(route)
    reply = world.stranger.call(route.method, path, world.body(route), headers=headers)
    assert MARK not in reply.text
    if route.method == "GET" and reply.status_code == 200:
        # A list under a thing may be empty instead: then exactly as it is for a thing that exists nowhere.
        assert reply.json() == world.stranger.get(nowhere(route, path)).json()
        return
    assert reply.status_code == 404, f"{reply.status_code} {reply.text}"


LISTS = [r for r in ROUTES if r.auth is Auth.USER and r.method == "GET" and not PLACEHOLDER.search(r.path)]


@pytest.mark.parametrize("route", LISTS, ids=ids(LISTS))
def test_a_list_shows_nothing_of_another_organization(world: World, route: Route) -> None:
    reply = world.stranger.get(route.path)
    assert reply.status_code < 500, reply.text
    assert MARK not in reply.text
    assert (world.owner.organization or "") not in reply.text


def test_the_mark_is_to_be_seen_by_who_may(world: World) -> None:
    """The two tests above could not fail if the owner did not see what the stranger must not."""
    for path in ("/v1/organization", "/v1/api-keys", "/v1/me/organizations", "/v1/audit"):
        world.key_with(Permission.ORG_READ)
        assert MARK in world.owner.get(path).text, path


@pytest.mark.parametrize("route", those(Auth.ANONYMOUS), ids=ids(those(Auth.ANONYMOUS)))
def test_open_routes_ask_for_nothing(world: World, route: Route) -> None:
    reply = harmless(ApiClient(world.house.api, None), route)
    assert reply.status_code not in (401, 403, 500), reply.text


@pytest.mark.parametrize("route", those(Auth.ADMIN, Auth.AGENT), ids=ids(those(Auth.ADMIN, Auth.AGENT)))
def test_people_do_not_pass_for_administrators_or_agents(world: World, route: Route) -> None:
    for client in (ApiClient(world.house.api, None), world.owner):
        assert harmless(client, route).status_code in (401, 403)


def test_what_creates_takes_an_idempotency_key() -> None:
    creating = [route for route in ROUTES if route.method == "POST" and route.status == 201]
    assert [route.path for route in creating if not route.idempotent] == []
    assert creating


CHANGING = [route for route in ROUTES if route.method in ("PUT", "PATCH", "DELETE")]


@pytest.mark.parametrize("route", CHANGING, ids=ids(CHANGING))
def test_what_shows_a_version_is_changed_by_naming_it(world: World, route: Route) -> None:
    """PUT, PATCH and DELETE demand If-Match; those that do not are about what shows no version to name."""
    if route.if_match:
        reply = world.owner.call(route.method, world.path(route), world.body(route))
        assert (reply.status_code, code_of(reply)) == (428, "if_match_required")
    else:
        assert "ETag" not in world.owner.get(world.path(route)).headers


def test_every_permission_is_asked_for_or_is_planned() -> None:
    """A permission that no route asks for is either a mistake or belongs to a part that is not built yet: listed here."""
    asked = {Permission(str(route.permission)) for route in GUARDED} | BY_CONTENT
    planned = {p for p in Permission if PLANNED & {p.value, p.value.split(".")[0]}}
    assert set(Permission) - asked - planned == set()
    assert planned & asked == set(), "built now: take it from PLANNED"


#: Asked for by what a body holds, beside the route's own: each has a test below.
BY_CONTENT = {Permission.TEMPLATES_SCRIPTS}
#: Permissions, or resources with all of theirs, whose routes come with a later part.
PLANNED = {"servers.move", "billing", "files", "mods", "backups", "schedules", "notifications", "webhooks"}


def test_every_role_is_tried() -> None:
    assert set(Role) == set(ROLE_PERMISSIONS)


SCRIPTED = """
schema: 1
key: scripted
name: Scripted
game: scripted
drivers: [container]
images: {Debian: "debian:12"}
resources: {memory_mib: 64, cpu_millicores: 100, disk_mib: 64}
install:
  - {kind: script, image: "debian:12", entrypoint: /bin/sh, script: "true"}
start: {argv: [sleep, "60"]}
"""


@pytest.mark.parametrize(
    ("scopes", "status"),
    [([Permission.TEMPLATES_CREATE], 403), ([Permission.TEMPLATES_CREATE, Permission.TEMPLATES_SCRIPTS], 201)],
    ids=["templates alone", "scripts too"],
)
def test_a_template_with_a_script_takes_a_permission_of_its_own(
    world: World, scopes: list[Permission], status: int
) -> None:
    made = world.owner.post("/v1/api-keys", {"name": "scripted", "scopes": scopes})
    reply = ApiClient(world.house.api, made.json()["key"]).post("/v1/templates", {"source": SCRIPTED})
    assert reply.status_code == status, reply.text
