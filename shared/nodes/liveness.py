"""Who lives. A beat costs no write of its own: it is noted in memory and goes to the store with its shard's others.

    beat ─▶ memory of this instance ──every 15 s──▶ pulse document of the shard (500 nodes, 4 bytes each)
                                                        ▲ every 30 s
                                                      sweep: silent at 90 s, lost at 10 min

Times: a calm node beats each 60 s ± 20 %, so 72 s at most; with 15 s until the store knows that is 87 s, below 90.
The interval of 15 s is kept by the beats themselves (the first one after it writes), so an idle instance costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar

from shared.nodes.models import Presence
from shared.nodes.rules import presence
from shared.nodes.shards import NODES_PER_SHARD, SHARDS_ID, Pulse, Roster, Shards, Sweep, Watched
from shared.platform.clock import Clock
from shared.platform.errors import AlreadyExists, Fault, NotFound, PreconditionFailed
from shared.platform.ids import NodeId, OrgId
from shared.store.unscoped import Directory, FleetShard

F = TypeVar("F", bound=FleetShard)
FLUSH_SECONDS: Final = 15
WATCH_SECONDS: Final = 60
CACHE_SECONDS: Final = 10
#: Longer than a command waits for its node (6 days); what is older has been compared meanwhile.
DOUBT_SECONDS: Final = 7 * 86_400
#: Two sweeps further apart than this: the control plane was away in between.
SWEEP_GAP_SECONDS: Final = 90
_LETTERS: Final = {Presence.ONLINE: "o", Presence.SILENT: "s", Presence.LOST: "l", Presence.WAITING: "w"}
_PRESENCE: Final = {letter: there for there, letter in _LETTERS.items()}


@dataclass(frozen=True, slots=True)
class Change:
    """A node that the sweep found in another state than before."""

    org: OrgId
    node: NodeId
    before: Presence
    after: Presence
    at: datetime


@dataclass(slots=True)
class _Shard:
    heard: dict[int, int] = field(default_factory=dict)
    flushed_at: int = 0
    flushing: bool = False
    pulse: Pulse | None = None
    pulse_at: int = 0
    watched: Mapping[str, int] = field(default_factory=dict)
    watched_at: int = 0
    doubted: Mapping[str, int] = field(default_factory=dict)
    listening_since: int = 0
    told: str | None = None  # the ETag of the sweep whose changes this instance has told


class Fleet:
    """See the module."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory, self._clock = directory, clock
        self._shards: dict[int, _Shard] = {}
        self._sequences: dict[tuple[int, int], tuple[int, int]] = {}

    def _shard(self, number: int) -> _Shard:
        return self._shards.setdefault(number, _Shard())

    def _now(self) -> int:
        return int(self._clock.now().timestamp())

    async def join(self, node: NodeId, org: OrgId) -> tuple[int, int]:
        """A place for a new node; for one that has a place, that one. Shard and place."""
        shards = await self._ensure(Shards, Shards(id=SHARDS_ID))
        number = shards.count - 1
        await self._ensure(Roster, Roster(id=Roster.id_of(number)))

        def add(roster: Roster) -> Roster:
            if (node, org) in roster.nodes or len(roster.nodes) >= NODES_PER_SHARD:
                return roster
            return roster.having(nodes=(*roster.nodes, (node, org)))

        roster = await self._directory.update(Roster, Roster.id_of(number), add)
        if (node, org) in roster.nodes:
            return number, roster.nodes.index((node, org))
        await self._directory.update(
            Shards, SHARDS_ID, lambda found: found if found.count > number + 1 else found.having(count=number + 2)
        )
        return await self.join(node, org)

    async def leave(self, shard: int, place: int) -> None:
        """The node at this place is let go: its silence is what its owner wants, and nothing to tell. May be repeated."""

        def go(roster: Roster) -> Roster:
            return roster if place in roster.gone else roster.having(gone=(*roster.gone, place))

        with suppress(NotFound):
            await self._directory.update(Roster, Roster.id_of(shard), go)

    async def _ensure(self, model: type[F], empty: F) -> F:
        found = await self._directory.find(model, empty.id)
        if found is not None:
            return found
        try:
            return await self._directory.create(empty)
        except AlreadyExists:
            return await self._directory.get(model, empty.id)

    async def organizations(self) -> set[OrgId]:
        """Every organization that has, or had, a node: for sweeps, which go from partition to partition."""
        shards = await self._directory.find(Shards, SHARDS_ID)
        numbers = range(shards.count if shards else 0)
        rosters = await asyncio.gather(*(self._directory.find(Roster, Roster.id_of(number)) for number in numbers))
        return {org for roster in rosters if roster is not None for _, org in roster.nodes}

    # ---------------------------------------------------------------- beats

    def fresh(self, shard: int, place: int, sequence: int) -> bool:
        """Whether a beat is newer than the last one of that node here; a repeated one is not."""
        now, (last, at) = self._now(), self._sequences.get((shard, place), (0, 0))
        if sequence <= last and now - at < 300:  # after five minutes a clock that was set back is believed
            return False
        self._sequences[shard, place] = (sequence, now)
        return True

    async def hear(self, shard: int, place: int) -> None:
        """Note a beat. The store is told at most each 15 s; that it does not answer is no reason to refuse a beat."""
        now, state = self._now(), self._shard(shard)
        state.heard[place] = now
        if now - state.flushed_at >= FLUSH_SECONDS and not state.flushing:
            await self._flush(shard, state, now)

    async def _flush(self, number: int, state: _Shard, now: int) -> None:
        state.flushing, state.flushed_at = True, now
        heard, state.heard = state.heard, {}
        try:
            state.pulse = await self._write_pulse(number, state.pulse, heard, now)
            state.pulse_at = now
        except Fault:
            state.heard = {**heard, **state.heard}  # told with the next ones
        finally:
            state.flushing = False

    async def _write_pulse(self, number: int, known: Pulse | None, heard: Mapping[int, int], now: int) -> Pulse:
        """One write, over the pulse as this instance wrote it last; a read before it only when another one wrote since."""
        if known is not None and known.etag is not None:
            try:
                return await self._directory.replace(known.with_heard(heard, now))
            except (PreconditionFailed, NotFound):
                pass
        await self._ensure(Pulse, Pulse(id=Pulse.id_of(number)))
        return await self._directory.update(Pulse, Pulse.id_of(number), lambda pulse: pulse.with_heard(heard, now))

    # ---------------------------------------------------------------- who looks

    async def watch(self, shard: int, place: int) -> None:
        """Somebody looks at this node for the next minute: it beats more often."""
        state, now = self._shard(shard), self._now()
        if state.watched.get(str(place), 0) - now > WATCH_SECONDS // 2:
            return

        def lease(watched: Watched) -> Watched:
            alive = {key: until for key, until in watched.until.items() if until > now}
            return watched.having(until={**alive, str(place): now + WATCH_SECONDS})

        try:
            await self._ensure(Watched, Watched(id=Watched.id_of(shard)))
            stored = await self._directory.update(Watched, Watched.id_of(shard), lease)
        except Fault:
            return  # fewer beats for a minute: nothing is lost
        state.watched, state.watched_at = stored.until, now

    async def watched(self, shard: int, place: int) -> bool:
        """Whether somebody looks at this node; known within 10 s."""
        state, now = self._shard(shard), self._now()
        if now - state.watched_at >= CACHE_SECONDS:
            state.watched_at = now
            try:
                found = await self._directory.find(Watched, Watched.id_of(shard))
                state.watched, state.doubted = (found.until, found.doubted) if found else ({}, {})
            except Fault:
                pass  # as before, until the store answers
        return state.watched.get(str(place), 0) > now

    async def doubt(self, shard: int, place: int) -> None:
        """What this node has may not be what is desired: every instance knows within 10 s, at no read of its own.

        Raises:
            Fault: the store does not answer.
        """
        now = self._now()

        def note(watched: Watched) -> Watched:
            alive = {key: at for key, at in watched.doubted.items() if now - at < DOUBT_SECONDS}
            return watched.having(doubted={**alive, str(place): now})

        await self._ensure(Watched, Watched(id=Watched.id_of(shard)))
        await self._directory.update(Watched, Watched.id_of(shard), note)

    def doubted_at(self, shard: int, place: int) -> int:
        """When `doubt` was last asked for this node, in seconds since the epoch; 0 for never. Known by `watched`."""
        return self._shard(shard).doubted.get(str(place), 0)

    # ---------------------------------------------------------------- reading

    async def presence(self, shard: int, place: int) -> tuple[Presence, datetime | None]:
        """Whether a node answers, and when it was last heard."""
        state, now = self._shard(shard), self._now()
        if state.pulse is None or now - state.pulse_at >= CACHE_SECONDS:
            state.pulse = await self._directory.find(Pulse, Pulse.id_of(shard)) or Pulse(id=Pulse.id_of(shard))
            state.pulse_at = now
            sweep = await self._directory.find(Sweep, Sweep.id_of(shard))
            state.listening_since = sweep.listening_since if sweep else 0
        times = [time for time in (state.pulse.heard(place), state.heard.get(place)) if time is not None]
        heard = max(times) if times else None
        moment = self._clock.now()
        seen = datetime.fromtimestamp(heard, moment.tzinfo) if heard is not None else None
        return presence(heard, moment, state.listening_since), seen

    # ---------------------------------------------------------------- the sweep

    async def sweep(self, on_change: Callable[[Change], Awaitable[None]]) -> list[Change]:
        """Look at every shard; tell of each node whose presence changed. Safe to run twice at once: the store decides.

            sweep written ........ changes told
                 crash here: the next sweep reads what changed, and tells it before it writes its own

        So a change is told at least once: `on_change` has to know one that it was told before.
        """
        shards = await self._directory.find(Shards, SHARDS_ID)
        if shards is None:
            return []
        found = await asyncio.gather(*(self._sweep_shard(number, on_change) for number in range(shards.count)))
        return [change for some in found for change in some]

    async def _sweep_shard(self, number: int, on_change: Callable[[Change], Awaitable[None]]) -> list[Change]:
        roster = await self._directory.find(Roster, Roster.id_of(number))
        pulse = await self._directory.find(Pulse, Pulse.id_of(number)) or Pulse(id=Pulse.id_of(number))
        before = await self._ensure(Sweep, Sweep(id=Sweep.id_of(number)))
        if roster is None:
            return []
        if before.etag != self._shard(number).told:
            await self._tell(number, roster, before, on_change)
        moment, now = self._clock.now(), self._now()
        since = now if now - before.swept_at > SWEEP_GAP_SECONDS else before.listening_since
        was, gone = _padded(before.found, len(roster.nodes)), frozenset(roster.gone)
        # Our absence makes nobody silent; but who was silent before it must be heard to be back.
        there = [
            Presence.WAITING
            if place in gone
            else presence(pulse.heard(place), moment, 0 if earlier in (Presence.SILENT, Presence.LOST) else since)
            for place, earlier in enumerate(was)
        ]
        letters = "".join(_LETTERS[one] for one in there)
        after = before.having(found=letters, was=before.found, swept_at=now, listening_since=since)
        try:
            stored = await self._directory.replace(after)
        except Fault:
            return []  # another sweep was faster, and tells of the changes
        return await self._tell(number, roster, stored, on_change)

    async def _tell(
        self, number: int, roster: Roster, sweep: Sweep, on_change: Callable[[Change], Awaitable[None]]
    ) -> list[Change]:
        """Tell what a sweep found changed."""
        changes = _changes(roster, sweep, datetime.fromtimestamp(sweep.swept_at, UTC))
        for change in changes:
            await on_change(change)
        self._shard(number).told = sweep.etag
        return changes


def _changes(roster: Roster, sweep: Sweep, at: datetime) -> list[Change]:
    size = len(roster.nodes)
    return [
        Change(org, node, before, after, at)
        for (node, org), before, after in zip(
            roster.nodes, _padded(sweep.was, size), _padded(sweep.found, size), strict=True
        )
        if before is not after and Presence.WAITING not in (before, after)
    ]


def _padded(found: str, size: int) -> list[Presence]:
    return [_PRESENCE[letter] for letter in found.ljust(size, "w")[:size]]
