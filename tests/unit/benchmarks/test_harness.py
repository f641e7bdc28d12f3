"""The bench harness itself: what is judged, what is dropped, who is disqualified."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from tests.benchmarks.harness import Aim, Bench, MissingPeer, Slice, Verdict, Work, measure
from tests.benchmarks.machine import Calibration, cpu_seconds, percentile, private_bytes, steady


class Side:
    """A side that says what it used, so that ratios are known beforehand."""

    def __init__(self, name: str, cpu: float, *, wrong: str = "", missing: str = "") -> None:
        self.name, self._cpu, self._wrong, self._missing = name, cpu, wrong, missing
        self.running = False

    def start(self) -> None:
        if self._missing:
            raise MissingPeer(self._missing)
        self.running = True

    def run(self, seconds: float) -> Work:
        return Work(units=10, cpu=self._cpu * 10, latencies=[0.001, 0.002, 0.003])

    def pids(self) -> Sequence[int]:
        return [os.getpid()]

    def check(self) -> None:
        assert not self._wrong, self._wrong

    def stop(self) -> None:
        self.running = False


def verdict_of(ours: Side, peer: Side, **bound: float) -> Verdict:
    run = Bench("a bench", rounds=3, slice_seconds=0.0)
    run.compare([ours, peer], [Aim(ours.name, peer.name, "cpu", **bound)])
    assert not ours.running
    assert not peer.running
    (verdict,) = run.result.verdicts
    return verdict


def rounds(*ratios: float) -> list[list[Slice]]:
    return [[Slice("ours", 1, ratio, 1.0), Slice("peer", 1, 1.0, 1.0)] for ratio in ratios]


@pytest.mark.parametrize(
    ("cpu", "bound", "verdict"),
    [
        (0.5, {"at_most": 0.5}, "met"),
        (0.6, {"at_most": 0.5}, "missed"),
        (2.0, {"at_least": 2.0}, "met"),
        (1.9, {"at_least": 2.0}, "missed"),
    ],
)
def test_a_ratio_is_judged(cpu: float, bound: dict[str, float], verdict: str) -> None:
    found = Bench._judge(Aim("ours", "peer", "cpu", **bound), rounds(*[cpu] * 5), {}, {})
    assert found.verdict == verdict
    assert found.median == pytest.approx(cpu)


def test_a_missing_peer_is_told() -> None:
    found = verdict_of(Side("ours", 1.0), Side("peer", 1.0, missing="pip install peer"), at_most=1.0)
    assert (found.verdict, found.note) == ("missing", "peer: pip install peer")


@pytest.mark.parametrize("which", [0, 1])
def test_a_side_that_did_not_do_the_work_is_disqualified(which: int) -> None:
    sides = [Side("ours", 1.0), Side("peer", 1.0)]
    sides[which] = Side(sides[which].name, 0.1, wrong="3 rows are missing")
    found = verdict_of(sides[0], sides[1], at_most=1.0)
    assert (found.verdict, found.note) == ("disqualified", f"{sides[which].name}: 3 rows are missing")


def test_the_worse_quartile_decides() -> None:
    measured = rounds(0.4, 0.4, 0.4, 0.4, 0.4, 0.7, 0.7, 0.7)
    low = Bench._judge(Aim("ours", "peer", "cpu", at_most=0.5), measured, {}, {})
    assert (low.verdict, low.median) == ("missed", pytest.approx(0.4))
    assert low.worse == pytest.approx(0.7)
    high = Bench._judge(Aim("ours", "peer", "cpu", at_least=0.4), measured, {}, {})
    assert (high.verdict, high.worse) == ("met", pytest.approx(0.4))


def test_fewer_than_five_rounds_are_no_result() -> None:
    found = Bench._judge(Aim("ours", "peer", "cpu", at_most=0.5), rounds(0.1, 0.1, 0.1, 0.1), {}, {})
    assert found.verdict == "no result"


def calibration(cpu: float = 1.0, wall: float = 1.0, sync: float = 1.0) -> Calibration:
    return Calibration(cpu, wall, sync, 0.0)


def test_rounds_of_another_speed_are_dropped() -> None:
    seen = [
        calibration(),
        calibration(),
        calibration(),
        calibration(cpu=1.4),
        calibration(wall=2.0),
        calibration(sync=0.5),
    ]
    assert steady(seen, wall=False) == {0, 1, 2, 4, 5}
    assert steady(seen, wall=True) == {0, 1, 2}


def test_a_side_that_does_nothing_is_an_error() -> None:
    side = Side("idle", 1.0)
    side.run = lambda seconds: Work(units=0)  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="idle did nothing"):
        measure(side, 0.0)


def test_figures_are_judged_against_their_bounds() -> None:
    run = Bench("a bench")
    run.figure("modules", 100, at_most=100)
    run.figure("modules again", 101, at_most=100)
    run.figure("told only", 5, "MiB")
    assert [each.verdict for each in run.result.verdicts] == ["met", "missed"]
    assert run.result.figures["told only MiB"] == 5


def test_cpu_and_memory_of_this_very_process() -> None:
    before = cpu_seconds([os.getpid()])
    sum(range(200_000))
    assert cpu_seconds([os.getpid()]) > before
    assert 1_000_000 < private_bytes(os.getpid()) < 10_000_000_000


def test_percentiles_are_nearest_ranks() -> None:
    values = list(range(100))
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7.0], 0.99)) == (50, 99, 7.0)
