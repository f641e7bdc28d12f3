"""What happens when the store errs: answers lost after the work was done, refusals, silence."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.composition import Services
from shared.platform.errors import AlreadyExists, PreconditionFailed
from shared.platform.ids import OrgId
from shared.platform.settings import load_settings
from shared.store.errors import StoreBusy, StoreUnavailable
from shared.store.unscoped import directory_id
from tests.support.cosmos import CosmosPart
from tests.unit.store.models import Lookup, Note, OtherThing

_orgs = itertools.count(1)
LOST = pytest.mark.parametrize("status", [408, 503])


@pytest.fixture
def org() -> OrgId:
    return OrgId(f"org_faults_{next(_orgs)}")


@pytest_asyncio.fixture
async def warm(services: Services) -> AsyncIterator[Services]:
    """Connected already, so that an ordered fault meets the operation that it is meant for."""
    await services.database.ping()
    await services.store.page(OrgId("org_warm"), Note)
    await services.directory.find(Lookup, "warm")
    yield services


def lose_an_answer(cosmos: CosmosPart, status: int, method: str = "POST", n: int = 1) -> None:
    cosmos.fault(status=status, n=n, method=method, kind="docs", after=True)


@LOST
async def test_a_create_whose_answer_was_lost_has_succeeded(
    cosmos: CosmosPart, warm: Services, org: OrgId, status: int
) -> None:
    lose_an_answer(cosmos, status)
    made = await warm.store.create(org, Note(id="n1", org_id=org, text="mine"))
    assert await warm.store.get(org, Note, "n1") == made
    with pytest.raises(AlreadyExists):
        await warm.store.create(org, Note(id="n1", org_id=org, text="mine"))


@LOST
async def test_a_replace_whose_answer_was_lost_has_succeeded(
    cosmos: CosmosPart, warm: Services, org: OrgId, status: int
) -> None:
    first = await warm.store.create(org, Note(id="n1", org_id=org))
    lose_an_answer(cosmos, status, "PUT")
    second = await warm.store.replace(org, first.having(number=2))
    assert (await warm.store.get(org, Note, "n1")).etag == second.etag
    with pytest.raises(PreconditionFailed):
        await warm.store.replace(org, first.having(number=3))


@LOST
async def test_a_patch_that_counts_is_not_applied_twice(
    cosmos: CosmosPart, warm: Services, org: OrgId, status: int
) -> None:
    first = await warm.store.create(org, Note(id="n1", org_id=org, number=10))
    lose_an_answer(cosmos, status, "PATCH")
    counted = await warm.store.patch(org, Note, "n1", [{"op": "incr", "path": "/number", "value": 1}], etag=first.etag)
    assert counted.number == 11
    assert (await warm.store.get(org, Note, "n1")).number == 11


@LOST
async def test_a_batch_whose_answer_was_lost_has_succeeded_once(
    cosmos: CosmosPart, warm: Services, org: OrgId, status: int
) -> None:
    first = await warm.store.create(org, Note(id="n1", org_id=org, number=10))
    lose_an_answer(cosmos, status)
    written = await (
        warm.store.batch(org)
        .create(OtherThing(id="o1", org_id=org))
        .patch(Note, "n1", [{"op": "incr", "path": "/number", "value": 5}], etag=first.etag)
        .commit()
    )
    assert [getattr(each, "id", None) for each in written] == ["o1", "n1"]
    assert written[1] == await warm.store.get(org, Note, "n1")
    assert (await warm.store.get(org, Note, "n1")).number == 15


@LOST
async def test_something_used_up_with_a_lost_answer_is_won_by_the_one_who_did_it(
    cosmos: CosmosPart, warm: Services, status: int
) -> None:
    lose_an_answer(cosmos, status)
    assert await warm.directory.burn("jti", f"lost-{status}", ttl=60)
    assert not await warm.directory.burn("jti", f"lost-{status}", ttl=60)


async def test_a_write_that_met_another_one_is_tried_again(cosmos: CosmosPart, warm: Services, org: OrgId) -> None:
    cosmos.fault(status=449, n=2, method="POST", kind="docs")
    assert (await warm.store.create(org, Note(id="n1", org_id=org))).etag


async def test_a_store_that_errs_on_and_on_is_a_clear_refusal(cosmos: CosmosPart, warm: Services, org: OrgId) -> None:
    cosmos.fault(status=449, n=4, method="POST", kind="docs")
    with pytest.raises(StoreUnavailable, match="449"):
        await warm.store.create(org, Note(id="n1", org_id=org))
    assert await warm.store.find(org, Note, "n1") is None


async def test_too_many_requests_are_waited_for_and_then_told(cosmos: CosmosPart, warm: Services, org: OrgId) -> None:
    cosmos.fault(status=429, n=3, ms=5, kind="docs", method="GET")
    assert await warm.store.find(org, Note, "n1") is None
    cosmos.fault(status=429, n=10, ms=5, kind="docs", method="GET")
    with pytest.raises(StoreBusy) as caught:
        await warm.store.get(org, Note, "n1")
    assert caught.value.retry_after
    async with asyncio.timeout(30):  # the rest of the ordered faults is used up before the next test
        while True:
            try:
                await warm.store.find(org, Note, "n1")
                break
            except StoreBusy:
                continue


async def test_a_counter_may_be_off_but_the_caller_never_fails_for_it(cosmos: CosmosPart, warm: Services) -> None:
    id = directory_id("rate", "lost")
    await warm.directory.add(Lookup, id, {"n": 1}, 60)
    lose_an_answer(cosmos, 503, "PATCH")
    assert (await warm.directory.add(Lookup, id, {"n": 1}, 60))["n"] in (2, 3)


async def test_a_store_that_is_away_is_a_clear_refusal(org: OrgId, nowhere: str) -> None:
    services = Services(load_settings({"cosmos_endpoint": nowhere, "cosmos_key": "a2V5"}))
    with pytest.raises(StoreUnavailable) as caught:
        await services.store.get(org, Note, "n1")
    assert caught.value.retry_after
    with pytest.raises(StoreUnavailable):
        await services.database.ping()
    await services.close()


async def test_a_proxy_of_the_environment_is_used(
    database: dict[str, str], nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", nowhere)
    services = Services(load_settings(database))
    with pytest.raises(StoreUnavailable):
        await services.database.ping()
    await services.close()
