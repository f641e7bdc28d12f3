"""What of a document is indexed, and that lists find by it what they should."""

from __future__ import annotations

from typing import Any

import pytest

from shared.composition import Services
from shared.platform.ids import OrgId
from shared.store.query import Where
from tests.unit.store.models import Kept, KeptBeside, Labelled

ORG = OrgId("org_index")


@pytest.mark.parametrize(
    ("document", "indexed"),
    [
        (Labelled(id="any", org_id=ORG, labels={"a": "b"}), {"type": "test_labelled", "labels": {"a": "b"}}),
        (Kept(id="kept_1", org_id=ORG), {"state": "open"}),
    ],
    ids=["by its type", "by what its ids begin with"],
)
def test_what_is_indexed(document: Any, indexed: dict[str, Any]) -> None:
    assert document.to_wire()["ix"] == indexed


def test_an_id_that_no_list_would_find_is_refused() -> None:
    with pytest.raises(ValueError, match="begin with kept_"):
        Kept(id="keep_1", org_id=ORG).to_wire()


async def test_lists_by_id_find_their_own_and_nothing_beside(services: Services) -> None:
    store = services.store
    batch = store.batch(ORG)
    for number in range(3):
        batch.create(Kept(id=f"kept_{number}", org_id=ORG, state="open" if number else "over", text=f"t{number}"))
    batch.create(KeptBeside(id="kept_1b", org_id=ORG)).create(Labelled(id="kepu", org_id=ORG, labels={}))
    await batch.commit()

    async def found(**terms: Any) -> list[str]:
        return [one.id for one in (await store.page(ORG, Kept, **terms)).items]

    assert await found() == ["kept_2", "kept_1", "kept_0"]
    assert await found(sort="id") == ["kept_0", "kept_1", "kept_2"]
    assert await found(filters={"state": "open"}) == ["kept_2", "kept_1"]
    assert await found(filters={"text": "t0"}) == ["kept_0"]
    assert await found(where=[Where("id", "in", ["kept_1", "kept_1b", "kepu"])]) == ["kept_1"]
    assert await store.count(ORG, Kept) == 3
    assert await store.count(OrgId("org_other"), Kept) == 0
    assert [one.id for one in (await store.page(ORG, KeptBeside)).items] == ["kept_1b"]
