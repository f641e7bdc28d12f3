"""Batches within one organization's partition, over a real endpoint: all of it or nothing."""

from __future__ import annotations

import pytest

from shared.composition import Services
from shared.platform.errors import AlreadyExists, NotFound, PreconditionFailed
from shared.platform.ids import OrgId
from shared.store.batch import MAX_OPERATIONS
from shared.store.errors import BatchFailed
from tests.unit.store.models import Event, Note, OtherThing


async def test_a_batch_writes_everything(services: Services, org: OrgId) -> None:
    first = await services.store.create(org, Note(id="n1", org_id=org))
    second = await services.store.create(org, Note(id="n2", org_id=org))
    await services.store.create(org, Note(id="n3", org_id=org))
    written = await (
        services.store.batch(org)
        .create(OtherThing(id="o1", org_id=org))
        .replace(first.having(text="replaced"))
        .patch(Note, "n2", [{"op": "incr", "path": "/number", "value": 7}], etag=second.etag)
        .upsert(Note(id="n4", org_id=org))
        .delete(Note, "n3")
        .commit()
    )
    assert [type(each).__name__ for each in written] == ["OtherThing", "Note", "Note", "Note", "NoneType"]
    assert written[2] == await services.store.get(org, Note, "n2")
    assert (await services.store.get(org, Note, "n1")).text == "replaced"
    assert await services.store.find(org, Note, "n3") is None


async def test_a_batch_that_fails_writes_nothing_and_says_where(services: Services, org: OrgId) -> None:
    first = await services.store.create(org, Note(id="n1", org_id=org))
    await services.store.replace(org, first.having(text="somebody else's"))
    batch = services.store.batch(org).create(Note(id="n2", org_id=org)).replace(first.having(text="mine"))
    with pytest.raises(PreconditionFailed, match="Note n1 was changed") as caught:
        await batch.commit()
    assert caught.value.__cause__ == BatchFailed(1, "replace", "n1", 412)
    assert await services.store.find(org, Note, "n2") is None


@pytest.mark.parametrize("operation", ["create", "delete"])
async def test_the_other_refusals_of_a_batch(services: Services, org: OrgId, operation: str) -> None:
    await services.store.create(org, Note(id="n1", org_id=org))
    batch = services.store.batch(org).create(Note(id="n2", org_id=org))
    if operation == "create":
        with pytest.raises(AlreadyExists, match="n1"):
            await batch.create(Note(id="n1", org_id=org)).commit()
    else:
        with pytest.raises(NotFound, match="n9"):
            await batch.delete(Note, "n9").commit()


async def test_a_batch_stays_in_one_partition_and_within_100(services: Services, org: OrgId) -> None:
    batch = services.store.batch(org)
    with pytest.raises(ValueError, match="is not of"):
        batch.create(Note(id="n1", org_id=OrgId("org_other")))
    with pytest.raises(ValueError, match="lives in usage"):
        batch.create(Event(id="e1", org_id=org, period="2026-01"))
    for number in range(MAX_OPERATIONS):
        batch.create(Note(id=f"n{number}", org_id=org))
    with pytest.raises(ValueError, match="takes 100"):
        batch.create(Note(id="n100", org_id=org))
    assert len(await batch.commit()) == MAX_OPERATIONS
    assert await services.store.batch(org).commit() == []
