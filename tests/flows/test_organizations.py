"""Organizations and who belongs to them, through the real parts; and what happens when several act at once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from tests.support.house import HouseForTests
from tests.support.people import ApiClient, Person


@pytest.fixture(scope="module")
def olga(house: HouseForTests) -> Person:
    """Owner of the organization that most tests use."""
    return Person.sign_up(house, "olga")


@pytest.fixture(scope="module")
def owner(olga: Person) -> ApiClient:
    return olga.found_organization("Olga's")


def join(person: Person, owner: ApiClient, role: str) -> ApiClient:
    """Invite a person, let them accept by the link, and give a client for the organization."""
    invited = owner.post("/v1/invitations", {"email": person.email, "role": role})
    assert invited.status_code == 201, invited.text
    bare = person.client()
    joined = bare.post("/v1/invitations/accept", {"token": invited.json()["token"]})
    assert joined.status_code == 200, joined.text
    return person.client(joined.json()["organization"])


def newcomer(house: HouseForTests, owner: ApiClient, role: str) -> ApiClient:
    return join(Person.sign_up(house, role), owner, role)


def member_of(client: ApiClient) -> str:
    return "mem_" + client.get("/v1/me").json()["id"].removeprefix("usr_")


def code_of(reply: requests.Response) -> str:
    return str(reply.json()["code"])


# --- the organization ------------------------------------------------------------------------------------------------


def test_an_organization_is_changed_by_its_version(house: HouseForTests, olga: Person) -> None:
    api = olga.found_organization("First name")
    read = api.get("/v1/organization")
    changed = api.change("PATCH", "/v1/organization", {"name": "Second name"}, etag=read.headers["ETag"])
    assert changed.json()["name"] == "Second name"
    late = api.change("PATCH", "/v1/organization", {"name": "Third"}, etag=read.headers["ETag"])
    assert late.status_code == 412
    without = api.call("PATCH", "/v1/organization", {"name": "Fourth"})
    assert without.status_code == 428
    unknown = api.change("PATCH", "/v1/organization", {"member_limit": 10_000})
    assert unknown.status_code == 400  # the limit is not the customer's to set


def test_a_repeated_founding_founds_one(olga: Person) -> None:
    bare = olga.client()
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    first = bare.post("/v1/organizations", {"name": "Once"}, headers=headers)
    again = bare.post("/v1/organizations", {"name": "Once"}, headers=headers)
    assert first.json() == again.json()
    other = bare.post("/v1/organizations", {"name": "Other"}, headers=headers)
    assert other.status_code == 422


def test_deletion_puts_out_of_use_and_can_be_taken_back(house: HouseForTests, olga: Person) -> None:
    api = olga.found_organization("Short-lived")
    viewer = newcomer(house, api, "viewer")
    deleted = api.change("DELETE", "/v1/organization")
    assert deleted.status_code == 200
    erased = datetime.fromisoformat(deleted.json()["erase_at"]) - datetime.fromisoformat(deleted.json()["deleted_at"])
    assert erased == timedelta(days=30)
    assert api.post("/v1/invitations", {"email": "x@example.com"}).status_code == 403
    assert viewer.get("/v1/members").status_code == 403
    assert api.change("DELETE", "/v1/organization").json()["erase_at"] == deleted.json()["erase_at"]
    assert api.post("/v1/organization/restore").json()["deleted_at"] is None
    assert viewer.get("/v1/members").status_code == 200
    assert code_of(api.post("/v1/organization/restore")) == "organization_not_deleted"


def test_ownership_is_handed_over(house: HouseForTests) -> None:
    old = Person.sign_up(house, "old").found_organization("Handed over")
    new = newcomer(house, old, "viewer")
    assert code_of(old.post("/v1/organization/transfer", {"member_id": member_of(old)})) == "conflict"
    assert old.post("/v1/organization/transfer", {"member_id": member_of(new)}).status_code == 200
    assert new.get("/v1/me/permissions").json()["role"] == "owner"
    assert old.get("/v1/me/permissions").json()["role"] == "admin"
    refused = old.post("/v1/organization/transfer", {"member_id": member_of(old)})
    assert code_of(refused) == "permission_missing"


# --- invitations -----------------------------------------------------------------------------------------------------


def test_a_person_without_an_account_is_invited_and_finds_it_at_the_first_sign_in(
    house: HouseForTests, owner: ApiClient
) -> None:
    email = f"late-{uuid.uuid4().hex[:8]}@example.com"
    invited = owner.post("/v1/invitations", {"email": email.upper(), "role": "operator"}).json()
    assert invited["email"] == email
    life = datetime.fromisoformat(invited["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < life <= timedelta(days=7)
    late = Person.sign_up(house, "late", email=email)
    first = late.client()
    assert first.get("/v1/me/invitations").json()["items"] == []  # the address is not verified yet
    late.verify_email()
    first = late.client()
    offers = first.get("/v1/me/invitations").json()["items"]
    assert [offer["role"] for offer in offers] == ["operator"]
    joined = first.post(f"/v1/me/invitations/{offers[0]['id']}/accept").json()
    assert joined["organization"] == owner.organization
    assert late.client().organization == owner.organization
    assert first.get("/v1/me/invitations").json()["items"] == []


def test_an_unverified_address_is_nobodys(house: HouseForTests, owner: ApiClient) -> None:
    email = f"taken-{uuid.uuid4().hex[:8]}@example.com"
    invited = owner.post("/v1/invitations", {"email": email, "role": "admin"}).json()
    thief = Person.sign_up(house, "thief", email=email).client()
    reply = thief.post(f"/v1/me/invitations/{invited['id']}/accept")
    assert code_of(reply) == "invitation_not_found"


def test_an_invitation_gives_what_its_maker_may_still_give(house: HouseForTests, owner: ApiClient) -> None:
    admin, demoted = newcomer(house, owner, "admin"), newcomer(house, owner, "admin")
    tokens = {}
    for name, inviter in (("removed", admin), ("demoted", demoted)):
        made = inviter.post("/v1/invitations", {"email": f"{uuid.uuid4().hex}@example.com", "role": "operator"})
        tokens[name] = made.json()["token"]
    role = owner.post("/v1/roles", {"name": uuid.uuid4().hex, "permissions": ["servers.read"]}).json()["id"]
    made = owner.post("/v1/invitations", {"email": f"{uuid.uuid4().hex}@example.com", "role": role})
    tokens["the role is gone"] = made.json()["token"]
    assert owner.change("DELETE", f"/v1/roles/{role}").status_code == 204
    owner.change("DELETE", f"/v1/members/{member_of(admin)}")
    assert owner.change("PATCH", f"/v1/members/{member_of(demoted)}", {"role": "viewer"}).status_code == 200
    for name, token in tokens.items():
        friend = Person.sign_up(house, name.split()[-1]).client()
        assert code_of(friend.post("/v1/invitations/accept", {"token": token})) == "invitation_closed"
        assert friend.get("/v1/me/organizations").json()["items"] == []


def test_invitations_are_listed_withdrawn_and_made_once_an_address(house: HouseForTests, owner: ApiClient) -> None:
    email = f"{uuid.uuid4().hex[:8]}@example.com"
    made = owner.post("/v1/invitations", {"email": email}).json()
    assert code_of(owner.post("/v1/invitations", {"email": email})) == "invitation_exists"
    listed = owner.get("/v1/invitations?state=pending&limit=100").json()["items"]
    assert made["id"] in {item["id"] for item in listed}
    assert "token" not in listed[0]
    assert owner.call("DELETE", f"/v1/invitations/{made['id']}").status_code == 204
    someone = Person.sign_up(house, "someone").client()
    assert code_of(someone.post("/v1/invitations/accept", {"token": made["token"]})) == "invitation_not_found"
    assert owner.post("/v1/invitations", {"email": email}).status_code == 201


def test_several_are_invited_with_a_result_each(owner: ApiClient) -> None:
    one, two = (f"{uuid.uuid4().hex[:8]}@example.com" for _ in range(2))
    owner.post("/v1/invitations", {"email": two})
    body = owner.post("/v1/invitations/bulk", {"emails": [one, two, one], "role": "viewer"}).json()
    assert (body["succeeded"], body["failed"]) == (1, 1)
    assert [(r["item"], r["ok"], r["code"]) for r in body["results"]] == [
        (one, True, None),
        (two, False, "invitation_exists"),
    ]


def test_a_member_is_not_invited_again(owner: ApiClient, olga: Person) -> None:
    assert code_of(owner.post("/v1/invitations", {"email": olga.email})) == "already_member"


# --- rights ----------------------------------------------------------------------------------------------------------


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


# --- API keys --------------------------------------------------------------------------------------------------------


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


# --- the audit trail -------------------------------------------------------------------------------------------------


def test_changes_and_refusals_are_in_the_trail(house: HouseForTests) -> None:
    api = Person.sign_up(house, "audited").found_organization("Audited")
    viewer = newcomer(house, api, "viewer")
    before = api.get("/v1/organization").json()["name"]
    changed = api.change("PATCH", "/v1/organization", {"name": "New name"})
    refused = viewer.post("/v1/roles", {"name": "R", "permissions": ["org.read"]})
    entries = api.get("/v1/audit?limit=100").json()["items"]
    by_action = {entry["action"]: entry for entry in reversed(entries)}
    assert {"organization.created", "invitation.created", "member.joined", "organization.changed"} <= by_action.keys()
    change = by_action["organization.changed"]
    assert (change["before"], change["after"]) == ({"name": before}, {"name": "New name"})
    assert change["actor"]["request_id"] == changed.headers["X-Request-Id"]
    assert change["actor"]["address"] == "127.0.0.1"
    refusal = by_action["access.refused"]
    assert refusal["outcome"] == "refused"
    assert refusal["actor"]["request_id"] == refused.headers["X-Request-Id"]
    assert "roles.manage" in refusal["reason"]


def test_the_trail_is_filtered_paged_and_exported(house: HouseForTests) -> None:
    api = Person.sign_up(house, "exporter").found_organization("Exported")
    for number in range(5):
        api.change("PATCH", "/v1/organization", {"name": f"Name {number}"})
    changes = api.get("/v1/audit?action=organization.changed").json()["items"]
    assert [entry["after"]["name"] for entry in changes] == [f"Name {n}" for n in (4, 3, 2, 1, 0)]
    assert len(api.get("/v1/audit?action=organization.*").json()["items"]) == 6
    assert api.get("/v1/audit?outcome=refused").json()["items"] == []
    pages: list[dict[str, Any]] = []
    path = "/v1/audit?limit=2"
    while path:
        reply = api.get(path)
        assert reply.status_code == 200, f"{path} {reply.text}"
        page = reply.json()
        assert len(page["items"]) <= 2
        pages += page["items"]
        path = page["next"]
    assert [entry["id"] for entry in pages] == [entry["id"] for entry in api.get("/v1/audit").json()["items"]]
    assert len(pages) == 6
    exported = api.get("/v1/audit/export?limit=100")
    assert exported.headers["Content-Type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert [line["id"] for line in lines] == [entry["id"] for entry in pages]
    middle = changes[2]["at"]
    later = api.get("/v1/audit", params={"since": middle}).json()["items"]
    assert all(entry["at"] >= middle for entry in later)
    assert len(later) == 3
    for path in ("/v1/audit", "/v1/audit/export"):
        assert api.get(path, params={"since": "0126-03-24T00:43:31+17:10"}).text == api.get(path).text
        refused = api.get(path, params={"since": "0001-01-01T00:00:00+14:00"})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
    other = Person.sign_up(house, "outsider").found_organization("Other")
    assert other.get("/v1/audit?action=organization.changed").json()["items"] == []


# --- races -----------------------------------------------------------------------------------------------------------


def at_once(*acts: Callable[[], requests.Response]) -> list[requests.Response]:
    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result() for future in [pool.submit(act) for act in acts]]


def test_of_two_owners_who_leave_at_once_one_stays(house: HouseForTests) -> None:
    first = Person.sign_up(house, "one").found_organization("Two owners")
    second = newcomer(house, first, "owner")
    replies = at_once(lambda: first.post("/v1/me/leave"), lambda: second.post("/v1/me/leave"))
    assert sorted(reply.status_code for reply in replies) == [204, 409]
    stayed = first if replies[0].status_code == 409 else second
    members = stayed.get("/v1/members").json()["items"]
    assert [member["role"] for member in members] == ["owner"]


def test_of_two_who_accept_one_invitation_one_joins(house: HouseForTests, owner: ApiClient) -> None:
    made = owner.post("/v1/invitations", {"email": f"{uuid.uuid4().hex}@example.com"}).json()
    clients = [Person.sign_up(house, f"racer{n}").client() for n in range(2)]
    body = {"token": made["token"]}
    replies = at_once(*(lambda c=client: c.post("/v1/invitations/accept", body) for client in clients))
    assert sorted(reply.status_code for reply in replies)[0] == 200
    assert {reply.status_code for reply in replies} <= {200, 404, 410}
    assert sum(reply.status_code == 200 for reply in replies) == 1


def test_parallel_invitations_do_not_pass_the_limit(house: HouseForTests) -> None:
    api = Person.sign_up(house, "crowd").found_organization("Crowded")
    limit = api.get("/v1/organization").json()["member_limit"]
    emails = [f"{uuid.uuid4().hex}@example.com" for _ in range(limit + 10)]
    body = api.post("/v1/invitations/bulk", {"emails": emails[: limit - 5]}).json()
    assert body["succeeded"] == limit - 5
    acts = [lambda e=email: api.post("/v1/invitations", {"email": e}) for email in emails[limit - 5 :]]
    replies = at_once(*acts)
    made = [reply for reply in replies if reply.status_code == 201]
    assert len(made) == 4  # the owner is the fifth
    assert {code_of(r) for r in replies if r.status_code != 201} == {"member_limit_reached"}


# --- the end ---------------------------------------------------------------------------------------------------------


def test_an_account_is_deleted_when_nobody_is_left_without_an_owner(house: HouseForTests) -> None:
    person = Person.sign_up(house, "leaving")
    owned = person.found_organization("Owned alone")
    other = Person.sign_up(house, "host").found_organization("Visited")
    visited = join(person, other, "operator")
    assert code_of(visited.call("DELETE", "/v1/me")) == "last_owner"
    assert visited.get("/v1/organization").status_code == 200  # nothing was left half-way
    newcomer(house, owned, "owner")
    assert visited.call("DELETE", "/v1/me").status_code == 204
    assert code_of(visited.get("/v1/me")) == "session_ended"
    assert other.get("/v1/members?role=operator").json()["items"] == []
    again = person.sign_in().exchange()
    assert again.status_code == 400
    assert "deleted" in again.json()["error_description"]


def test_a_deletion_starts_one_flow_that_waits_out_the_grace(house: HouseForTests) -> None:
    api = Person.sign_up(house, "ender").found_organization("Ending")
    deleted = api.change("DELETE", "/v1/organization").json()
    assert api.change("DELETE", "/v1/organization").status_code == 200  # again: the same flow
    second = int(datetime.fromisoformat(deleted["deleted_at"]).timestamp())
    key = json.loads((house.folder / "host" / "keys.json").read_text())
    flow = f"erase-{api.organization}-{second}"
    url = f"{house.api}/runtime/webhooks/durabletask/instances/{flow}"
    reply = requests.get(url, params={"code": key["master"]}, timeout=30)
    assert reply.status_code == 202, reply.text  # it is under way
    found = reply.json()
    assert found["name"] == "erase_organization"
    assert found["runtimeStatus"] in ("Pending", "Running")
    given = found["input"] if isinstance(found["input"], dict) else json.loads(found["input"])
    assert given["erase_at"] == deleted["erase_at"]
