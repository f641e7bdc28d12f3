from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.identity.access import Access, Effect, Grant, Resource, ResourceKind, role_permissions
from shared.identity.permissions import ROLE_PERMISSIONS, Permission, Role
from shared.platform.results import Denied, Ok

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SOON, PAST = NOW + timedelta(hours=1), NOW - timedelta(seconds=1)
START = Permission.SERVERS_START
A = Resource(kind=ResourceKind.SERVER, id="srv_01ARZ3NDEKTSV4RRFFQ69G5FAA")
B = Resource(kind=ResourceKind.SERVER, id="srv_01ARZ3NDEKTSV4RRFFQ69G5FBB")


def grant(
    effect: Effect, resource: Resource | None = None, until: datetime | None = None, what: Permission = START
) -> Grant:
    return Grant(
        id="grt_1",
        effect=effect,
        permission=what,
        resource=resource,
        expires_at=until,
        granted_by="usr_1",
        created_at=NOW,
    )


ALLOW, DENY = Effect.ALLOW, Effect.DENY
NONE: frozenset[Permission] = frozenset()
HAS = frozenset({START})

DECISIONS = {
    # name: (role's permissions, grants, scopes, asked about, expected code or None)
    "role gives it": (HAS, [], None, None, None),
    "role gives it on a resource": (HAS, [], None, A, None),
    "role lacks it": (NONE, [], None, None, "permission_missing"),
    "grant gives it": (NONE, [grant(ALLOW)], None, None, None),
    "grant for all covers one": (NONE, [grant(ALLOW)], None, A, None),
    "grant for one covers it": (NONE, [grant(ALLOW, A)], None, A, None),
    "grant for one is not for another": (NONE, [grant(ALLOW, A)], None, B, "permission_missing"),
    "grant for one is not for all": (NONE, [grant(ALLOW, A)], None, None, "permission_missing"),
    "grant in its time": (NONE, [grant(ALLOW, until=SOON)], None, None, None),
    "grant past its time": (NONE, [grant(ALLOW, until=PAST)], None, None, "permission_missing"),
    "grant at its very end": (NONE, [grant(ALLOW, until=NOW)], None, None, "permission_missing"),
    "grant of another permission": (
        NONE,
        [grant(ALLOW, what=Permission.SERVERS_STOP)],
        None,
        None,
        "permission_missing",
    ),
    "deny beats role": (HAS, [grant(DENY)], None, None, "denied_by_grant"),
    "deny beats grant": (NONE, [grant(ALLOW), grant(DENY)], None, None, "denied_by_grant"),
    "deny of all beats grant of one": (NONE, [grant(ALLOW, A), grant(DENY)], None, A, "denied_by_grant"),
    "deny of one beats role there": (HAS, [grant(DENY, A)], None, A, "denied_by_grant"),
    "deny of one leaves another": (HAS, [grant(DENY, A)], None, B, None),
    "deny of one leaves the whole": (HAS, [grant(DENY, A)], None, None, None),
    "deny past its time": (HAS, [grant(DENY, until=PAST)], None, None, None),
    "scope and role": (HAS, [], HAS, None, None),
    "scope without role": (NONE, [], HAS, None, "permission_missing"),
    "role without scope": (HAS, [], NONE, None, "outside_scopes"),
    "scope does not beat a deny": (HAS, [grant(DENY)], HAS, None, "denied_by_grant"),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_decision(name: str) -> None:
    base, grants, scopes, resource, expected = DECISIONS[name]
    decided = Access("custom", base, tuple(grants), scopes).decide(START, resource, NOW)
    assert (decided.code if isinstance(decided, Denied) else None) == expected
    if isinstance(decided, Denied):
        assert START.value in decided.reason


PASSING_ON = {
    # name: (role's permissions, own grants, resource, until, expected code or None)
    "held by role": (HAS, [], None, None, None),
    "not held": (NONE, [], None, None, "permission_missing"),
    "held for one, given for it": (NONE, [grant(ALLOW, A)], A, None, None),
    "held for one, given for all": (NONE, [grant(ALLOW, A)], None, None, "permission_missing"),
    "held for one, given for another": (NONE, [grant(ALLOW, A)], B, None, "permission_missing"),
    "held for an hour, given for it": (NONE, [grant(ALLOW, until=SOON)], None, SOON, None),
    "held for an hour, given for good": (NONE, [grant(ALLOW, until=SOON)], None, None, "outlives_own_grant"),
    "held for an hour and for good": (NONE, [grant(ALLOW, until=SOON), grant(ALLOW)], None, None, None),
    "denied for one, given for all": (HAS, [grant(DENY, A)], None, None, "denied_by_grant"),
    "denied for one, given for another": (HAS, [grant(DENY, A)], B, None, None),
}


@pytest.mark.parametrize("name", PASSING_ON)
def test_nobody_gives_what_they_lack(name: str) -> None:
    base, grants, resource, until, expected = PASSING_ON[name]
    decided = Access("custom", base, tuple(grants)).may_pass_on(START, resource, until, NOW)
    assert (decided.code if isinstance(decided, Denied) else None) == expected


def test_a_role_is_given_only_by_who_holds_all_of_it() -> None:
    admin = Access("admin", ROLE_PERMISSIONS[Role.ADMIN])
    assert isinstance(admin.may_pass_on_all(ROLE_PERMISSIONS[Role.OPERATOR], NOW), Ok)
    refused = admin.may_pass_on_all(ROLE_PERMISSIONS[Role.OWNER], NOW)
    assert isinstance(refused, Denied)
    assert "billing.manage, org.delete, org.transfer" in refused.reason


REACHES = {
    # name: (role's permissions, grants, scopes, reaches A, reaches B)
    "role": (HAS, [], None, True, True),
    "nothing": (NONE, [], None, False, False),
    "grant for one": (NONE, [grant(ALLOW, A)], None, True, False),
    "deny for one": (HAS, [grant(DENY, A)], None, False, True),
    "grant and deny for one": (NONE, [grant(ALLOW, A), grant(DENY, A)], None, False, False),
    "deny for all": (HAS, [grant(DENY)], None, False, False),
    "outside the scopes": (HAS, [], NONE, False, False),
    "grant past its time": (NONE, [grant(ALLOW, A, PAST)], None, False, False),
}


@pytest.mark.parametrize("name", REACHES)
def test_reach_says_of_each_thing_what_decide_says(name: str) -> None:
    base, grants, scopes, a, b = REACHES[name]
    access = Access("custom", base, tuple(grants), scopes)
    reach = access.reach(START, ResourceKind.SERVER, NOW)
    assert (reach.includes(A.id), reach.includes(B.id)) == (a, b)
    assert (reach.includes(A.id), reach.includes(B.id)) == tuple(
        isinstance(access.decide(START, resource, NOW), Ok) for resource in (A, B)
    )


def test_a_role_that_is_gone_permits_nothing() -> None:
    assert role_permissions("rol_01ARZ3NDEKTSV4RRFFQ69G5FAV", {}) == frozenset()
