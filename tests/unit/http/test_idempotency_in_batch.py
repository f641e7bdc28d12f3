"""`Idempotency-Key` on routes whose whole effect is one batch, over a real store: the key is written in that very batch."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
import pytest_asyncio

from shared.composition import Services
from shared.http import Call, Reply, Routes
from shared.http.idempotency import Once
from shared.http.principal import Auth
from shared.http.route import DeclarationError
from shared.platform.ids import OrgId
from shared.platform.settings import load_settings
from shared.store.documents import Document
from tests.support.clocks import SetClock
from tests.support.doors import Answer, Backing, Doors
from tests.unit.http.sample import Can, Gate, NoRoomLeft, ThingCreate, ThingView
from tests.unit.http.world import GOOD

_keys = (f"in-batch-{number}" for number in itertools.count())


class Mark(Document):
    """What the route makes; its id is the name, so a name is there once."""

    type: Literal["mark"] = "mark"
    thing: str


@dataclass
class World:
    doors: Doors
    services: Services
    clock: SetClock
    begun: list[str]
    again: list[str]
    refuse: list[Exception] = field(default_factory=list)  # before the batch
    die: list[BaseException] = field(default_factory=list)  # after it

    async def create(self, key: str, name: str, *, who: str = "kim") -> Answer:
        headers = {"authorization": f"Bearer {who}", "idempotency-key": key}
        return await self.doors.call("POST", "/v1/marks", {**GOOD, "name": name}, headers=headers)

    async def made(self, name: str, org: str = "org_a") -> Mark | None:
        return await self.services.store.find(OrgId(org), Mark, f"mark_{name}")


@pytest_asyncio.fixture
async def world(database: dict[str, str]) -> AsyncIterator[World]:
    clock, gate = SetClock(), Gate()
    services = Services(load_settings(database), clock=clock)
    backing = Backing(
        authenticators={Auth.USER: gate}, authorizer=gate, idempotency=services.idempotency, clock=clock,
        settings=services.settings,
    )  # fmt: skip
    routes = Routes("marks", lambda: backing)
    world = World(Doors(), services, clock, [], [])

    @routes.post("/v1/marks", permission=Can.WRITE, idempotent=True, in_batch=True, status=201, response=ThingView)
    async def create_mark(call: Call, body: ThingCreate) -> Reply:
        """Create a mark."""
        if call.made_before is not None:
            world.again.append(call.made_before)
            return Reply(None)
        thing = call.new_id("srv")
        if world.refuse:
            raise world.refuse.pop()
        reply = Reply(ThingView(id=thing, name=body.name), status=201, location=f"/v1/marks/{thing}")
        batch = services.store.batch(call.org).create(Mark(id=f"mark_{body.name}", org_id=call.org, thing=thing))
        call.keep(batch, reply, thing)
        await batch.commit()
        if world.die:
            raise world.die.pop()
        world.begun.append(thing)
        return reply

    world.doors = Doors(routes)
    yield world
    await services.close()


async def test_the_same_request_again_gives_the_same_reply_and_may_finish_what_the_first_began(world: World) -> None:
    key = next(_keys)
    first, second = await world.create(key, "a"), await world.create(key, "a")
    assert (first.status, second.status) == (201, 201)
    assert first.body == second.body
    assert first.headers["Location"] == second.headers["Location"]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert (world.begun, world.again) == ([first.json["id"]], [first.json["id"]])


async def test_a_first_request_calls_the_store_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    whole = world.services.database.call

    async def noting(operation: str, *rest: Any, **named: Any) -> Any:
        seen.append(operation)
        return await whole(operation, *rest, **named)

    monkeypatch.setattr(world.services.database, "call", noting)
    assert (await world.create(next(_keys), "cheap")).status == 201
    assert seen == ["batch"]


async def test_the_same_key_with_another_body_is_refused(world: World) -> None:
    key = next(_keys)
    await world.create(key, "b")
    answer = await world.create(key, "c")
    assert (answer.status, answer.json["code"]) == (422, "idempotency_key_reused")
    assert await world.made("c") is None


async def test_another_request_for_the_same_thing_is_refused_as_ever(world: World) -> None:
    await world.create(next(_keys), "d")
    answer = await world.create(next(_keys), "d")
    assert (answer.status, answer.json["code"]) == (409, "already_exists")


async def test_an_attempt_that_died_behind_its_batch_was_made_once(world: World) -> None:
    key = next(_keys)
    world.die.append(RuntimeError("the process ends here"))
    assert (await world.create(key, "e")).status == 500
    mark = await world.made("e")
    assert mark is not None
    answer = await world.create(key, "e")
    assert (answer.status, answer.json["id"]) == (201, mark.thing)
    assert (world.begun, world.again) == ([], [mark.thing])


async def test_a_refusal_is_not_kept_and_one_that_the_first_attempt_brought_about_gives_its_reply(world: World) -> None:
    key = next(_keys)
    world.refuse.append(NoRoomLeft("2 of 2 are in use"))
    assert (await world.create(key, "f")).json["code"] == "test_no_room_left"
    first = await world.create(key, "f")
    world.refuse.append(NoRoomLeft("the first attempt took the last one"))
    second = await world.create(key, "f")
    assert (second.status, second.body) == (201, first.body)


async def test_of_twenty_equal_requests_at_once_one_has_an_effect(world: World) -> None:
    key = next(_keys)
    answers = await asyncio.gather(*(world.create(key, "g") for _ in range(20)))
    assert {answer.status for answer in answers} == {201}
    assert len(world.begun) == 1
    assert {answer.json["id"] for answer in answers} == set(world.begun)


@pytest.mark.parametrize(
    ("other", "status"), [("lee", 201), ("kay", 409)], ids=["of another organization", "of the same"]
)
async def test_keys_of_different_callers_have_nothing_to_do_with_each_other(
    world: World, other: str, status: int
) -> None:
    key, name = next(_keys), f"h-{other}"
    first, second = await world.create(key, name), await world.create(key, name, who=other)
    assert (first.status, second.status) == (201, status)
    assert "Idempotent-Replayed" not in second.headers
    assert (await world.made(name, "org_b") is not None) == (other == "lee")


async def test_what_is_kept_has_no_etag_yet(world: World) -> None:
    once_only = Reply(ThingView(id="x", name="x"), status=201, etag='"1"')
    with pytest.raises(ValueError, match="no ETag"):
        Once("idem-1", OrgId("org_a"), "f").keep(world.services.store.batch(OrgId("org_a")), once_only, "")


async def test_only_routes_about_an_organization_have_their_key_in_a_batch() -> None:
    routes = Routes("marks", lambda: Backing())
    for options in (
        {"in_batch": True, "permission": Can.WRITE},
        {"in_batch": True, "idempotent": True, "organization": False},
    ):

        async def mark(_call: Call) -> Any:
            """Mark."""

        with pytest.raises(DeclarationError, match="in_batch"):
            routes.post("/v1/marks", **options)(mark)
