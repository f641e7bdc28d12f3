"""Who lives, over the real store, with a clock that the test turns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from orchestrations.fleet_sweep import tell
from shared.composition import Services
from shared.nodes.liveness import Change, Fleet
from shared.nodes.models import Presence
from shared.nodes.shards import NODES_PER_SHARD, Roster
from shared.platform.ids import NodeId, OrgId
from shared.platform.settings import load_settings
from shared.store.charge import measured
from tests.support.house import HouseForTests

ORG = OrgId("org_01J00000000000000000000000")


@dataclass
class SetClock:
    """A clock that stands until it is turned."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def monotonic(self) -> float:
        return self.moment.timestamp()

    def turn(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HouseForTests]:
    with HouseForTests(tmp_path_factory.mktemp("house"), "cosmos", "containers") as house:
        yield house


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
async def services(
    house: HouseForTests, clock: SetClock, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> AsyncIterator[Services]:
    for name, value in house.settings().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COSMOS_DATABASE", f"d{abs(hash(request.node.name)) % 10**8}")
    from shared.store import bootstrap

    await bootstrap.bootstrap(load_settings())
    services = Services(load_settings(), clock=clock)
    yield services
    await services.close()


class Told:
    """Collects what a sweep tells."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, Presence, Presence]] = []

    async def __call__(self, change: Change) -> None:
        self.changes.append((change.node, change.before, change.after))

    def taken(self) -> list[tuple[str, Presence, Presence]]:
        found, self.changes = self.changes, []
        return found


async def test_silent_at_90_seconds_lost_at_ten_minutes_and_back(services: Services, clock: SetClock) -> None:
    fleet, told = services.fleet, Told()
    shard, place = await fleet.join(NodeId("nod_a"), ORG)
    assert await fleet.join(NodeId("nod_a"), ORG) == (shard, place)
    await fleet.sweep(told)
    assert told.taken() == []
    await fleet.hear(shard, place)
    heard = clock.moment
    found: dict[Presence, float] = {}
    while clock.moment < heard + timedelta(minutes=11):
        await fleet.sweep(told)
        for _, _, after in told.taken():
            found[after] = (clock.moment - heard).total_seconds()
        clock.turn(30)
    assert found == {Presence.SILENT: 90, Presence.LOST: 600}
    await fleet.hear(shard, place)
    await fleet.sweep(told)
    assert told.taken() == [("nod_a", Presence.LOST, Presence.ONLINE)]


async def test_a_calm_node_is_never_called_silent(services: Services, clock: SetClock) -> None:
    """At the slowest allowed beat (72 s), with the store told each 15 s and a sweep each 30 s, by another instance."""
    fleet, sweeper, told = services.fleet, Fleet(services.directory, clock), Told()
    places = [await fleet.join(NodeId(f"nod_{n}"), ORG) for n in range(5)]
    for second in range(0, 1800, 3):
        for number, (shard, place) in enumerate(places):
            if (second + number * 15) % 72 == 0:
                await fleet.hear(shard, place)
        if second % 30 == 0:
            await sweeper.sweep(told)
        clock.turn(3)
    assert [change for change in told.taken() if change[2] is not Presence.ONLINE] == []


async def test_our_own_absence_makes_nobody_silent(services: Services, clock: SetClock) -> None:
    fleet, told = services.fleet, Told()
    shard, place = await fleet.join(NodeId("nod_a"), ORG)
    gone_shard, gone_place = await fleet.join(NodeId("nod_gone"), ORG)
    await fleet.hear(shard, place)
    await fleet.hear(gone_shard, gone_place)
    clock.turn(20)
    await fleet.hear(shard, place)
    for _ in range(4):
        clock.turn(30)
        await fleet.hear(shard, place)
        await fleet.sweep(told)
    assert told.taken() == [("nod_gone", Presence.ONLINE, Presence.SILENT)]

    clock.turn(3600)  # the control plane is away for an hour; then comes back with nothing in memory
    back = Fleet(services.directory, clock)
    await back.sweep(told)
    again = ("nod_gone", Presence.ONLINE, Presence.SILENT)  # for all it knows, whoever found that died before telling
    assert told.taken() == [again, ("nod_gone", Presence.SILENT, Presence.LOST)]
    clock.turn(60)
    await back.hear(shard, place)
    await back.sweep(told)
    assert told.taken() == []


class Killed(BaseException):
    """The process ends here."""


async def test_what_a_sweep_found_and_did_not_live_to_tell_is_told_by_the_next(
    services: Services, clock: SetClock
) -> None:
    """Killed after the sweep is written, before its first entry, and between its two entries."""
    fleet, trail = services.fleet, services.audit
    places = [await fleet.join(NodeId(f"nod_{name}"), ORG) for name in "ab"]
    for _ in range(2):
        for shard, place in places:
            await fleet.hear(shard, place)
        clock.turn(20)  # the store is told of both by the first beat after 15 s
    left = 0

    async def dying(change: Change) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        await tell(trail, change)

    async def swept(by: Fleet, entries: int) -> None:
        nonlocal left
        left = entries
        with suppress(Killed):
            await by.sweep(dying)

    async def told() -> list[tuple[str, str, datetime]]:
        found = (await trail.page(ORG)).items
        return sorted((event.entry.target.id, event.entry.action, event.entry.at) for event in found)

    await swept(fleet, 9)
    clock.turn(40)
    await swept(fleet, 9)
    clock.turn(60)  # and 90 s since the sweeps began
    silent_at = clock.moment
    await swept(fleet, 0)
    assert await told() == []
    clock.turn(30)
    await swept(Fleet(services.directory, clock), 1)
    assert await told() == [("nod_a", "node.went_silent", silent_at)]
    clock.turn(30)
    for _ in range(2):  # the second in a process of its own: it tells nothing twice
        await swept(Fleet(services.directory, clock), 9)
    assert await told() == [("nod_a", "node.went_silent", silent_at), ("nod_b", "node.went_silent", silent_at)]


async def test_a_full_shard_is_followed_by_another(services: Services) -> None:
    fleet = services.fleet
    shard, _ = await fleet.join(NodeId("nod_0"), ORG)
    full = tuple((NodeId(f"nod_{n}"), ORG) for n in range(NODES_PER_SHARD))
    await services.directory.update(Roster, Roster.id_of(shard), lambda roster: roster.having(nodes=full))
    assert await fleet.join(NodeId("nod_new"), ORG) == (shard + 1, 0)
    assert await fleet.join(NodeId("nod_next"), ORG) == (shard + 1, 1)


async def test_the_silence_of_a_node_that_was_let_go_is_nothing_to_tell(services: Services, clock: SetClock) -> None:
    fleet, told = services.fleet, Told()
    places = [await fleet.join(NodeId(name), ORG) for name in ("nod_kept", "nod_sold")]
    for place in places:
        await fleet.hear(*place)
        clock.turn(15)  # what was heard is told to the store
    await fleet.hear(*places[1])
    await fleet.sweep(told)
    for _ in range(2):
        await fleet.leave(*places[1])
    for _ in range(22):
        clock.turn(30)
        await fleet.sweep(told)
    assert [(node, after) for node, _, after in told.taken()] == [("nod_kept", Presence.SILENT), ("nod_kept", Presence.LOST)]  # fmt: skip
    assert await fleet.join(NodeId("nod_new"), ORG) not in places, "a place is given once"


async def test_watching_makes_a_node_beat_more_often_for_a_minute(services: Services, clock: SetClock) -> None:
    fleet, other = services.fleet, Fleet(services.directory, clock)
    shard, place = await fleet.join(NodeId("nod_a"), ORG)
    assert not await other.watched(shard, place)
    await fleet.watch(shard, place)
    clock.turn(11)
    assert await other.watched(shard, place)
    clock.turn(61)
    assert not await other.watched(shard, place)


async def test_a_repeated_beat_changes_nothing(services: Services, clock: SetClock) -> None:
    fleet = services.fleet
    assert fleet.fresh(0, 0, 10)
    assert not fleet.fresh(0, 0, 10)
    assert not fleet.fresh(0, 0, 9)
    assert fleet.fresh(0, 0, 11)
    clock.turn(301)
    assert fleet.fresh(0, 0, 5)  # a clock that was set back is believed after five minutes


async def test_most_beats_cost_the_store_nothing(services: Services, clock: SetClock) -> None:
    fleet = services.fleet
    places = [await fleet.join(NodeId(f"nod_{n}"), ORG) for n in range(100)]
    for shard, place in places:
        await fleet.hear(shard, place)
    with measured() as charge:
        for _ in range(5):  # five minutes of a calm fleet
            for shard, place in places:
                clock.turn(0.6)
                await fleet.hear(shard, place)
    assert charge.calls <= 300 / 15 + 1  # one write in 15 s, not 500 reads and 500 writes
