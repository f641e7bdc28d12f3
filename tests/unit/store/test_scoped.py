"""The tenant-scoped door, over a real endpoint and the unmodified SDK."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from shared.composition import Services
from shared.platform.errors import AlreadyExists, NotFound, PreconditionFailed
from shared.platform.ids import OrgId
from shared.store.charge import measured
from shared.store.errors import DocumentTooLarge
from tests.support.clocks import SetClock
from tests.unit.store.models import Event, Lookup, Note, OtherThing


async def test_what_is_created_can_be_read_back(services: Services, org: OrgId, clock: SetClock) -> None:
    made = await services.store.create(org, Note(id="n1", org_id=org, text="hello"))
    assert made.etag
    assert made.created_at == made.updated_at == clock.now()
    assert await services.store.get(org, Note, "n1") == made


async def test_a_second_create_with_the_id_is_refused(services: Services, org: OrgId) -> None:
    await services.store.create(org, Note(id="n1", org_id=org))
    with pytest.raises(AlreadyExists, match="Note n1 exists already"):
        await services.store.create(org, Note(id="n1", org_id=org))


async def test_another_organization_sees_nothing(services: Services, org: OrgId) -> None:
    made = await services.store.create(org, Note(id="n1", org_id=org))
    other = OrgId(f"{org}_other")
    with pytest.raises(NotFound):
        await services.store.get(other, Note, "n1")
    assert (await services.store.page(other, Note)).items == []
    with pytest.raises(NotFound):
        await services.store.delete(other, Note, "n1")
    with pytest.raises(ValueError, match="is not of"):
        await services.store.replace(other, made)


async def test_an_empty_organization_is_refused_before_anything_is_sent(services: Services) -> None:
    for act in (
        lambda: services.store.get(OrgId(""), Note, "n1"),
        lambda: services.store.page(OrgId(""), Note),
        lambda: services.store.count(OrgId(""), Note),
        lambda: services.store.delete(OrgId(""), Note, "n1"),
    ):
        with measured() as charge, pytest.raises(ValueError, match="needs an organization"):
            await act()
        assert charge.calls == 0
    with pytest.raises(ValueError, match="needs an organization"):
        services.store.batch(OrgId(""))


async def test_a_document_of_another_type_is_not_found(services: Services, org: OrgId) -> None:
    await services.store.create(org, Note(id="n1", org_id=org))
    assert await services.store.find(org, OtherThing, "n1") is None


async def test_a_replace_goes_by_the_etag(services: Services, org: OrgId, clock: SetClock) -> None:
    first = await services.store.create(org, Note(id="n1", org_id=org))
    clock.advance(5)
    second = await services.store.replace(org, first.having(text="new"))
    assert (second.text, second.created_at, second.updated_at) == ("new", first.created_at, clock.now())
    with pytest.raises(PreconditionFailed, match="changed in the meantime"):
        await services.store.replace(org, first.having(text="stale"))
    assert (await services.store.get(org, Note, "n1")).text == "new"


async def test_a_replace_of_what_was_never_read_is_a_mistake(services: Services, org: OrgId) -> None:
    with pytest.raises(ValueError, match="needs the ETag"):
        await services.store.replace(org, Note(id="n1", org_id=org))


async def test_update_tries_again_after_a_conflict_and_gives_back_what_was_stored(
    services: Services, org: OrgId
) -> None:
    await services.store.create(org, Note(id="n1", org_id=org))

    def more(note: Note) -> Note:
        return note.having(number=note.number + 1)

    results = await asyncio.gather(*(services.store.update(org, Note, "n1", more) for _ in range(5)))
    assert sorted(result.number for result in results) == [1, 2, 3, 4, 5]
    assert (await services.store.get(org, Note, "n1")).number == 5


async def test_update_with_the_callers_etag_is_refused_instead_of_tried_again(services: Services, org: OrgId) -> None:
    first = await services.store.create(org, Note(id="n1", org_id=org))
    results = await asyncio.gather(
        *(
            services.store.update(org, Note, "n1", lambda n: n.having(number=n.number + 1), etag=first.etag)
            for _ in range(8)
        ),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in results) == ["Note"] + ["PreconditionFailed"] * 7
    assert (await services.store.get(org, Note, "n1")).number == 1


async def test_an_update_that_changes_nothing_writes_nothing(services: Services, org: OrgId) -> None:
    first = await services.store.create(org, Note(id="n1", org_id=org))
    assert (await services.store.update(org, Note, "n1", lambda note: note)).etag == first.etag


async def test_patch_changes_fields_and_keeps_conditions(services: Services, org: OrgId) -> None:
    made = await services.store.create(org, Note(id="n1", org_id=org, number=5))
    patched = await services.store.patch(
        org, Note, "n1", [{"op": "set", "path": "/text", "value": "p"}], etag=made.etag
    )
    assert (patched.text, patched.number) == ("p", 5)
    with pytest.raises(PreconditionFailed):
        await services.store.patch(org, Note, "n1", [{"op": "set", "path": "/text", "value": "q"}], etag=made.etag)
    with pytest.raises(PreconditionFailed):
        await services.store.patch(
            org, Note, "n1", [{"op": "set", "path": "/text", "value": "q"}], condition="from c where c.number > 5"
        )
    with pytest.raises(ValueError, match="applied twice"):
        await services.store.patch(org, Note, "n1", [{"op": "incr", "path": "/number", "value": 1}])


async def test_delete_goes_by_the_etag_when_one_is_given(services: Services, org: OrgId) -> None:
    first = await services.store.create(org, Note(id="n1", org_id=org))
    second = await services.store.replace(org, first.having(text="x"))
    with pytest.raises(PreconditionFailed):
        await services.store.delete(org, Note, "n1", etag=first.etag)
    await services.store.delete(org, Note, "n1", etag=second.etag)
    assert await services.store.find(org, Note, "n1") is None


async def test_upsert_keeps_the_time_of_creation(services: Services, org: OrgId, clock: SetClock) -> None:
    first = await services.store.upsert(org, Note(id="n1", org_id=org))
    clock.advance(60)
    second = await services.store.upsert(org, first.having(number=2))
    assert (second.created_at, second.updated_at) == (first.created_at, clock.now())


@pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp, about what is meant here
async def test_a_document_over_two_megabytes_is_refused(services: Services, org: OrgId) -> None:
    with pytest.raises(DocumentTooLarge):
        await services.store.create(org, Note(id="n1", org_id=org, text="x" * 2_200_000))


async def test_a_hierarchical_key_needs_its_second_level_for_a_point_read(services: Services, org: OrgId) -> None:
    for month in ("2026-01", "2026-02"):
        await services.store.create(org, Event(id="e1", org_id=org, period=month, what=month))
    assert (await services.store.get(org, Event, "e1", sub="2026-02")).what == "2026-02"
    with pytest.raises(ValueError, match="second level of its key"):
        await services.store.get(org, Event, "e1")
    within = await services.store.page(org, Event, sub="2026-01")
    assert [event.what for event in within.items] == ["2026-01"]


async def test_every_call_is_charged(services: Services, org: OrgId) -> None:
    with measured() as outer:
        with measured() as charge:
            await services.store.create(org, Note(id="n1", org_id=org))
            await services.store.get(org, Note, "n1")
            await services.store.page(org, Note)
            await services.store.batch(org).create(Note(id="n2", org_id=org)).commit()
            with pytest.raises(NotFound):
                await services.store.get(org, Note, "n9")
        assert set(charge.by_operation) == {f"tenants.{each}" for each in ("create", "read", "query", "batch")}
        assert charge.calls == 5
        assert charge.units > 1 + 5 + 2 + 5
    assert (outer.units, outer.calls) == (charge.units, charge.calls)


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "a?b", "a#b", "a\\b", "x" * 256, "a\x00b"])
async def test_an_id_that_no_document_can_have_is_never_sent(services: Services, org: OrgId, id: str) -> None:
    with measured() as charge:
        assert await services.store.find(org, Note, id) is None
        with pytest.raises(NotFound):
            await services.store.patch(org, Note, id, [{"op": "set", "path": "/text", "value": "x"}])
        with pytest.raises(NotFound):
            await services.store.delete(org, Note, id)
        with pytest.raises(NotFound):
            services.store.batch(org).delete(Note, id)
        assert await services.directory.find(Lookup, id) is None
    assert charge.calls == 0
    with pytest.raises(ValidationError):
        Note(id=id, org_id=org)
