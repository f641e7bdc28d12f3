"""A grant or deny of one thing counts wherever its permission is asked for: driven by the registry, like the matrix."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import functions
from shared.http import Auth
from shared.http.route import Route
from shared.identity.access import ResourceKind, limit_of
from shared.identity.permissions import ROLE_PERMISSIONS, Permission, Role
from tests.contract.routes.world import World, build
from tests.support.house import HouseForTests
from tests.support.nodes import AgentProcess
from tests.support.people import ApiClient

LIMITED = [
    route
    for route in functions.declared()
    if route.auth is Auth.USER and route.permission is not None and limit_of(Permission(route.permission)) is not None
]
ABOUT_ONE = [route for route in LIMITED if route.resource is not None]
ABOUT_MANY = [route for route in LIMITED if route.narrowed is not None and route.method == "GET"]
PLACEHOLDER_OF = {ResourceKind.SERVER: "server_id", ResourceKind.NODE: "node_id", ResourceKind.TEMPLATE: "template_id"}


def names(routes: list[Route]) -> list[str]:
    return [f"{route.method} {route.path}" for route in routes]


def kind_of(route: Route) -> ResourceKind:
    kind = limit_of(Permission(str(route.permission)))
    assert kind is not None
    return kind


class Twins:
    """Of each kind one thing that a grant names and one that it does not: `one` and `other`, by placeholder."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.one = {name: world.thing(name) for name in ("node_id", "template_id", "server_id")}
        self.one["task_id"] = world.things["task_id"]
        folder = Path(world.house.folder) / uuid.uuid4().hex[:8]
        template = world.owner.post("/v1/templates", world.bodies["replace_template"]).json()["id"]
        made = world.owner.post("/v1/servers", {"name": "twin", "template": "echo", "labels": {"of": "twins"}})
        assert made.status_code == 202, made.text
        self.other = {
            "node_id": AgentProcess.enrolled(world.house, world.owner, folder, "other-node").node_id,
            "template_id": template,
            "server_id": made.json()["server_id"],
            "task_id": made.json()["task_id"],
        }
        server = f"/v1/servers/{self.one['server_id']}"
        world.owner.call("PATCH", server, {"labels": {"of": "twins"}}, headers={"If-Match": "*"})

    def call(self, client: ApiClient, route: Route, side: dict[str, str]) -> int:
        """A call that changes nothing: who may make it is refused for a body that the route does not take."""
        known = {**side, "certificate_id": "crt_01ARZ3NDEKTSV4RRFFQ69G5FAV"}
        path = re.sub(r"\{(\w+)\}", lambda found: known[found.group(1)], route.path)
        body = None if route.method == "GET" else {"no-such-field": 1}
        return client.call(route.method, path, body).status_code

    @contextmanager
    def grant(self, role: Role, permission: str, effect: str, kind: ResourceKind, id: str) -> Iterator[ApiClient]:
        client = self.world.roles[role]
        member = "mem_" + client.get("/v1/me").json()["id"].removeprefix("usr_")
        path = f"/v1/members/{member}/grants"
        body = {"permission": permission, "effect": effect, "resource": {"kind": kind.value, "id": id}}
        made = self.world.owner.post(path, body)
        assert made.status_code == 201, made.text
        yield client
        assert self.world.owner.call("DELETE", f"{path}/{made.json()['id']}").status_code == 204


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    parts = ("cosmos", "bus", "auth", "host")
    with HouseForTests(tmp_path_factory.mktemp("limits"), *parts, settings={"MERIDIAN_RATE_LIMITS": "false"}) as house:
        world = build(house)
        try:
            yield Twins(world)
        finally:
            world.close()


def without(permission: Permission) -> Role:
    """A role that lacks the permission."""
    return next(role for role in (Role.BILLING, Role.VIEWER) if permission not in ROLE_PERMISSIONS[role])


@pytest.mark.parametrize("route", LIMITED, ids=names(LIMITED))
def test_every_route_says_what_its_permission_can_be_limited_to(route: Route) -> None:
    assert (route.resource is None) != (route.narrowed is None)
    if route.resource is not None:
        assert route.resource in (PLACEHOLDER_OF[kind_of(route)], "task_id")


@pytest.mark.parametrize("route", ABOUT_ONE, ids=names(ABOUT_ONE))
def test_a_limit_holds_for_one_thing(twins: Twins, route: Route) -> None:
    permission, kind = Permission(str(route.permission)), kind_of(route)
    own, alien = twins.one[PLACEHOLDER_OF[kind]], twins.other[PLACEHOLDER_OF[kind]]
    with twins.grant(without(permission), permission, "allow", kind, own) as granted:
        assert twins.call(granted, route, twins.one) not in (401, 403, 500)
        assert twins.call(granted, route, twins.other) == 403
    with twins.grant(Role.ADMIN, permission, "deny", kind, alien) as denied:
        assert twins.call(denied, route, twins.one) not in (401, 403, 500)
        assert twins.call(denied, route, twins.other) == 403


