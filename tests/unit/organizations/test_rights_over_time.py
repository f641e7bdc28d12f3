"""How long a right that was taken away still counts, and what happens when the store does not answer."""

from __future__ import annotations

import pytest

from shared.audit.models import Actor
from shared.composition import Services
from shared.identity.access import Access, Effect
from shared.identity.caller import Caller
from shared.identity.errors import NotAMember
from shared.identity.permissions import ROLE_PERMISSIONS, Permission, Role
from shared.organizations.models import Member, member_id
from shared.platform.ids import GrantId, OrgId, UserId
from shared.platform.results import Denied, Ok
from shared.platform.settings import load_settings
from shared.store.errors import StoreBusy
from tests.support.clocks import SetClock
from tests.support.cosmos import CosmosPart
from tests.support.seeding import Owner, seed_owner

BOSS = Access("owner", ROLE_PERMISSIONS[Role.OWNER])


async def joined(services: Services, org: OrgId, role: str) -> UserId:
    """A member, as an accepted invitation leaves one."""
    from shared.organizations import rules
    from shared.organizations.models import ROSTER_ID, Roster

    user = UserId(services.ids.new("usr"))
    roster = await services.store.get(org, Roster, ROSTER_ID)
    member = Member(id=member_id(user), org_id=org, user_id=user, role=role, joined_at=services.clock.now())
    await services.store.batch(org).create(member).replace(rules.with_member(roster, user, role)).commit()
    return user


@pytest.fixture
def by(owner: Owner) -> Caller:
    return Caller(Actor(kind="user", id=owner.user), owner.user, BOSS)


async def test_another_instance_follows_within_thirty_seconds(
    services: Services, owner: Owner, by: Caller, database: dict[str, str], clock: SetClock
) -> None:
    user = await joined(services, owner.org, "operator")
    elsewhere = Services(load_settings(database), clock=clock)
    try:
        assert (await elsewhere.memberships.access(owner.org, user)).role == "operator"
        await services.members.change_role(owner.org, member_id(user), "viewer", etag="*", by=by)
        assert (await services.memberships.access(owner.org, user)).role == "viewer"
        assert (await elsewhere.memberships.access(owner.org, user)).role == "operator"
        clock.advance(30)
        assert (await elsewhere.memberships.access(owner.org, user)).role == "viewer"
    finally:
        await elsewhere.close()


async def test_a_grant_ends_by_itself(services: Services, owner: Owner, by: Caller, clock: SetClock) -> None:
    from datetime import timedelta

    user = await joined(services, owner.org, "viewer")
    until = clock.now() + timedelta(minutes=5)
    terms = {"effect": Effect.ALLOW, "permission": Permission.AUDIT_READ, "resource": None, "expires_at": until}
    await services.members.grant(owner.org, member_id(user), GrantId("grt_1"), **terms, by=by)
    access = await services.memberships.access(owner.org, user)
    assert isinstance(access.decide(Permission.AUDIT_READ, None, clock.now()), Ok)
    clock.advance(300)
    access = await services.memberships.access(owner.org, user)
    assert isinstance(access.decide(Permission.AUDIT_READ, None, clock.now()), Denied)


async def test_who_was_never_a_member_has_no_rights(services: Services, owner: Owner) -> None:
    stranger = await seed_owner(services)
    with pytest.raises(NotAMember):
        await services.memberships.access(owner.org, stranger.user)


async def test_while_the_store_refuses_only_remembered_rights_count(
    services: Services, owner: Owner, cosmos: CosmosPart, clock: SetClock
) -> None:
    await services.memberships.access(owner.org, owner.user)
    # Two documents make up a member's rights; the SDK asks for each ten times before it gives up.
    cosmos.fault(status=429, n=20, ms=1, kind="docs", method="GET")
    assert (await services.memberships.access(owner.org, owner.user)).role == "owner"
    clock.advance(30)
    refusals = 0
    while True:  # until the ordered faults are used up
        try:
            assert (await services.memberships.access(owner.org, owner.user)).role == "owner"
            break
        except StoreBusy:
            refusals += 1
    assert refusals >= 1


async def test_the_store_decides_between_two_who_burn_one_token(services: Services) -> None:
    import asyncio

    burnt = await asyncio.gather(*(services.directory.burn("jti", "site", "token", ttl=60) for _ in range(20)))
    assert burnt.count(True) == 1
