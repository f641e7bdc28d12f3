"""People are who their site says they are, by (issuer, subject) and by nothing else."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from shared.composition import Services
from shared.identity.assertions import Assertion
from shared.identity.errors import TooManyOrganizations
from shared.identity.models import MAX_ORGANIZATIONS, IdentityLink, User
from shared.platform.ids import OrgId, UserId
from shared.store.unscoped import directory_id
from tests.support.clocks import SetClock


def says(clock: SetClock, issuer: str, subject: str, **more: object) -> Assertion:
    fields: dict[str, object] = {
        "issuer": issuer, "subject": subject, "token_id": "t", "session": "s", "client": "panel",
        "expires_at": clock.now() + timedelta(minutes=1), "authenticated_at": clock.now(), "session_ends_at": None,
        "email": "ann@example.com", "email_verified": True, "name": "Ann", **more,
    }  # fmt: skip
    return Assertion(**fields)  # type: ignore[arg-type]


async def test_two_sites_with_one_subject_and_one_address_are_two_people(services: Services, clock: SetClock) -> None:
    one = await services.users.signed_in(says(clock, "https://panel.example", "u1"))
    other = await services.users.signed_in(says(clock, "https://cart.example", "u1"))
    assert one.id != other.id
    again = await services.users.signed_in(says(clock, "https://panel.example", "u1", email="new@example.com"))
    assert (again.id, again.email) == (one.id, "new@example.com")


async def test_first_sign_ins_at_once_make_one_user(services: Services, clock: SetClock) -> None:
    found = await asyncio.gather(
        *(services.users.signed_in(says(clock, "https://panel.example", "u2")) for _ in range(10))
    )
    assert len({user.id for user in found}) == 1


async def test_a_crash_between_link_and_user_is_made_good_by_the_next_sign_in(
    services: Services, clock: SetClock
) -> None:
    user = UserId(services.ids.new("usr"))
    link = directory_id("identity", "https://panel.example", "u3")
    await services.directory.create(IdentityLink(id=link, user_id=user))
    assert (await services.users.signed_in(says(clock, "https://panel.example", "u3"))).id == user


async def test_a_second_sign_in_of_the_day_writes_nothing(services: Services, clock: SetClock) -> None:
    first = await services.users.signed_in(says(clock, "https://panel.example", "u4"))
    second = await services.users.signed_in(says(clock, "https://panel.example", "u4"))
    assert second.etag == first.etag
    clock.advance(24 * 3600)
    third = await services.users.signed_in(says(clock, "https://panel.example", "u4"))
    assert third.etag != first.etag


async def test_an_address_that_is_not_verified_any_more_finds_no_invitations(
    services: Services, clock: SetClock
) -> None:
    user = await services.users.signed_in(says(clock, "https://panel.example", "u5"))
    assert user.verified_email == "ann@example.com"
    user = await services.users.signed_in(says(clock, "https://panel.example", "u5", email_verified=False))
    assert user.verified_email is None
    assert await services.invitations.offers(user) == []


async def test_a_person_belongs_to_so_many_organizations_and_no_more(services: Services, clock: SetClock) -> None:
    user = (await services.users.signed_in(says(clock, "https://panel.example", "u6"))).user_id
    for number in range(MAX_ORGANIZATIONS):
        await services.users.remember_membership(user, OrgId(f"org_{number}"))
    await services.users.remember_membership(user, OrgId("org_0"))  # known: nothing is added
    with pytest.raises(TooManyOrganizations, match=str(MAX_ORGANIZATIONS)):
        await services.users.remember_membership(user, OrgId("org_more"))
    await services.users.forget_membership(user, OrgId("org_0"))
    await services.users.remember_membership(user, OrgId("org_more"))


async def test_a_deleted_person_is_forgotten_and_stays_deleted(services: Services, clock: SetClock) -> None:
    user = await services.users.signed_in(says(clock, "https://panel.example", "u7"))
    await services.users.delete(user.user_id)
    again = await services.users.signed_in(says(clock, "https://panel.example", "u7"))
    assert again.id == user.id
    assert again.deleted_at is not None
    stored = await services.directory.get(User, user.id)
    assert (stored.email, stored.name, stored.memberships) == (None, None, ())
