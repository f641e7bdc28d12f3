from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.identity.access import Access, Effect, Grant, Resource, ResourceKind
from shared.identity.errors import CannotPassOn
from shared.identity.permissions import ROLE_PERMISSIONS, Permission, Role
from shared.organizations import rules
from shared.organizations.errors import (
    InvitationExists,
    LastOwner,
    MemberLimit,
    NotOverThem,
    RoleInUse,
    RoleNameTaken,
    TooManyRoles,
)
from shared.organizations.models import MAX_ROLES, ROSTER_ID, Pending, Roster
from shared.platform.ids import InvitationId, OrgId, RoleId, UserId

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ANN, BEN, CAY = UserId("usr_ann"), UserId("usr_ben"), UserId("usr_cay")
I1, I2 = InvitationId("inv_1"), InvitationId("inv_2")
ROLE = RoleId("rol_1")


def roster(*owners: UserId, **more: object) -> Roster:
    counts = {"owner": len(owners)} if owners else {}
    fields: dict[str, object] = {"owners": owners, "members": len(owners), "by_role": counts, **more}
    return Roster.model_validate({"id": ROSTER_ID, "org_id": OrgId("org_1"), **fields})


def pending(invitation: InvitationId, expires_at: datetime) -> Pending:
    return Pending(id=invitation, expires_at=expires_at)


def test_a_joining_and_a_leaving_cancel_out() -> None:
    before = roster(ANN)
    after = rules.without_member(rules.with_member(before, BEN, "viewer"), BEN, "viewer")
    assert after == before


def test_the_last_owner_can_neither_go_nor_step_down() -> None:
    sole = roster(ANN)
    with pytest.raises(LastOwner):
        rules.without_member(sole, ANN, "owner")
    with pytest.raises(LastOwner):
        rules.with_role_changed(sole, ANN, "owner", "admin")
    two = rules.with_member(sole, BEN, "owner")
    assert rules.without_member(two, ANN, "owner").owners == (BEN,)
    assert rules.with_role_changed(two, ANN, "owner", "admin").owners == (BEN,)


TRANSFERS = {
    "to a viewer": ("viewer", {"owner": 1, "admin": 1}),
    "to an admin": ("admin", {"owner": 1, "admin": 1}),
    "to another owner": ("owner", {"owner": 1, "admin": 1}),
}


@pytest.mark.parametrize("name", TRANSFERS)
def test_ownership_moves(name: str) -> None:
    role, counts = TRANSFERS[name]
    moved = rules.with_ownership_moved(rules.with_member(roster(ANN), BEN, role), ANN, BEN, role)
    assert (moved.owners, moved.members, moved.by_role) == ((BEN,), 2, counts)


LIMITS = {
    # name: (members, open invitations, expired ones, limit, refused)
    "room": (3, 1, 0, 5, False),
    "full of members": (5, 0, 0, 5, True),
    "full with invitations": (3, 2, 0, 5, True),
    "expired ones do not count": (3, 1, 5, 5, False),
    "over a limit that was lowered": (9, 0, 0, 5, True),
}


@pytest.mark.parametrize("name", LIMITS)
def test_open_invitations_count_against_the_limit(name: str) -> None:
    members, still_open, expired, limit, refused = LIMITS[name]
    entries = {f"o{n}": pending(InvitationId(f"inv_o{n}"), NOW + timedelta(days=1)) for n in range(still_open)}
    entries |= {f"e{n}": pending(InvitationId(f"inv_e{n}"), NOW) for n in range(expired)}
    before = roster(ANN, members=members, pending=entries)
    if refused:
        with pytest.raises(MemberLimit, match=f"{limit} are allowed"):
            rules.with_invitation(before, "key", I1, limit, NOW)
        return
    after = rules.with_invitation(before, "key", I1, limit, NOW)
    assert set(after.pending) == {*(key for key in entries if key.startswith("o")), "key"}
    assert after.pending["key"].expires_at == NOW + timedelta(days=7)


def test_an_address_has_one_open_invitation() -> None:
    once = rules.with_invitation(roster(ANN), "key", I1, 9, NOW)
    with pytest.raises(InvitationExists, match="inv_1"):
        rules.with_invitation(once, "key", I2, 9, NOW)
    later = rules.with_invitation(once, "key", I2, 9, NOW + timedelta(days=7))
    assert later.pending["key"].id == I2
    assert rules.without_invitation(later, "key", I1) is later  # the older one's end does not end the newer
    assert rules.without_invitation(later, "key", I2).pending == {}


