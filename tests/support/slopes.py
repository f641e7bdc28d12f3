"""Whether a figure grows: its slope over time, with how sure that is."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# Two-sided 95 % of Student's t by degrees of freedom; beyond the table it is near the normal's.
_T95 = {3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23, 12: 2.18, 15: 2.13, 20: 2.09, 30: 2.04}


@dataclass(frozen=True, slots=True)
class Slope:
    """Change of the figure in a minute: the estimate, and the bounds of its 95 % confidence."""

    value: float
    low: float
    high: float

    def verdict(self, most: float) -> Literal["flat", "grows", "unclear"]:
        """Against the most that it may grow in a minute: only an interval that lies on one side of that says anything."""
        if self.high < most:
            return "flat"
        return "grows" if self.low > most else "unclear"

    def __str__(self) -> str:
        return f"{self.value:+.1f} ({self.low:+.1f} to {self.high:+.1f})"


def slope_of(samples: Sequence[tuple[float, float]], block_seconds: float = 60.0) -> Slope:
    """The slope of (seconds, figure), by least squares over the medians of blocks.

    Neighbouring samples resemble each other, which would make the confidence look better than it is; a block's median is
    nearly independent of the next one's, and no spike moves it.

    Raises:
        ValueError: fewer than five blocks.
    """
    blocks: dict[int, list[float]] = {}
    for at, figure in samples:
        blocks.setdefault(int(at // block_seconds), []).append(figure)
    points = [((number + 0.5) * block_seconds / 60, statistics.median(each)) for number, each in sorted(blocks.items())]
    if len(points) < 5:
        raise ValueError(f"{len(points)} blocks are too few")
    xs, ys = zip(*points, strict=True)
    fit = statistics.linear_regression(xs, ys)
    rest = [y - (fit.intercept + fit.slope * x) for x, y in points]
    free = len(points) - 2
    middle = statistics.fmean(xs)
    spread = sum((x - middle) ** 2 for x in xs)
    error = (sum(each * each for each in rest) / free / spread) ** 0.5
    factor = next((value for least, value in sorted(_T95.items(), reverse=True) if least <= free), _T95[3])
    return Slope(fit.slope, fit.slope - factor * error, fit.slope + factor * error)
