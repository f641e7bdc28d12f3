"""`Idempotency-Key` over a real store: one effect, whatever is repeated, raced or broken off."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from shared.composition import Services
from shared.http.idempotency import KeptReply
from shared.http.principal import Auth
from shared.platform.errors import Unavailable
from shared.platform.settings import load_settings
from shared.store.unscoped import directory_id
from tests.support.clocks import SetClock
from tests.support.doors import Answer, Backing, Doors
from tests.unit.http.sample import Gate, NoRoomLeft, make
from tests.unit.http.world import GOOD

_keys = (f"a-key-of-mine-{number}-" for number in itertools.count())


@dataclass
class World:
    doors: Doors
    kept: dict[str, Any]
    clock: SetClock
    services: Services

    async def create(self, key: str | None, body: Any = GOOD, *, who: str = "kim", url: str = "/v1/things") -> Answer:
        headers = {"authorization": f"Bearer {who}"} | ({"idempotency-key": key} if key is not None else {})
        return await self.doors.call("POST", url, body, headers=headers)


@pytest_asyncio.fixture
async def world(database: dict[str, str]) -> AsyncIterator[World]:
    clock, gate = SetClock(), Gate()
    services = Services(load_settings(database), clock=clock)
    backing = Backing(
        authenticators={Auth.USER: gate}, authorizer=gate, idempotency=services.idempotency, clock=clock,
        settings=services.settings,
    )  # fmt: skip
    routes, kept = make(backing)
    yield World(Doors(routes), kept, clock, services)
    await services.close()


@pytest.mark.parametrize("key", [None, "", "with space", "ü", "x" * 256])
async def test_a_creation_needs_a_good_key(world: World, key: str | None) -> None:
    answer = await world.create(key)
    assert (answer.status, answer.json["code"]) == (400, "idempotency_key_required")
    assert world.kept["made"] == []


async def test_the_same_request_again_gives_the_same_reply_and_no_second_effect(world: World) -> None:
    key = next(_keys)
    first, second = await world.create(key), await world.create(key)
    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body
    for name in ("ETag", "Location", "Content-Type"):
        assert first.headers[name] == second.headers[name]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(world.kept["made"]) == 1


async def test_the_same_key_with_another_body_is_refused(world: World) -> None:
    key = next(_keys)
    await world.create(key)
    answer = await world.create(key, {**GOOD, "name": "two"})
    assert (answer.status, answer.json["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("other", ["lee", "kay"], ids=["of another organization", "of the same one"])
async def test_keys_of_different_callers_have_nothing_to_do_with_each_other(world: World, other: str) -> None:
    key = next(_keys)
    first, second = await world.create(key), await world.create(key, who=other)
    assert (first.status, second.status) == (201, 201)
    assert first.json["id"] != second.json["id"]


async def test_of_twenty_equal_requests_at_once_one_has_an_effect(world: World) -> None:
    key = next(_keys)
    answers = await asyncio.gather(*(world.create(key) for _ in range(20)))
    statuses = [answer.status for answer in answers]
    assert set(statuses) <= {201, 409}
    assert statuses.count(201) >= 1
    assert len(world.kept["made"]) == 1
    assert {answer.json["id"] for answer in answers if answer.status == 201} == set(world.kept["made"])
    refused = [answer for answer in answers if answer.status == 409]
    assert all(answer.json["code"] == "idempotency_key_in_use" for answer in refused)
    assert all("Retry-After" in answer.headers for answer in refused)
    assert (await world.create(key)).status == 201
    assert len(world.kept["made"]) == 1


async def test_a_reply_with_a_secret_is_had_again_by_its_key_and_by_nothing_that_is_stored(world: World) -> None:
    key = next(_keys)
    first, second = await world.create(key, url="/v1/secrets"), await world.create(key, url="/v1/secrets")
    (secret,) = world.kept["made"]
    assert (first.status, second.status, second.body) == (201, 201, first.body)
    assert secret in first.body.decode()
    record = directory_id("idem", "org_a", "usr_kim", "console", "create_secret", key)
    container = await world.services.database.container("directory")
    for id in (record, KeptReply.id_of(record)):
        stored = json.dumps(await container.read_item(id, id))
        assert secret not in stored
        assert key not in stored


async def test_a_sealed_reply_that_cannot_be_opened_is_said_to_be_lost(world: World, database: dict[str, str]) -> None:
    key = next(_keys)
    await world.create(key, url="/v1/secrets")
    changed = Services(load_settings({**database, "cursor_key": "another"}), clock=world.clock)
    gate = Gate()
    backing = Backing(
        authenticators={Auth.USER: gate}, authorizer=gate, idempotency=changed.idempotency, clock=world.clock
    )
    headers = {"authorization": "Bearer kim", "idempotency-key": key}
    answer = await Doors(make(backing)[0]).call("POST", "/v1/secrets", GOOD, headers=headers)
    assert (answer.status, answer.json["code"]) == (410, "idempotency_reply_lost")
    await changed.close()


async def test_a_refusal_is_not_kept_so_the_same_key_may_succeed_later(world: World) -> None:
    key = next(_keys)
    world.kept["fail_with"] = NoRoomLeft("2 of 2 are in use", limit=2)
    refused = await world.create(key)
    assert (refused.status, refused.json["code"], refused.json["limit"]) == (403, "test_no_room_left", 2)
    world.kept["fail_with"] = None
    assert (await world.create(key)).status == 201


@pytest.mark.parametrize(
    "failure", [RuntimeError("bug"), Unavailable("away")], ids=["a mistake of ours", "something away"]
)
async def test_an_attempt_that_failed_half_way_is_repeated_under_the_same_ids(world: World, failure: Exception) -> None:
    key = next(_keys)
    seen: list[str] = []
    world.kept["made"] = seen
    route = next(route for route in world.doors.routes if route.name == "create_thing")

    class HalfWay(list[str]):
        def append(self, id: str) -> None:
            super().append(id)
            if len(self) == 1:
                raise failure

    world.kept["made"] = made = HalfWay()
    first = await world.create(key)
    second = await world.create(key)
    assert first.status in (500, 503)
    assert second.status == 201
    assert made[0] == made[1] == second.json["id"]
    assert route.idempotent


async def test_an_attempt_that_hangs_is_taken_over_when_its_lease_is_over(world: World) -> None:
    key = next(_keys)
    world.kept["hang"] = never = asyncio.Event()
    hanging = asyncio.create_task(world.create(key))
    async with asyncio.timeout(30):
        while not world.kept["made"]:
            await asyncio.sleep(0.01)
    assert (await world.create(key)).status == 409
    world.clock.advance(61)
    answer = await world.create(key)
    assert answer.status == 201
    assert world.kept["made"] == [answer.json["id"]] * 2, "the same id: the second meets what the first one made"
    never.set()
    late = await hanging
    assert late.json == answer.json


async def test_without_the_store_it_fails_closed(nowhere: str) -> None:
    gate = Gate()
    services = Services(load_settings({"cosmos_endpoint": nowhere, "cosmos_key": "a2V5"}))
    backing = Backing(authenticators={Auth.USER: gate}, authorizer=gate, idempotency=services.idempotency)
    routes, kept = make(backing)
    headers = {"authorization": "Bearer kim", "idempotency-key": "k1"}
    answer = await Doors(routes).call("POST", "/v1/things", GOOD, headers=headers)
    assert (answer.status, answer.json["code"]) == (503, "store_unavailable")
    assert answer.headers["Retry-After"]
    assert kept["made"] == []
    await services.close()