def test_roles_have_names_of_their_own() -> None:
    one = rules.with_role(roster(ANN), ROLE, "Builder")
    assert rules.with_role(one, ROLE, "builder").roles == {ROLE: "builder"}
    for taken in ("BUILDER", "Owner", "viewer"):
        with pytest.raises(RoleNameTaken):
            rules.with_role(one, RoleId("rol_2"), taken)
    full = roster(ANN, roles={f"rol_{n}": f"r{n}" for n in range(MAX_ROLES)})
    with pytest.raises(TooManyRoles):
        rules.with_role(full, RoleId("rol_new"), "One more")
    assert rules.with_role(full, RoleId("rol_0"), "Renamed").roles["rol_0"] == "Renamed"


def test_a_role_in_use_stays() -> None:
    used = rules.with_member(rules.with_role(roster(ANN), ROLE, "Builder"), BEN, ROLE)
    with pytest.raises(RoleInUse, match="1 members"):
        rules.without_role(used, ROLE)
    unused = rules.with_role_changed(used, BEN, ROLE, "viewer")
    assert rules.without_role(unused, ROLE).roles == {}


def access(role: Role) -> Access:
    return Access(role.value, ROLE_PERMISSIONS[role])


OVER = {
    # name: (actor, target, allowed)
    "owner over owner": (Role.OWNER, Role.OWNER, True),
    "owner over admin": (Role.OWNER, Role.ADMIN, True),
    "admin over admin": (Role.ADMIN, Role.ADMIN, True),
    "admin over operator": (Role.ADMIN, Role.OPERATOR, True),
    "admin over owner": (Role.ADMIN, Role.OWNER, False),
    "admin over billing": (Role.ADMIN, Role.BILLING, False),
    "operator over viewer": (Role.OPERATOR, Role.VIEWER, True),
    "viewer over operator": (Role.VIEWER, Role.OPERATOR, False),
}


@pytest.mark.parametrize("name", OVER)
def test_nobody_changes_one_who_holds_more(name: str) -> None:
    actor, target, allowed = OVER[name]
    if allowed:
        rules.check_may_change(access(actor), ANN, access(target), BEN, NOW)
        return
    with pytest.raises(NotOverThem):
        rules.check_may_change(access(actor), ANN, access(target), BEN, NOW)


SERVER = Resource(kind=ResourceKind.SERVER, id="srv_01ARZ3NDEKTSV4RRFFQ69G5FAV")
GRANTED = {
    # name: (permission, effect, thing, ends after, whether an admin is over a viewer with it)
    "what the admin holds": (Permission.AUDIT_READ, Effect.ALLOW, None, None, True),
    "what the admin holds, for one thing": (Permission.SERVERS_START, Effect.ALLOW, SERVER, None, True),
    "what the admin lacks": (Permission.BILLING_MANAGE, Effect.ALLOW, None, None, False),
    "what the admin lacks, for a while yet": (Permission.ORG_DELETE, Effect.ALLOW, None, 1, False),
    "what the admin lacks, until a moment ago": (Permission.ORG_DELETE, Effect.ALLOW, None, -1, True),
    "a deny of what the admin lacks": (Permission.BILLING_MANAGE, Effect.DENY, None, None, True),
}


@pytest.mark.parametrize("name", GRANTED)
def test_what_a_member_was_granted_counts_as_what_they_hold(name: str) -> None:
    permission, effect, thing, minutes, allowed = GRANTED[name]
    ends = NOW + timedelta(minutes=minutes) if minutes else None
    grant = Grant(
        id="grt_1",
        effect=effect,
        permission=permission,
        resource=thing,
        expires_at=ends,
        granted_by=ANN,
        created_at=NOW,
    )
    target = Access("viewer", ROLE_PERMISSIONS[Role.VIEWER], (grant,))
    if allowed:
        rules.check_may_change(access(Role.ADMIN), ANN, target, BEN, NOW)
        return
    with pytest.raises(NotOverThem, match=permission.value):
        rules.check_may_change(access(Role.ADMIN), ANN, target, BEN, NOW)


def test_nobody_changes_their_own_rights() -> None:
    with pytest.raises(NotOverThem, match="their own"):
        rules.check_may_change(access(Role.OWNER), ANN, access(Role.OWNER), ANN, NOW)


def test_holding_a_custom_role_does_not_skip_the_check() -> None:
    greeter = Access("Greeter", frozenset({Permission.MEMBERS_INVITE, Permission.MEMBERS_READ}))
    for role in Role:
        with pytest.raises(CannotPassOn):
            rules.check_may_assign(greeter, ROLE_PERMISSIONS[role], NOW)
    rules.check_may_assign(greeter, frozenset({Permission.MEMBERS_READ}), NOW)


@pytest.mark.parametrize(
    ("one", "other"), [("Ann@Example.com", "ann@example.com"), (" ann@example.com ", "ann@example.com")]
)
def test_addresses_that_are_the_same(one: str, other: str) -> None:
    assert rules.normal_address(one) == rules.normal_address(other)
