"""Invitations through the real parts: who may give them, to whom, and what is left when things change."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from tests.support.house import HouseForTests
from tests.support.members import at_once, code_of, member_of, newcomer
from tests.support.people import ApiClient, Person


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
    invitation = f"/v1/invitations/{made['id']}"
    assert code_of(owner.call("DELETE", invitation)) == "if_match_required"
    assert code_of(owner.change("DELETE", invitation, etag='"old"')) == "precondition_failed"
    assert owner.change("DELETE", invitation).status_code == 204
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
