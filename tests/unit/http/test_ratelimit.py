"""How often: windows shared between instances, and what happens when they cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from shared.composition import Services
from shared.http.principal import Principal, PrincipalKind
from shared.http.ratelimit import SHARE_FRACTION, RateLimiter, StoredWindows
from shared.http.rates import RATE_CLASSES
from shared.http.request import Request
from shared.platform.errors import RateLimited, Unavailable
from shared.platform.ids import OrgId
from shared.platform.settings import load_settings
from shared.platform.tracing import TraceContext
from tests.support.clocks import SetClock
from tests.support.metrics import counted


def caller(user: str = "usr_kim", org: str = "org_a") -> Principal:
    return Principal(PrincipalKind.USER, user, OrgId(org), client="console")


def request(address: str = "203.0.113.7") -> Request:
    headers = {"x-forwarded-for": f"{address}:5000"}
    return Request("GET", "/v1/x", headers, {}, {}, b"", "req-1", TraceContext("1" * 32, "2" * 16))


async def pass_through(limiter: RateLimiter, rate: str, times: int, **who: str) -> int:
    """How many of so many calls are let through."""
    passed = 0
    for _ in range(times):
        try:
            await limiter.count(rate, caller(**who), request(), {})
            passed += 1
        except RateLimited:
            pass
        await limiter.settled()
    return passed


@pytest_asyncio.fixture
async def services(database: dict[str, str]) -> AsyncIterator[Services]:
    made = Services(load_settings(database), clock=SetClock())
    yield made
    await made.close()


class Away:
    """A shared store that does not answer."""

    def __init__(self, error: type[Exception] | None) -> None:
        self.error, self.asked = error, 0

    async def add(self, window: str, amount: int, ttl: int) -> int:
        self.asked += 1
        if self.error is not None:
            raise self.error("away")
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


def test_every_class_says_what_it_is_for_and_a_person_gets_less_than_an_organization() -> None:
    for rate in RATE_CLASSES.values():
        assert rate.why
        assert rate.limits()
        known = [limit for limit in (rate.user, rate.org, rate.client) if limit is not None]
        assert known == sorted(known)


async def test_two_instances_share_a_window_through_the_store(services: Services) -> None:
    limit = RATE_CLASSES["write"].user or 0
    instances = [RateLimiter(services.clock, StoredWindows(services.directory)) for _ in range(2)]
    passed = 0
    for _ in range(limit):
        for instance in instances:
            passed += await pass_through(instance, "write", 1, user="usr_shared")
    assert limit <= passed <= limit + 2 * limit // SHARE_FRACTION


async def test_a_strict_class_is_exact_over_instances(services: Services) -> None:
    limit = RATE_CLASSES["sign_in"].address or 0
    instances = [RateLimiter(services.clock, StoredWindows(services.directory)) for _ in range(3)]
    passed = 0
    for _ in range(limit):
        for instance in instances:
            passed += await pass_through(instance, "sign_in", 1)
    assert limit <= passed <= limit + len(instances)


async def test_most_calls_cost_the_store_nothing(services: Services) -> None:
    from shared.store.charge import measured

    limiter = RateLimiter(services.clock, StoredWindows(services.directory))
    with measured() as charge:
        assert await pass_through(limiter, "read", 300, user="usr_cheap") == 300
    assert 0 < charge.calls <= 300 * 0.06


@pytest.mark.parametrize("error", [Unavailable, None], ids=["an error", "no answer at all"])
async def test_without_the_store_each_instance_goes_on_by_its_own_count(error: type[Exception] | None) -> None:
    away, before = Away(error), counted("meridian.rate_limit.unshared")
    limiter = RateLimiter(SetClock(), away)
    limit = RATE_CLASSES["sign_in"].address or 0
    passed = await pass_through(limiter, "sign_in", limit + 10)
    assert passed == limit
    assert away.asked <= 2, "after a failure the store is left alone for a while"
    assert counted("meridian.rate_limit.unshared") - before == away.asked, "it fails open, and says how often"


async def test_the_store_is_asked_again_after_a_pause() -> None:
    clock, away = SetClock(), Away(Unavailable)
    limiter = RateLimiter(clock, away)
    await pass_through(limiter, "sign_in", 5)
    before = away.asked
    clock.advance(6)
    await pass_through(limiter, "sign_in", 1)
    assert away.asked > before


async def test_the_scripts_of_one_organization_leave_those_of_others_alone() -> None:
    limiter, limit = RateLimiter(SetClock(), None), RATE_CLASSES["heavy"].client or 0
    for number in range(limit + 1):
        script = Principal(PrincipalKind.API_KEY, f"key_{number}", OrgId(f"org_{number}"), client="api_key")
        await limiter.count("heavy", script, request(f"198.51.{number // 250}.{number % 250}"), {})
    people = [caller(f"usr_{number}", f"org_{number}") for number in range(limit + 1)]
    for number, person in enumerate(people[:limit]):
        await limiter.count("heavy", person, request(f"203.0.{number // 250}.{number % 250}"), {})
    with pytest.raises(RateLimited, match="for each client"):  # a front end's limit holds for its people alone
        await limiter.count("heavy", people[limit], request("192.0.2.1"), {})


async def test_who_is_refused_does_not_use_up_what_others_have() -> None:
    limiter = RateLimiter(SetClock(), None)
    limit, together = RATE_CLASSES["heavy"].user or 0, RATE_CLASSES["heavy"].org or 0
    assert await pass_through(limiter, "heavy", together, user="usr_noisy") == limit
    assert await pass_through(limiter, "heavy", limit, user="usr_calm") == limit


async def test_a_quiet_minute_later_everything_is_free() -> None:
    clock = SetClock()
    limiter = RateLimiter(clock, None)
    limit = RATE_CLASSES["heavy"].user or 0
    assert await pass_through(limiter, "heavy", limit + 1) == limit
    clock.advance(120)
    assert await pass_through(limiter, "heavy", limit + 1) == limit


@pytest.mark.parametrize("into", [0.0, 1.0, 15.0, 30.0, 59.0])
async def test_the_turn_of_a_minute_gives_nobody_twice_the_limit(into: float) -> None:
    clock = SetClock()
    limiter = RateLimiter(clock, None)
    limit = RATE_CLASSES["write"].user or 0
    clock.advance(59)
    assert await pass_through(limiter, "write", limit + 1) == limit
    clock.advance(1 + into)
    assert await pass_through(limiter, "write", limit) == int(limit * into / 60)


async def test_a_steady_caller_just_below_the_limit_is_never_refused() -> None:
    clock = SetClock()
    limiter = RateLimiter(clock, None)
    limit = RATE_CLASSES["heavy"].user or 0
    for _ in range(5 * limit):
        assert await pass_through(limiter, "heavy", 1) == 1
        clock.advance(60 / (limit - 1))


@pytest.mark.parametrize("begun", [0.0, 20.0, 45.0])
async def test_who_waits_as_told_is_let_through(begun: float) -> None:
    clock = SetClock()
    limiter = RateLimiter(clock, None)
    limit = RATE_CLASSES["heavy"].user or 0
    clock.advance(begun)
    for _ in range(2):
        await pass_through(limiter, "heavy", limit)
        headers: dict[str, str] = {}
        with pytest.raises(RateLimited) as refused:
            await limiter.count("heavy", caller(), request(), headers)
        assert headers["RateLimit"] == f'"user";r=0;t={refused.value.retry_after}'
        clock.advance(float(refused.value.retry_after or 0))
        assert await pass_through(limiter, "heavy", 1) == 1


async def test_an_address_with_bad_proofs_waits_beyond_the_turn_of_the_minute() -> None:
    clock = SetClock()
    limiter = RateLimiter(clock, None)
    clock.advance(50)
    await pass_through(limiter, "refused", RATE_CLASSES["refused"].address or 0)
    clock.advance(10)
    headers: dict[str, str] = {}
    with pytest.raises(RateLimited):
        limiter.refused_before(request(), headers)
    assert headers["RateLimit"].startswith('"address";r=0;t=')
    assert headers["RateLimit-Policy"] == '"address";q=60;w=60'
    with pytest.raises(RateLimited):
        await limiter.count("refused", caller(), request(), {})
    clock.advance(100)
    limiter.refused_before(request(), {})


async def test_the_fields_name_the_tightest_window() -> None:
    limiter = RateLimiter(SetClock(), None)
    headers: dict[str, str] = {}
    await limiter.count("heavy", caller(), request(), headers)
    assert headers["RateLimit"] == '"user";r=19;t=60'
    assert headers["RateLimit-Policy"] == '"client";q=1200;w=60, "org";q=60;w=60, "user";q=20;w=60, "address";q=60;w=60'


async def test_switched_off_it_counts_nothing() -> None:
    limiter = RateLimiter(SetClock(), None, enabled=False)
    assert await pass_through(limiter, "heavy", 500) == 500
