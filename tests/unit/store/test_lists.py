"""Pages, filters, counts and cursors of the tenant-scoped door, over a real endpoint."""

from __future__ import annotations

import pytest

from shared.composition import Services
from shared.platform.ids import OrgId
from shared.store.errors import BadCursor
from shared.store.query import Where
from tests.unit.store.models import Labelled, Note, OtherThing


async def test_pages_walk_through_everything_once_in_order(services: Services, org: OrgId) -> None:
    for number in range(23):
        await services.store.create(org, Note(id=f"n{number:02}", org_id=org, number=number % 3))
    await services.store.create(org, OtherThing(id="other", org_id=org))
    seen: list[str] = []
    cursor: str | None = None
    pages = 0
    while True:
        found = await services.store.page(org, Note, sort="id", limit=10, cursor=cursor)
        seen += [note.id for note in found.items]
        pages, cursor = pages + 1, found.cursor
        if cursor is None:
            break
    assert seen == [f"n{number:02}" for number in range(23)]
    assert pages <= 4


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param({"filters": {"number": 1}}, ["n1", "n4"], id="equality"),
        pytest.param({"filters": {"number": None}}, ["n0", "n1", "n2", "n3", "n4", "n5"], id="None is no filter"),
        pytest.param({"where": [Where("number", ">=", 1), Where("id", "<", "n4")]}, ["n1", "n2"], id="ranges"),
        pytest.param({"where": [Where("tags", "contains", "even")]}, ["n0", "n2", "n4"], id="array"),
        pytest.param({"where": [Where("id", "in", ["n1", "n5", "n9"])]}, ["n1", "n5"], id="one of"),
        pytest.param({"where": [Where("text", "starts", "TEXT 3")]}, ["n3"], id="prefix, any case"),
        pytest.param({"filters": {"text": "' OR 1=1 --"}}, [], id="a value is never query text"),
    ],
)
async def test_filters(services: Services, org: OrgId, arguments: dict[str, object], expected: list[str]) -> None:
    for number in range(6):
        tags = ("even",) if number % 2 == 0 else ("odd",)
        note = Note(id=f"n{number}", org_id=org, number=number % 3, text=f"text {number}", tags=tags)
        await services.store.create(org, note)
    found = await services.store.page(org, Note, sort="id", **arguments)  # type: ignore[arg-type]
    assert [note.id for note in found.items] == expected
    assert await services.store.count(org, Note, **arguments) == len(expected)  # type: ignore[arg-type]


async def test_a_cursor_opens_only_its_own_list(services: Services, org: OrgId) -> None:
    other = OrgId(f"{org}_other")
    for number in range(4):
        await services.store.create(org, Note(id=f"n{number}", org_id=org))
        await services.store.create(other, Note(id=f"o{number}", org_id=other))
    found = await services.store.page(org, Note, sort="id", limit=2)
    assert found.cursor
    assert (await services.store.page(org, Note, sort="id", limit=2, cursor=found.cursor)).items[0].id == "n2"
    wrong = [
        services.store.page(other, Note, sort="id", limit=2, cursor=found.cursor),
        services.store.page(org, OtherThing, sort="id", limit=2, cursor=found.cursor),
        services.store.page(org, Note, sort="-id", limit=2, cursor=found.cursor),
        services.store.page(org, Note, sort="id", limit=2, cursor=found.cursor, filters={"number": 0}),
        services.store.page(org, Note, sort="id", limit=2, cursor=found.cursor[:-2] + "AA"),
        services.store.page(org, Note, sort="id", limit=2, cursor="nonsense"),
        services.store.page(org, Note, sort="id", limit=2, cursor="käse"),
    ]
    for attempt in wrong:
        with pytest.raises(BadCursor):
            await attempt


@pytest.mark.parametrize("name", ["plain", "with space", 'quote " and \\ slash', "0.5", "", "日本", "'] OR true --"])
async def test_a_name_that_a_tenant_chose_may_be_any_text(services: Services, org: OrgId, name: str) -> None:
    await services.store.create(org, Labelled(id="l1", org_id=org, labels={name: "yes"}))
    await services.store.create(org, Labelled(id="l2", org_id=org, labels={f"{name}x": "yes"}))
    found = await services.store.page(org, Labelled, where=[Where(("labels", name), "=", "yes")])
    assert [each.id for each in found.items] == ["l1"]
