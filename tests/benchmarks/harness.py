"""How a bench stays true on a small, noisy machine.

Both sides of a comparison run in the same minute, in slices of a second, in random order within each round; what is
compared is CPU-seconds for the same work (wall time only where waiting is the subject), as a ratio taken round by round.
An aim is met only on the worse quartile of those ratios. Rounds in which the machine itself changed its speed are dropped;
with fewer than five left there is no result. Each side proves that it did the work: one that fails is disqualified.
"""

from __future__ import annotations

import contextlib
import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from tests.benchmarks.machine import Calibration, calibrate, cpu_seconds, percentile, steady

ROUNDS = 9  # and the first is thrown away
SLICE_SECONDS = 1.0
LEAST_ROUNDS = 5
BEST_WINDOWS = 3  # latencies are those of the best three rounds: noise only ever adds


class MissingPeer(Exception):
    """A peer cannot be run here; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one slice did.

    Attributes:
        units: pieces of work done (requests, orchestrations, messages).
        cpu: CPU-seconds, where the side measures them itself (processes that ended); None takes them from `pids()`.
        latencies: seconds of each piece, where latency is the subject.
    """

    units: int
    cpu: float | None = None
    latencies: Sequence[float] = ()


class Side(Protocol):
    """One of the things compared."""

    name: str

    def start(self) -> None:
        """Get ready, outside of any measurement, and warm up. Raises MissingPeer if it cannot run here."""

    def run(self, seconds: float) -> Work:
        """Work for about that long."""

    def pids(self) -> Sequence[int]:
        """Every process whose CPU counts: server, database, broker, app; the load generator does not."""

    def check(self) -> None:
        """Raise AssertionError if the work so far was wrong or incomplete."""

    def stop(self) -> None:
        """End what was started."""


@dataclass(frozen=True, slots=True)
class Aim:
    """`metric(ours) / metric(against)` must be at most, or at least, a figure.

    Metrics: "cpu" and "wall" are seconds for one piece of work; "rate" is pieces per CPU-second; "p50", "p99" are latencies.
    """

    ours: str
    against: str
    metric: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def text(self) -> str:
        """The aim as printed."""
        bound = f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"
        return f"{self.metric} of {self.ours} / {self.against} {bound}"


@dataclass(slots=True)
class Slice:
    """One side in one round."""

    side: str
    units: int
    cpu: float
    wall: float
    p50: float | None = None
    p99: float | None = None

    def metric(self, name: str) -> float:
        """A figure of this slice."""
        if name == "rate":
            return self.units / self.cpu
        if name in ("cpu", "wall"):
            return float(getattr(self, name)) / self.units
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"{self.side} reports no latencies")
        return float(value)


@dataclass(slots=True)
class Verdict:
    """How one aim came out: `worse` is the quartile of the ratios that counts against us."""

    aim: str
    rounds: int
    verdict: str  # "met", "missed", "no result", "missing", "disqualified"
    median: float | None = None
    better: float | None = None
    worse: float | None = None
    note: str = ""


@dataclass(slots=True)
class Result:
    """Everything that one bench found."""

    bench: str
    verdicts: list[Verdict] = field(default_factory=list)
    figures: dict[str, float | str] = field(default_factory=dict)
    slices: list[dict[str, Any]] = field(default_factory=list)


