from __future__ import annotations

import json
from datetime import timedelta

import pytest

from shared.audit.models import SYSTEM, Target
from shared.composition import Services
from shared.organizations.models import Organization
from shared.store.charge import measured
from shared.store.errors import BadCursor
from shared.store.query import Where
from tests.support.clocks import SetClock
from tests.support.seeding import Owner

DAY = 24 * 3600.0
TARGET = Target(kind="thing", id="thing-1")


async def actions(services: Services, owner: Owner, **options: object) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await services.audit.page(owner.org, cursor=cursor, **options)  # type: ignore[arg-type]
        found += [event.entry.action for event in page.items]
        cursor = page.cursor
        if cursor is None:
            return found


async def test_a_change_and_its_entry_are_one_write(services: Services, owner: Owner, clock: SetClock) -> None:
    organization = await services.organizations.get(owner.org)
    clock.advance(1)
    told = services.audit.entry(
        owner.org, SYSTEM, "thing.changed", TARGET, before={"a": 1, "b": 2}, after={"a": 3, "b": 2}
    )
    await services.store.batch(owner.org).replace(organization.having(name="New")).create(told).commit()
    # The process died here: nothing is left to be done.
    assert await actions(services, owner) == ["thing.changed", "organization.created"]


async def test_a_change_that_fails_leaves_no_entry(services: Services, owner: Owner) -> None:
    organization = await services.organizations.get(owner.org)
    stale = organization.model_copy(update={"etag": '"stale"'})
    told = services.audit.entry(owner.org, SYSTEM, "thing.changed", TARGET)
    with pytest.raises(Exception, match="changed"):
        await services.store.batch(owner.org).replace(stale).create(told).commit()
    assert await actions(services, owner) == ["organization.created"]


async def test_what_changed_is_told_and_nothing_else(services: Services, owner: Owner, clock: SetClock) -> None:
    clock.advance(1)
    await services.audit.record(
        owner.org, SYSTEM, "thing.changed", TARGET, before={"a": 1, "b": 2}, after={"a": 1, "b": 3, "c": 4}
    )
    entry = (await services.audit.page(owner.org)).items[0].entry
    assert (entry.before, entry.after) == ({"b": 2}, {"b": 3, "c": 4})


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_run_through_the_months_without_gap_or_repeat(
    services: Services, owner: Owner, clock: SetClock, limit: int
) -> None:
    expected = ["organization.created"]
    for months, count in ((1, 3), (1, 0), (1, 2), (2, 1)):
        clock.advance(months * 31 * DAY)
        for number in range(count):
            name = f"thing.made_{'abcdefghij'[len(expected)]}"
            await services.audit.record(owner.org, SYSTEM, name, TARGET)
            expected.append(name)
            clock.advance(60 + number)
    assert await actions(services, owner, limit=limit) == expected[::-1]


async def test_times_and_conditions_narrow(services: Services, owner: Owner, clock: SetClock) -> None:
    start = clock.now()
    for name in ("thing.one", "thing.two", "other.three"):
        clock.advance(10 * DAY)
        await services.audit.record(owner.org, SYSTEM, name, TARGET)
    since, until = start + timedelta(days=10), start + timedelta(days=20)
    assert await actions(services, owner, since=since, until=until) == ["thing.one"]
    where = [Where("entry.action", "starts", "thing.")]
    assert await actions(services, owner, where=where) == ["thing.two", "thing.one"]


@pytest.mark.parametrize("cursor", ["x", "2026-01_x", "_", "\u00e4_"])
async def test_a_made_up_cursor_opens_nothing(services: Services, owner: Owner, cursor: str) -> None:
    with pytest.raises(BadCursor):
        await services.audit.page(owner.org, cursor=cursor)


@pytest.mark.parametrize("months", [0, 1, 12])
async def test_an_old_entry_is_found_as_cheaply_as_a_new_one(
    services: Services, owner: Owner, clock: SetClock, months: int
) -> None:
    clock.advance(months * 31 * DAY)
    with measured() as charge:
        assert await actions(services, owner, limit=50) == ["organization.created"]
    assert charge.calls == 1
    with measured() as charge:
        assert await actions(services, owner, where=[Where("entry.action", "=", "no.such")]) == []
    assert charge.calls == 1


async def test_an_export_is_one_object_a_line_and_can_be_gone_on_with(
    services: Services, owner: Owner, clock: SetClock
) -> None:
    for letter in "abcdefghij":
        clock.advance(1)
        await services.audit.record(owner.org, SYSTEM, f"thing.{letter}", TARGET, after={"text": "line\nbreak"})
    lines: list[str] = []
    cursor: str | None = None
    while True:
        part, cursor = await services.audit.lines(owner.org, limit=4, cursor=cursor)
        lines += part.decode().splitlines()
        if cursor is None:
            break
    assert [json.loads(line)["entry"]["action"] for line in lines] == [
        *(f"thing.{letter}" for letter in "jihgfedcba"),
        "organization.created",
    ]


async def test_a_reader_sees_one_organization_only(services: Services, owner: Owner) -> None:
    from tests.support.seeding import seed_owner

    other = await seed_owner(services)
    await services.audit.record(other.org, SYSTEM, "thing.secret", TARGET)
    assert "thing.secret" not in await actions(services, owner)
    assert await services.store.count(owner.org, Organization) == 1