@pytest.mark.parametrize("route", ABOUT_MANY, ids=names(ABOUT_MANY))
def test_a_limit_narrows_a_list(twins: Twins, route: Route) -> None:
    permission, kind = Permission(str(route.permission)), kind_of(route)
    own, alien = twins.one[PLACEHOLDER_OF[kind]], twins.other[PLACEHOLDER_OF[kind]]

    def seen(client: ApiClient) -> set[str]:
        path: str | None = route.path + ("?scope=organization" if kind is ResourceKind.TEMPLATE else "")
        found: set[str] = set()
        while path is not None:
            page = client.get(path).json()
            found |= {item[str(route.narrowed)] for item in page["items"]}
            path = page["next"]
        return found

    assert {own, alien} <= seen(twins.world.owner), "there is something to be left out"
    with twins.grant(Role.BILLING, permission, "allow", kind, own) as granted:
        assert seen(granted) == {own}
    with twins.grant(Role.ADMIN, permission, "deny", kind, alien) as denied:
        assert own in (left := seen(denied))
        assert alien not in left


def test_a_bulk_action_reaches_what_the_caller_sees(twins: Twins) -> None:
    body = {"labels": {"of": "twins"}, "action": "start"}

    def reached(client: ApiClient) -> dict[str, str]:
        reply = client.post("/v1/servers/actions", body)
        assert reply.status_code == 200, reply.text
        return {item["server_id"]: item["code"] for item in reply.json()["items"]}

    own, alien = twins.one["server_id"], twins.other["server_id"]
    with twins.grant(Role.ADMIN, "servers.read", "deny", ResourceKind.SERVER, alien) as denied:
        assert list(reached(denied)) == [own], "what is not seen is not named either"
    with twins.grant(Role.ADMIN, "servers.start", "deny", ResourceKind.SERVER, alien) as denied:
        assert reached(denied)[alien] == "permission_missing"
        assert reached(denied)[own] != "permission_missing"
    with (
        twins.grant(Role.BILLING, "servers.read", "allow", ResourceKind.SERVER, own),
        twins.grant(Role.BILLING, "servers.start", "allow", ResourceKind.SERVER, own) as granted,
    ):
        assert [key for key, code in reached(granted).items() if code != "permission_missing"] == [own]


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [("POST", "/v1/placements:dry-run", {}), ("POST", "/v1/servers", {"name": "too-big"})],
    ids=["a try of a placement", "a refused creation"],
)
def test_reasons_do_not_speak_of_nodes_that_are_kept_from_the_caller(
    twins: Twins, method: str, path: str, more: dict[str, Any]
) -> None:
    huge = {"memory_mib": 1_000_000, "cpu_millicores": 1000, "disk_mib": 64}
    body = {"template": "echo", "resources": huge, **more}
    alien = twins.other["node_id"]
    admin = twins.world.roles[Role.ADMIN]
    assert alien in admin.call(method, path, body, headers={"Idempotency-Key": uuid.uuid4().hex}).text
    with twins.grant(Role.ADMIN, "nodes.read", "deny", ResourceKind.NODE, alien) as denied:
        told = denied.call(method, path, body, headers={"Idempotency-Key": uuid.uuid4().hex}).text
    assert alien not in told
    assert "other-node" not in told
    assert twins.one["node_id"] in told


@pytest.mark.parametrize(
    ("permission", "kind", "placeholder"),
    [
        ("servers.create", ResourceKind.NODE, "node_id"),
        ("templates.create", ResourceKind.TEMPLATE, "template_id"),
        ("audit.read", ResourceKind.SERVER, "server_id"),
        ("placements.simulate", ResourceKind.NODE, "node_id"),
        ("tasks.read", ResourceKind.NODE, "node_id"),
        ("nodes.read", ResourceKind.SERVER, "server_id"),
    ],
)
def test_a_limit_that_nothing_would_ask_for_is_refused(
    twins: Twins, permission: str, kind: ResourceKind, placeholder: str
) -> None:
    member = "mem_" + twins.world.roles[Role.VIEWER].get("/v1/me").json()["id"].removeprefix("usr_")
    resource = {"kind": kind.value, "id": twins.one[placeholder]}
    for effect in ("allow", "deny"):
        body = {"permission": permission, "effect": effect, "resource": resource}
        reply = twins.world.owner.post(f"/v1/members/{member}/grants", body)
        assert (reply.status_code, "can be limited" in reply.json()["detail"]) == (400, True), reply.text