class Bench:
    """What a bench function is given: the ways to measure, and where results go."""

    def __init__(self, name: str, *, rounds: int = ROUNDS, slice_seconds: float = SLICE_SECONDS) -> None:
        self.rounds, self.slice_seconds = rounds, slice_seconds
        self.result = Result(name)

    def compare(self, sides: Sequence[Side], aims: Sequence[Aim]) -> None:
        """Run the sides against each other, and judge the aims."""
        alive, absent = self._start(sides)
        try:
            rounds = self._rounds(alive) if len(alive) > 1 else []
            failed = self._check(alive)
        finally:
            for side in alive:
                side.stop()
        kept = steady([calibration for calibration, _ in rounds], wall=False)
        kept_wall = steady([calibration for calibration, _ in rounds], wall=True)
        for index, (_, slices) in enumerate(rounds):
            self.result.slices.extend({"round": index, **asdict(each)} for each in slices)
        self._medians([slices for index, (_, slices) in enumerate(rounds) if index in kept])
        for aim in aims:
            usable = kept if aim.metric in ("cpu", "rate") else kept_wall
            self.result.verdicts.append(
                self._judge(
                    aim, [slices for index, (_, slices) in enumerate(rounds) if index in usable], absent, failed
                )
            )

    def figure(
        self, name: str, value: float, unit: str = "", *, at_most: float | None = None, at_least: float | None = None
    ) -> None:
        """Report a counted figure (modules, bytes, statements), judged at once if it has an aim."""
        self.result.figures[f"{name} {unit}".strip()] = value
        if at_most is None and at_least is None:
            return
        met = (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
        bound = f"<= {at_most:g}" if at_most is not None else f">= {at_least:g}"
        verdict = "met" if met else "missed"
        self.result.verdicts.append(Verdict(f"{name} {bound} {unit}".strip(), 1, verdict, value, value, value))

    def note(self, name: str, text: str) -> None:
        """Report something in words."""
        self.result.figures[name] = text

    def missing(self, what: str, reason: str) -> None:
        """Report that a comparison could not be made here."""
        self.result.verdicts.append(Verdict(what, 0, "missing", note=reason))

    @staticmethod
    def _start(sides: Sequence[Side]) -> tuple[list[Side], dict[str, str]]:
        alive: list[Side] = []
        absent: dict[str, str] = {}
        for side in sides:
            try:
                side.start()
                alive.append(side)
            except MissingPeer as error:
                absent[side.name] = str(error)
            except BaseException:
                for started in (*alive, side):
                    started.stop()
                raise
        return alive, absent

    def _rounds(self, sides: Sequence[Side]) -> list[tuple[Calibration, list[Slice]]]:
        order = list(sides)
        shuffle = random.Random(20_260_101)
        done: list[tuple[Calibration, list[Slice]]] = []
        with _quiet_collector():
            for number in range(self.rounds):
                shuffle.shuffle(order)
                calibration = calibrate()
                slices = [measure(side, self.slice_seconds) for side in order]
                if number > 0:  # the first round warms everything up
                    done.append((calibration, slices))
        return done

    @staticmethod
    def _check(sides: Sequence[Side]) -> dict[str, str]:
        failed: dict[str, str] = {}
        for side in sides:
            try:
                side.check()
            except AssertionError as error:
                failed[side.name] = (str(error) or "its check failed").splitlines()[0]
        return failed

    def _medians(self, rounds: list[list[Slice]]) -> None:
        by_side: dict[str, list[Slice]] = {}
        for slices in rounds:
            for each in slices:
                by_side.setdefault(each.side, []).append(each)
        for name, slices in by_side.items():
            self.result.figures[f"{name}: CPU us a unit"] = round(
                statistics.median(each.metric("cpu") for each in slices) * 1e6, 1
            )
            self.result.figures[f"{name}: units/s"] = round(
                statistics.median(1 / each.metric("wall") for each in slices), 1
            )
            for metric in ("p50", "p99"):
                windows = sorted(each.metric(metric) for each in slices if getattr(each, metric) is not None)
                if windows:
                    best = statistics.mean(windows[:BEST_WINDOWS])
                    self.result.figures[f"{name}: {metric} ms"] = round(best * 1e3, 3)

    @staticmethod
    def _judge(aim: Aim, rounds: list[list[Slice]], absent: dict[str, str], failed: dict[str, str]) -> Verdict:
        for name in (aim.ours, aim.against):
            if name in absent:
                return Verdict(aim.text, 0, "missing", note=f"{name}: {absent[name]}")
            if name in failed:
                return Verdict(aim.text, 0, "disqualified", note=f"{name}: {failed[name]}")
        ratios = []
        for slices in rounds:
            named = {each.side: each for each in slices}
            ratios.append(named[aim.ours].metric(aim.metric) / named[aim.against].metric(aim.metric))
        if len(ratios) < LEAST_ROUNDS:
            return Verdict(
                aim.text, len(ratios), "no result", note="the machine's speed changed too much; run it again"
            )
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        worse, better = (high, low) if aim.at_most is not None else (low, high)
        met = worse <= aim.at_most if aim.at_most is not None else worse >= (aim.at_least or 0.0)
        return Verdict(aim.text, len(ratios), "met" if met else "missed", median, better, worse)


def measure(side: Side, seconds: float) -> Slice:
    """One slice of one side."""
    pids = list(side.pids())
    before, start = cpu_seconds(pids), time.perf_counter()
    work = side.run(seconds)
    wall = time.perf_counter() - start
    cpu = work.cpu if work.cpu is not None else cpu_seconds(pids) - before
    if work.units < 1:
        raise AssertionError(f"{side.name} did nothing in {seconds} s")
    slice_ = Slice(side.name, work.units, cpu, wall)
    if work.latencies:
        ordered = sorted(work.latencies)
        slice_.p50, slice_.p99 = percentile(ordered, 0.50), percentile(ordered, 0.99)
    return slice_


@contextlib.contextmanager
def _quiet_collector() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


BenchFunction = Callable[[Bench], None]
REGISTRY: dict[str, BenchFunction] = {}


def bench(name: str) -> Callable[[BenchFunction], BenchFunction]:
    """Register a bench under its name, such as "host-http"; its docstring's first line is its title."""

    def register(function: BenchFunction) -> BenchFunction:
        if name in REGISTRY:
            raise ValueError(f"two benches are named {name}")
        REGISTRY[name] = function
        return function

    return register
