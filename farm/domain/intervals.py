"""How sure a median is: a confidence interval from blocks of samples, by the bootstrap.

Times that follow one another are alike (clocks, caches, neighbours), so single samples must not be drawn
again as if each knew nothing of the last: blocks of consecutive samples are (Künsch 1989, "The jackknife and the
bootstrap for general stationary observations"). Consecutive blocks are put together until a dozen or so groups
remain, so a group lasts the longer the longer is measured, and memory that outlasts a block is held within one.
"""

from __future__ import annotations

import itertools
from statistics import NormalDist
from typing import TYPE_CHECKING, Sequence

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.float64]

#: Of an interval, where nothing else is said.
CONFIDENCE = 0.95
#: How often the groups are drawn anew: the ends of the interval then move by some 3 % of its width at another seed.
RESAMPLES = 1000
#: How many groups are drawn from at most.
MOST_GROUPS = 16
#: Values at which the distribution is looked at between the lowest and the highest group's median.
_MOST_VALUES = 1024


def median_interval(
    blocks: Sequence[Samples], *, seed: int = 0, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """The interval that holds the true median with that confidence.

    Args:
        blocks: consecutive blocks of samples, in milliseconds; empty ones do not count.
        seed: of the draws: equal samples have equal intervals.
        confidence: share of such intervals that hold the true median.

    Returns:
        Lowest and highest value; none of fewer than two blocks, which tell nothing of how blocks differ.
    """
    groups = grouped(blocks)
    if len(groups) < 2:
        return None
    middle = float(np.median(np.concatenate(groups)))
    low, high = np.quantile(drawn_medians(groups, seed), [(1 - confidence) / 2, (1 + confidence) / 2])
    factor = _widening(len(groups), confidence)
    return middle + factor * min(float(low) - middle, 0.0), middle + factor * max(float(high) - middle, 0.0)


def half_width_percent(interval: tuple[float, float], median: float) -> float:
    """How far the farther end of an interval is from the median, in percent of the median."""
    if not median:
        return 0.0
    return 100 * max(interval[1] - median, median - interval[0]) / median


def grouped(blocks: Sequence[Samples], most: int = MOST_GROUPS) -> list[Samples]:
    """At most so many groups of consecutive blocks, none of them empty."""
    found = [np.asarray(block, dtype=np.float64) for block in blocks if len(block)]
    if len(found) <= most:
        return found
    edges = np.linspace(0, len(found), most + 1).astype(int)
    return [np.concatenate(found[begin:end]) for begin, end in itertools.pairwise(edges)]


def drawn_medians(groups: Sequence[Samples], seed: int, resamples: int = RESAMPLES) -> Samples:
    """The medians of that many draws, each of as many groups as there are, with replacement."""
    groups = [np.sort(group) for group in groups]
    # The middle two of a union are nowhere but between the lowest and the highest of its parts' middle two.
    lowest = min(group[(len(group) - 1) // 2] for group in groups)
    highest = max(group[len(group) // 2] for group in groups)
    values = np.unique(np.concatenate(groups))
    values = values[(values >= lowest) & (values <= highest)]
    if len(values) > _MOST_VALUES:
        values = values[np.linspace(0, len(values) - 1, _MOST_VALUES).astype(int)]
    below = np.stack([np.searchsorted(group, values, "right") for group in groups]).astype(np.float64)
    sizes = np.asarray([len(group) for group in groups], dtype=np.float64)
    draws = np.random.default_rng(seed).multinomial(
        len(groups), np.full(len(groups), 1 / len(groups)), size=resamples
    )
    counts, half = draws @ below, (draws @ sizes)[:, None] / 2
    # Of an even count the middle two are the first value with half of the samples below or at it, and the next.
    lower = np.argmax(counts >= half, axis=1)
    upper = np.argmax(counts > half, axis=1)
    found: Samples = (values[lower] + values[np.maximum(lower, upper)]) / 2
    return found


def _widening(count: int, confidence: float) -> float:
    """By how much the bootstrap is too narrow for so few groups: Student's t for the normal distribution's quantile.

    The factor `sqrt(n / (n - 1))` makes up for a variance that the bootstrap divides by n (Hesterberg 2015, "What
    teachers should know about the bootstrap", section 3.2).
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return student_t(z, count - 1) / z * float(np.sqrt(count / (count - 1)))


def student_t(z: float, freedom: int) -> float:
    """Student's quantile for the normal distribution's, by the expansion of Fisher and Cornish (1960).

    Within 1 % of the table at 95 % from four degrees of freedom on; exact formulas below.
    """
    if freedom == 1:
        return float(np.tan(np.pi * (NormalDist().cdf(z) - 0.5)))
    if freedom == 2:
        p = NormalDist().cdf(z)
        return float((2 * p - 1) / np.sqrt(2 * p * (1 - p)))
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
