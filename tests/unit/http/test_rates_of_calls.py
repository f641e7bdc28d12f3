"""How often one may call, through a declared route: by user, by address, by proofs that do not hold."""

from __future__ import annotations

from tests.unit.http.world import GOOD, KIM, World


async def test_too_many_calls_are_refused_until_they_are_a_minute_old(world: World) -> None:
    answers = [await world.doors.call("POST", "/v1/plain", GOOD, headers=KIM) for _ in range(121)]
    assert [answer.status for answer in answers] == [201] * 120 + [429]
    refused = answers[-1]
    assert refused.json["code"] == "rate_limited"
    assert (refused.json["limit"], refused.json["dimension"]) == (120, "user")
    assert refused.headers["RateLimit"] == '"user";r=0;t=61'  # at 60 s the first of them is just a minute old
    assert refused.headers["Retry-After"] == "61"
    lee = await world.doors.call("POST", "/v1/plain", GOOD, headers={"authorization": "Bearer lee"})
    assert lee.status == 201
    world.clock.advance(60)
    assert (await world.doors.call("POST", "/v1/plain", GOOD, headers=KIM)).status == 429
    world.clock.advance(1)
    assert (await world.doors.call("POST", "/v1/plain", GOOD, headers=KIM)).status == 201


async def test_bad_proofs_from_one_address_end_at_sixty_a_minute_without_being_checked(world: World) -> None:
    bad = {"authorization": "Bearer guess"}
    statuses = [(await world.doors.call("GET", "/v1/things", headers=bad)).status for _ in range(62)]
    assert statuses == [401] * 60 + [429] * 2
    assert world.gate.asked == 60
    elsewhere = await world.doors.call("GET", "/v1/things", headers={**bad, "x-forwarded-for": "198.51.100.9:1"})
    assert elsewhere.status == 401
    world.clock.advance(61)
    assert (await world.doors.call("GET", "/v1/things", headers=bad)).status == 401


async def test_an_address_is_the_one_our_front_saw_not_one_that_was_sent(world: World) -> None:
    bad = {"authorization": "Bearer guess"}
    for number in range(60):
        sent = {**bad, "x-forwarded-for": f"10.0.0.{number}, 203.0.113.7:5{number:04}"}
        await world.doors.call("GET", "/v1/things", headers=sent)
    sent = {**bad, "x-forwarded-for": "10.9.9.9, 203.0.113.7:44444"}
    assert (await world.doors.call("GET", "/v1/things", headers=sent)).status == 429
