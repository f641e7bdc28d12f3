from __future__ import annotations

from shared.audit.models import Actor, AuditEvent
from shared.composition import Services
from shared.identity.access import Access
from shared.identity.caller import Caller
from shared.identity.models import ApiKey
from shared.identity.permissions import ROLE_PERMISSIONS, Permission, Role
from shared.organizations.models import Invitation, Member, Organization, Roster
from shared.platform.ids import ApiKeyId, InvitationId
from tests.support.clocks import SetClock
from tests.support.seeding import Owner, seed_owner

MONTH = 30 * 24 * 3600.0


def caller(owner: Owner) -> Caller:
    return Caller(Actor(kind="user", id=owner.user), owner.user, Access("owner", ROLE_PERMISSIONS[Role.OWNER]))


async def furnish(services: Services, owner: Owner) -> None:
    """An invitation and an API key."""
    by = caller(owner)
    new = InvitationId(services.ids.new("inv"))
    await services.invitations.invite(owner.org, new, email="x@example.com", role="viewer", by=by)
    scopes = frozenset({Permission.ORG_READ})
    await services.identity.api_keys.make(
        owner.org, ApiKeyId(services.ids.new("key")), name="K", scopes=scopes, expires_at=None, networks=(), by=by
    )


async def left(services: Services, owner: Owner) -> int:
    """What is in the partition beside the trail."""
    rows = await services.store.select(
        owner.org, Organization, "SELECT VALUE COUNT(1) FROM c WHERE c.type <> 'audit_event'"
    )
    return int(rows[0])


async def test_after_the_grace_nothing_is_left_and_others_are_untouched(
    services: Services, owner: Owner, clock: SetClock
) -> None:
    other = await seed_owner(services)
    for each in (owner, other):
        await furnish(services, each)
    untouched = await left(services, other)
    await services.organizations.delete(owner.org, etag="*", by=caller(owner))
    clock.advance(MONTH - 1)
    assert not await services.erasure.erase(owner.org)
    clock.advance(1)
    assert await services.erasure.erase(owner.org)
    assert await left(services, owner) == 0
    assert (await services.users.get(owner.user)).memberships == ()
    assert await services.erasure.erase(owner.org)  # once more, as after a crash
    assert await left(services, other) == untouched
    assert len((await services.users.get(other.user)).memberships) == 1


async def test_a_restored_organization_is_not_erased(services: Services, owner: Owner, clock: SetClock) -> None:
    await services.organizations.delete(owner.org, etag="*", by=caller(owner))
    await services.organizations.restore(owner.org, by=caller(owner))
    clock.advance(2 * MONTH)
    assert not await services.erasure.erase(owner.org)
    assert (await services.organizations.get(owner.org)).deleted_at is None


async def test_what_a_crash_left_half_erased_is_erased_by_the_next_attempt(
    services: Services, owner: Owner, clock: SetClock
) -> None:
    await furnish(services, owner)
    await services.organizations.delete(owner.org, etag="*", by=caller(owner))
    clock.advance(MONTH)
    await services.store.delete(owner.org, Roster, "roster")  # the first attempt came this far
    assert await services.erasure.erase(owner.org)
    for model in (Organization, Roster, Member, Invitation, ApiKey):
        assert await services.store.count(owner.org, model) == 0


async def test_the_trail_outlives_the_organization(services: Services, owner: Owner, clock: SetClock) -> None:
    await services.organizations.delete(owner.org, etag="*", by=caller(owner))
    clock.advance(MONTH)
    await services.erasure.erase(owner.org)
    kept = await services.store.page(owner.org, AuditEvent)
    assert {event.entry.action for event in kept.items} == {"organization.created", "organization.deleted"}
