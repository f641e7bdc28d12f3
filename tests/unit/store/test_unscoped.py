"""The one module that reaches the store without an organization."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from shared.composition import Services
from shared.platform.errors import AlreadyExists, NotFound, PreconditionFailed
from shared.store.unscoped import FleetShard, directory_id
from tests.unit.store.models import Lookup

ROOT = Path(__file__).parents[3]

#: Joining this list is a decision: each of these reads or writes what no organization owns.
ALLOWED = {
    "shared/composition/": "builds it",
    "shared/http/idempotency.py": "replies kept by key",
    "shared/http/ratelimit.py": "rate windows",
    "shared/identity/": "sign-in: users by issuer and subject, sessions, refresh tokens, API keys, used-up token ids",
    "shared/nodes/": "enrolment-token hashes, certificate thumbprints, used-up proofs, shards of the fleet's liveness",
    "shared/organizations/": "invitations by the hash of an address, for people who have no account yet",
}


def test_ids_hide_what_they_are_made_of_and_never_collide() -> None:
    assert "secret" not in directory_id("key", "secret")
    assert re.fullmatch(r"key-[0-9a-f]{64}", directory_id("key", "secret"))
    made = {
        directory_id("u", "a", "bc"),
        directory_id("u", "ab", "c"),
        directory_id("u", "abc"),
        directory_id("v", "abc"),
    }
    assert len(made) == 4


async def test_an_entry_is_created_once_read_replaced_and_deleted(services: Services) -> None:
    id = directory_id("lookup", "round trip")
    made = await services.directory.create(Lookup(id=id, org="org_1"))
    with pytest.raises(AlreadyExists):
        await services.directory.create(Lookup(id=id, org="org_2"))
    assert (await services.directory.get(Lookup, id)).org == "org_1"
    changed = await services.directory.replace(made.having(org="org_3"))
    with pytest.raises(PreconditionFailed):
        await services.directory.replace(made.having(org="org_4"))
    with pytest.raises(PreconditionFailed):
        await services.directory.delete(Lookup, id, etag=made.etag)
    await services.directory.delete(Lookup, id, etag=changed.etag)
    assert await services.directory.find(Lookup, id) is None
    with pytest.raises(NotFound):
        await services.directory.get(Lookup, id)


async def test_update_gives_back_what_was_stored_also_among_rivals(services: Services) -> None:
    id = directory_id("lookup", "rivals")
    await services.directory.upsert(Lookup(id=id))
    results = await asyncio.gather(
        *(services.directory.update(Lookup, id, lambda entry: entry.having(n=entry.n + 1)) for _ in range(5))
    )
    assert sorted(result.n for result in results) == [1, 2, 3, 4, 5]


async def test_of_twenty_that_use_one_thing_up_exactly_one_wins(services: Services) -> None:
    wins = await asyncio.gather(*(services.directory.burn("jti", "https://site", "token-1", ttl=60) for _ in range(20)))
    assert sum(wins) == 1
    assert await services.directory.burn("jti", "https://site", "token-2", ttl=60)


async def test_what_was_used_up_may_come_again_after_its_time(services: Services) -> None:
    assert await services.directory.burn("short", "x", ttl=1)
    async with asyncio.timeout(30):
        while not await services.directory.burn("short", "x", ttl=1):
            await asyncio.sleep(0.1)


async def test_counters_add_up_over_parallel_callers(services: Services) -> None:
    id = directory_id("rate", "adding")
    await asyncio.gather(*(services.directory.add(Lookup, id, {"n": 2}, 60) for _ in range(10)))
    assert (await services.directory.add(Lookup, id, {"n": 1}, 60))["n"] == 21


async def test_a_shard_of_the_fleet_lives_in_its_own_container(services: Services) -> None:
    class TestShard(FleetShard):
        type: str = "test_shard"
        beats: dict[str, int] = {}  # noqa: RUF012 - pydantic copies defaults

    made = await services.directory.create(TestShard(id="shard-1", beats={"nod_1": 5}))
    assert (await services.directory.get(TestShard, "shard-1")).beats == {"nod_1": 5}
    assert (await services.directory.replace(made.having(beats={}))).beats == {}


def test_only_those_on_the_list_reach_outside_every_organization() -> None:
    users = {
        str(path.relative_to(ROOT))
        for folder in ("shared", "functions", "orchestrations")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"shared\.store\.unscoped|import unscoped", path.read_text())
    }
    users = {user for user in users if not user.startswith("shared/store/")}
    strangers = {user for user in users if not user.startswith(tuple(ALLOWED))}
    assert strangers == set(), "reads outside every organization: say why in ALLOWED, or use the store"
