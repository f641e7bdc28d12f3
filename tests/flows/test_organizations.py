"""Organizations through the real parts: changed, handed over, deleted, and the trail of what was done in them."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from typing import Any

import requests

from tests.support.house import HouseForTests
from tests.support.members import code_of, join, member_of, newcomer
from tests.support.people import Person

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
