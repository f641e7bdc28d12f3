"""Every route that changes something leaves an entry in the audit trail: driven by the registry, like the matrix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import functions
from shared.http import Auth
from shared.http.route import Route
from shared.identity.permissions import ROLE_PERMISSIONS, Permission, Role
from tests.contract.routes.world import MARK, World, build, malformed
from tests.support.house import HouseForTests
from tests.support.people import ApiClient
from tests.support.waiting import until

#: Routes that change nothing of an organization, or tell of it elsewhere; each with its reason.
NOTHING_TO_TELL = {
    "create_organization": "told in the trail of the new organization (tests/flows/test_organizations.py)",
    "preview_invitation": "reads",
    "sign_out": "a session is no organization's",
    "delete_me": "told as member.left in each organization",
    "try_placement": "reads",
    "watch_console": "a lease of seconds",
    "remove_members": "told for each member",
    "update_members": "told for each member",
    "create_invitations": "told for each address",
    "act_on_servers": "told for each server",
}

#: Routes that the world below does not allow at this moment; their services are told apart in the flows.
NOT_NOW = {
    "accept_my_invitation": "the owner has no invitation: tests/flows/test_organizations.py",
    "decline_my_invitation": "the same",
    "accept_invitation": "the same",
    "leave_organization": "the last owner stays",
    "transfer_organization": "to a member who may be gone",
    "import_template": "needs an egg: tests of templates",
    "cancel_task": "the task is over: tests/flows/test_servers_walk.py",
    "retry_task": "the same",
    "forget_foreign_port": "no port is marked: tests/unit/servers/test_moving.py",
}

LAST = (
    "revoke_node_certificate",
    "decommission_node",
    "forget_node",
    "transfer_organization",
    "delete_organization",
    "restore_organization",  # and so the next test finds it
    "delete_me",
    "sign_out",
)


def changing() -> list[Route]:
    """The routes in an order in which one does not take away what the next needs."""
    routes = [route for route in functions.declared() if route.auth is Auth.USER and route.method != "GET"]
    return sorted(
        routes, key=lambda route: (LAST.index(route.name) if route.name in LAST else -1, route.method == "DELETE")
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    parts = ("cosmos", "bus", "auth", "host")
    with HouseForTests(tmp_path_factory.mktemp("trail"), *parts, settings={"MERIDIAN_RATE_LIMITS": "false"}) as house:
        world = build(house)
        yield world
        world.close()


def entries_of(client: ApiClient, request: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/v1/audit", params={"request": request}).json()["items"]
    return found


#: Entries whose action says all: there is nothing that was otherwise before.
NO_FIGURES = {"node.forgotten", "enrolment.revoked"}
#: An action is `kind.what_happened`: created, changed, deleted, or another verb in the past tense.
PAST = re.compile(r"[a-z_]+\.([a-z_]*ed|[a-z_]*_(sent|read|found)|left|withdrawn|forgotten)")


def gaps(entry: dict[str, Any], who: str, request: str) -> list[str]:
    """What an entry fails to tell: who, what, to what, before or after, from where, in which request."""
    actor = entry["actor"]
    told = {
        "who": actor["id"] == who,
        "kind of who": actor["kind"] == "user",
        "from where": actor["address"] == "127.0.0.1",
        "request id": actor["request_id"] == request,
        "trace": bool(actor["trace_id"]),
        "in the past tense": PAST.fullmatch(entry["action"]) is not None,
        "to what": bool(entry["target"]["kind"] and entry["target"]["id"]),
        "before or after": (entry["before"], entry["after"]) != (None, None) or entry["action"] in NO_FIGURES,
    }
    return [f"{entry['action']}: {name}" for name, is_told in told.items() if not is_told]


GUARDED = [route for route in functions.declared() if route.permission is not None]


def test_every_refusal_of_permission_is_in_the_trail(world: World) -> None:
    """Of each guarded route; by the billing role, which may least, or by a key where it may."""
    key = ApiClient(world.house.api, world.key_with(Permission.ROLES_READ))
    silent: list[str] = []
    for route in GUARDED:
        permission = Permission(str(route.permission))
        billing = permission not in ROLE_PERMISSIONS[Role.BILLING]
        client = world.roles[Role.BILLING] if billing else key
        if permission is Permission.ROLES_READ:
            continue  # what the key may; the billing role may it as well
        reply = client.call(route.method, malformed(route), None if route.method == "GET" else {})
        assert reply.status_code == 403, f"{route.path}: {reply.text}"
        found = entries_of(world.owner, reply.headers["X-Request-Id"])
        if [(e["action"], e["outcome"], e["target"]["id"]) for e in found] != [
            ("access.refused", "refused", permission.value)
        ] or not found[0]["reason"]:
            silent.append(f"{route.method} {route.path}: {found}")
    assert silent == []


def beyond(world: World) -> dict[str, tuple[ApiClient, str, str, dict[str, Any] | None]]:
    """What is refused behind an open door: the caller may call, but not do this."""
    admin, owner = world.roles[Role.ADMIN], world.owner
    boss, target = (f"mem_{owner.get('/v1/me').json()['id'][4:]}", world.thing("member_id"))
    own = f"mem_{admin.get('/v1/me').json()['id'][4:]}"
    key = ApiClient(world.house.api, world.key_with(Permission.ROLES_READ))
    more = {"permission": "billing.manage"}
    return {
        "invites an owner": (admin, "POST", "/v1/invitations", {"email": "o@example.com", "role": "owner"}),
        "invites owners": (admin, "POST", "/v1/invitations/bulk", {"emails": ["o@example.com"], "role": "owner"}),
        "makes an owner": (admin, "PATCH", f"/v1/members/{target}", {"role": "owner"}),
        "makes owners": (admin, "POST", "/v1/members/bulk-role", {"member_ids": [target], "role": "owner"}),
        "removes the owner": (admin, "DELETE", f"/v1/members/{boss}", None),
        "removes owners": (admin, "POST", "/v1/members/bulk-remove", {"member_ids": [boss]}),
        "changes own role": (admin, "PATCH", f"/v1/members/{own}", {"role": "viewer"}),
        "grants what they lack": (admin, "POST", f"/v1/members/{target}/grants", more),
        "a role of what they lack": (admin, "POST", "/v1/roles", {"name": "X", "permissions": ["org.delete"]}),
        "a key with what they lack": (admin, "POST", "/v1/api-keys", {"name": "X", "scopes": ["billing.manage"]}),
        "a key that is no person": (key, "POST", "/v1/me/leave", None),
    }


def test_every_refusal_behind_an_open_door_is_in_the_trail(world: World) -> None:
    silent: list[str] = []
    for name, (client, method, path, body) in beyond(world).items():
        headers = {} if method == "POST" else {"If-Match": "*"}
        reply = client.call(method, path, body, headers=headers)
        assert reply.status_code == 403 or reply.json()["failed"] == 1, f"{name}: {reply.text}"
        found = entries_of(world.owner, reply.headers["X-Request-Id"])
        if [(each["action"], each["outcome"], bool(each["reason"])) for each in found] != [
            ("access.refused", "refused", True)
        ]:
            silent.append(f"{name}: {found}")
    assert silent == []


@pytest.mark.slow
def test_every_change_is_in_the_trail(world: World) -> None:
    world.bodies["create_server"] = {"name": f"{MARK[:30]}-2", "template": "echo"}
    world.thing("template_id")
    world.bodies["create_template"] = world.bodies["replace_template"]
    world.bodies["act_on_servers"] = {"labels": {"no": "such"}, "action": "start"}
    world.bodies["try_placement"] = {"template": "echo"}
    world.bodies["decommission_node"] = {"force": True}
    silent: list[str] = []
    lacking: list[str] = []
    refused: list[str] = []
    who = world.owner.get("/v1/me").json()["id"]
    for route in changing():
        if route.name in NOTHING_TO_TELL:
            continue
        path, body = world.path(route), world.body(route)
        server = world.things.get("server_id")
        if (
            server is not None and route.name not in LAST
        ):  # one thing at a time: the last action has ended before the next is asked for
            until(lambda s=server: world.owner.get(f"/v1/servers/{s}").json().get("operation") is None, str(route))
        reply = world.owner.call(route.method, path, body, headers={"If-Match": "*"} if route.if_match else {})
        if not reply.ok:
            if route.name not in NOT_NOW and not (reply.status_code == 409 and "/servers/{" in route.path):
                refused.append(f"{route.method} {route.path}: {reply.status_code} {reply.text[:200]}")
            continue
        request = reply.headers["X-Request-Id"]
        found = entries_of(world.owner, request)
        silent += [] if found else [f"{route.method} {route.path}"]
        lacking += [gap for entry in found for gap in gaps(entry, who, request)]
        if route.method == "DELETE":
            name = route.path.rsplit("{", 1)[-1].rstrip("}")
            world.things.pop(name, None)
    assert (silent, lacking, refused) == ([], [], [])
