"""Members, roles, grants and API keys through the real parts: who may do what, and from when on."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

import requests

from tests.support.house import HouseForTests
from tests.support.members import at_once, code_of, join, member_of, newcomer
from tests.support.people import ApiClient, Person


def test_nobody_gives_what_they_lack(house: HouseForTests, owner: ApiClient) -> None:
    admin = newcomer(house, owner, "admin")
    viewer = newcomer(house, owner, "viewer")
    target = f"/v1/members/{member_of(viewer)}"
    refusals: list[tuple[str, Callable[[], requests.Response]]] = [
        ("invite an owner", lambda: admin.post("/v1/invitations", {"email": "o@example.com", "role": "owner"})),
        ("make an owner", lambda: admin.change("PATCH", target, {"role": "owner"})),
        ("grant billing", lambda: admin.post(f"{target}/grants", {"permission": "billing.manage"})),
        ("make a role with it", lambda: admin.post("/v1/roles", {"name": "X", "permissions": ["org.delete"]})),
        ("make a key with it", lambda: admin.post("/v1/api-keys", {"name": "X", "scopes": ["billing.manage"]})),
    ]
    for name, act in refusals:
        reply = act()
        assert (reply.status_code, code_of(reply)) == (403, "permission_not_held"), name
    own = f"/v1/members/{member_of(admin)}"
    boss = f"/v1/members/{member_of(owner)}"
    for name, act in {
        "own role": lambda: admin.change("PATCH", own, {"role": "viewer"}),
        "own grants": lambda: admin.post(f"{own}/grants", {"permission": "servers.read"}),
        "owner's role": lambda: admin.change("PATCH", boss, {"role": "viewer"}),
        "remove the owner": lambda: admin.change("DELETE", boss),
        "deny the owner": lambda: admin.post(f"{boss}/grants", {"permission": "org.read", "effect": "deny"}),
    }.items():
        reply = act()
        assert (reply.status_code, code_of(reply)) == (403, "member_outranks_you"), name


def test_a_custom_role_holds_what_it_names_and_is_kept_while_in_use(house: HouseForTests, owner: ApiClient) -> None:
    name = f"Greeter {uuid.uuid4().hex[:6]}"
    made = owner.post("/v1/roles", {"name": name, "permissions": ["members.read", "members.invite"]})
    assert made.status_code == 201, made.text
    role = made.json()["id"]
    assert code_of(owner.post("/v1/roles", {"name": name.upper(), "permissions": ["org.read"]})) == "role_name_taken"
    assert code_of(owner.post("/v1/roles", {"name": "Owner", "permissions": ["org.read"]})) == "role_name_taken"
    greeter = newcomer(house, owner, role)
    assert greeter.get("/v1/members").status_code == 200
    assert greeter.get("/v1/roles").status_code == 403
    invited = greeter.post("/v1/invitations", {"email": f"{uuid.uuid4().hex}@example.com", "role": "viewer"})
    assert code_of(invited) == "permission_not_held"  # a viewer holds more than a greeter
    assert code_of(owner.change("DELETE", f"/v1/roles/{role}")) == "role_in_use"
    owner.change("PATCH", f"/v1/roles/{role}", {"permissions": ["members.read", "roles.read"]})
    assert greeter.get("/v1/roles").status_code == 200
    assert owner.change("DELETE", f"/v1/members/{member_of(greeter)}").status_code == 204
    assert owner.change("DELETE", f"/v1/roles/{role}").status_code == 204


def test_grants_and_denies_count_at_once_and_end_in_time(house: HouseForTests, owner: ApiClient) -> None:
    viewer = newcomer(house, owner, "viewer")
    grants = f"/v1/members/{member_of(viewer)}/grants"
    assert viewer.get("/v1/api-keys").status_code == 403
    granted = owner.post(grants, {"permission": "api_keys.read"}).json()
    assert viewer.get("/v1/api-keys").status_code == 200
    denied = owner.post(grants, {"permission": "api_keys.read", "effect": "deny"}).json()
    assert viewer.get("/v1/api-keys").status_code == 403
    assert owner.call("DELETE", f"{grants}/{denied['id']}").status_code == 204
    assert viewer.get("/v1/api-keys").status_code == 200
    assert owner.call("DELETE", f"{grants}/{granted['id']}").status_code == 204
    assert viewer.get("/v1/api-keys").status_code == 403
    past = {"permission": "api_keys.read", "expires_at": "2020-01-01T00:00:00Z"}
    assert owner.post(grants, past).status_code == 400
    assert code_of(owner.call("DELETE", f"{grants}/{granted['id']}")) == "grant_not_found"


def test_removal_of_a_member_bites_at_once(house: HouseForTests, owner: ApiClient) -> None:
    person = Person.sign_up(house, "removed")
    client = join(person, owner, "operator")
    assert client.get("/v1/organization").status_code == 200
    assert owner.change("DELETE", f"/v1/members/{member_of(client)}").status_code == 204
    reply = client.get("/v1/organization")
    assert (reply.status_code, code_of(reply)) == (403, "not_a_member")
    again = person.exchange(owner.organization)
    assert again.json()["error"] == "invalid_target"
    assert person.exchange().json()["organization"] is None


def test_members_are_removed_in_bulk_with_a_result_each(house: HouseForTests, owner: ApiClient) -> None:
    gone, boss = member_of(newcomer(house, owner, "viewer")), member_of(owner)
    nobody = "mem_01ARZ3NDEKTSV4RRFFQ69G5FAV"
    body = owner.post("/v1/members/bulk-remove", {"member_ids": [gone, boss, nobody]}).json()
    assert [(r["ok"], r["code"]) for r in body["results"]] == [
        (True, None),
        (False, "last_owner"),
        (False, "member_not_found"),
    ]


def test_the_last_owner_stays(house: HouseForTests) -> None:
    api = Person.sign_up(house, "sole").found_organization("Sole owner's")
    assert code_of(api.post("/v1/me/leave")) == "last_owner"
    assert code_of(api.change("PATCH", f"/v1/members/{member_of(api)}", {"role": "admin"})) == "last_owner"
    second = newcomer(house, api, "owner")
    assert api.post("/v1/me/leave").status_code == 204
    assert code_of(second.post("/v1/me/leave")) == "last_owner"


def test_an_api_key_does_what_its_scopes_say_and_no_more(house: HouseForTests, owner: ApiClient) -> None:
    made = owner.post("/v1/api-keys", {"name": "CI", "scopes": ["members.read"]}).json()
    assert made["key"].startswith(made["prefix"])
    key = ApiClient(house.api, made["key"])
    assert key.get("/v1/members").status_code == 200
    assert code_of(key.get("/v1/roles")) == "permission_missing"
    assert code_of(key.get("/v1/me")) == "persons_only"
    listed = owner.get("/v1/api-keys").json()["items"]
    mine = next(item for item in listed if item["id"] == made["id"])
    assert mine["last_used_at"] is not None
    assert "key" not in mine
    assert made["key"] not in json.dumps(listed)
    assert owner.call("DELETE", f"/v1/api-keys/{made['id']}").status_code == 204
    assert code_of(key.get("/v1/members")) == "api_key_invalid"


def test_an_api_key_is_bound_to_addresses_time_and_its_maker(house: HouseForTests, owner: ApiClient) -> None:
    far = owner.post("/v1/api-keys", {"name": "Far", "scopes": ["org.read"], "networks": ["203.0.113.0/24"]}).json()
    assert code_of(ApiClient(house.api, far["key"]).get("/v1/organization")) == "api_key_invalid"
    for networks in (["2001:db8::/32"], ["2001:db8::7", "203.0.113.9"]):
        other = owner.post("/v1/api-keys", {"name": "Six", "scopes": ["org.read"], "networks": networks}).json()
        assert code_of(ApiClient(house.api, other["key"]).get("/v1/organization")) == "api_key_invalid"
    for nonsense in ("everywhere", "10.0.0.0/33", "::/200"):
        bad = {"name": "Bad", "scopes": ["org.read"], "networks": [nonsense]}
        assert owner.post("/v1/api-keys", bad).status_code == 400
    near = owner.post("/v1/api-keys", {"name": "N", "scopes": ["org.read"], "networks": ["127.0.0.0/8", "::1"]}).json()
    assert ApiClient(house.api, near["key"]).get("/v1/organization").status_code == 200
    past = {"name": "Past", "scopes": ["org.read"], "expires_at": "2020-01-01T00:00:00Z"}
    assert owner.post("/v1/api-keys", past).status_code == 400
    maker = newcomer(house, owner, "admin")
    left = maker.post("/v1/api-keys", {"name": "Left behind", "scopes": ["members.read"]}).json()
    assert ApiClient(house.api, left["key"]).get("/v1/members").status_code == 200
    owner.change("DELETE", f"/v1/members/{member_of(maker)}")
    assert code_of(ApiClient(house.api, left["key"]).get("/v1/members")) == "not_a_member"


def test_no_key_ends_the_organization_or_makes_keys(owner: ApiClient) -> None:
    for scope in ("org.delete", "org.transfer", "api_keys.manage"):
        assert code_of(owner.post("/v1/api-keys", {"name": "X", "scopes": [scope]})) == "permission_not_held"


def test_of_two_owners_who_leave_at_once_one_stays(house: HouseForTests) -> None:
    first = Person.sign_up(house, "one").found_organization("Two owners")
    second = newcomer(house, first, "owner")
    replies = at_once(lambda: first.post("/v1/me/leave"), lambda: second.post("/v1/me/leave"))
    assert sorted(reply.status_code for reply in replies) == [204, 409]
    stayed = first if replies[0].status_code == 409 else second
    members = stayed.get("/v1/members").json()["items"]
    assert [member["role"] for member in members] == ["owner"]
