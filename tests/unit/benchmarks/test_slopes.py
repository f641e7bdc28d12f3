"""The soak's judge: it must not call flat what grows, nor what it cannot tell."""

from __future__ import annotations

import random

import pytest

from tests.support.slopes import Slope, slope_of


def samples(minutes: int, slope: float, noise: float, seed: int) -> list[tuple[float, float]]:
    """One each five seconds; neighbours share half of their noise, as memory does."""
    chance, last, found = random.Random(seed), 0.0, []
    for at in range(0, minutes * 60, 5):
        last = 0.5 * last + chance.gauss(0, noise)
        found.append((float(at), 20_000 + slope * at / 60 + last))
    return found


@pytest.mark.parametrize(
    ("slope", "verdict"),
    [
        pytest.param(Slope(2, -5, 9), "flat", id="all of the interval lies below"),
        pytest.param(Slope(-90, -120, -60), "flat", id="it shrinks"),
        pytest.param(Slope(40, 17, 63), "grows", id="all of it lies above"),
        pytest.param(Slope(2, -30, 34), "unclear", id="too noisy, though the estimate is small"),
        pytest.param(Slope(84, 10, 158), "unclear", id="too noisy, though the estimate is large"),
        pytest.param(Slope(9, 2, 16), "unclear", id="the limit itself is not below it"),
    ],
)
def test_only_an_interval_on_one_side_of_the_limit_says_anything(slope: Slope, verdict: str) -> None:
    assert slope.verdict(16) == verdict


@pytest.mark.parametrize("seed", range(20))
def test_growth_above_the_limit_is_never_called_flat(seed: int) -> None:
    assert slope_of(samples(12, 40, 60, seed)).verdict(16) != "flat"
    assert slope_of(samples(12, 40, 10, seed)).verdict(16) == "grows"


@pytest.mark.parametrize("seed", range(20))
def test_a_quiet_flat_line_is_called_flat(seed: int) -> None:
    assert slope_of(samples(12, 0, 30, seed)).verdict(16) == "flat"


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        slope_of(samples(4, 0, 1, 1))
