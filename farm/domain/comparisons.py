"""Two engines timed in turn on one device: how far their medians are apart, and how sure that is.

Blocks of iterations are run in the order A B B A, again and again. Whatever changes slowly (clocks, heat,
neighbours) then weighs on both alike, and half of the time each of them comes first. What is drawn again by the
bootstrap is pairs of neighbouring blocks, so what both of a pair had in common falls out of the difference.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from farm.domain.conditions import conditions_of
from farm.domain.intervals import CONFIDENCE, MOST_GROUPS, RESAMPLES, student_t
from farm.domain.taints import FOREIGN, STARVED, in_words, kind_of, taints_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from farm.domain.conditions import Watched

#: The order of blocks, in words for whoever reads a document.
ORDER = "ABBA"
#: What may weigh on one of the two alone. Heat, power and clocks weigh on both.
_DISTURBING = (FOREIGN, STARVED)


@dataclass(frozen=True)
class Comparison:
    """Two engines at one shape, timed in one way.

    Attributes:
        batch: the batch size.
        method: how both were timed, as `farm.domain.methods` calls it.
        pairs: of how many pairs of blocks.
        a_median_ms: median of the medians of A's blocks.
        b_median_ms: the same of B.
        difference_ms: B's median less A's.
        difference_interval_ms: lowest and highest difference, at 95 %.
        ratio: B's median over A's.
        ratio_interval: lowest and highest ratio, at 95 %.
        window: when it began and ended, on the host's monotonic clock in seconds; none where nobody told.
        taints: what may have weighed on one of the two alone; empty where nothing did, or nobody looked.
    """

    batch: int
    method: str
    pairs: int
    a_median_ms: float
    b_median_ms: float
    difference_ms: float
    difference_interval_ms: tuple[float, float]
    ratio: float
    ratio_interval: tuple[float, float]
    window: tuple[float, float] | None = None
    taints: tuple[str, ...] = ()

    @property
    def is_told_apart(self) -> bool:
        """Whether the interval says which is faster."""
        low, high = self.ratio_interval
        return low > 1 or high < 1

    @property
    def half_width_percent(self) -> float:
        """How far the farther end of the ratio's interval is from it, in percent of A's median."""
        low, high = self.ratio_interval
        return 100 * max(high - self.ratio, self.ratio - low)

    @property
    def verdict(self) -> str:
        """In words; percent of A's median."""
        return f"{self._told}; but {in_words(self.taints)}" if self.taints else self._told

    @property
    def _told(self) -> str:
        low, high = (100 * (end - 1) for end in self.ratio_interval)
        if not self.is_told_apart:
            return f"no difference can be told: {_percent(low)} to {_percent(high)} %"
        found = 100 * (self.ratio - 1)
        if found < 0:
            return f"B is {_percent(-found)} % faster ({_percent(-high)} to {_percent(-low)})"
        return f"B is {_percent(found)} % slower ({_percent(low)} to {_percent(high)})"

    def as_json(self) -> dict[str, Any]:
        """The form in JSON, with the verdict."""
        return {
            **asdict(self),
            "difference_interval_ms": list(self.difference_interval_ms),
            "ratio_interval": list(self.ratio_interval),
            "window": list(self.window) if self.window else None,
            "taints": list(self.taints),
            "verdict": self.verdict,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Comparison:
        """The inverse of `as_json`."""
        rest = {name: item for name, item in value.items() if name != "verdict"}
        pairs = ("difference_interval_ms", "ratio_interval", "taints")
        window = value.get("window")
        return cls(
            **{
                **rest,
                **{name: tuple(value.get(name, ())) for name in pairs},
                "window": tuple(window) if window else None,
            }
        )


def compare_blocks(
    a_ms: Sequence[float], b_ms: Sequence[float], *, batch: int, method: str, seed: int = 0
) -> Comparison:
    """What pairs of neighbouring blocks say.

    Args:
        a_ms: the median of every block of A, in milliseconds.
        b_ms: of the block of B beside it.
        batch: the batch size.
        method: how both were timed.
        seed: of the draws: equal blocks have equal intervals.

    Raises:
        ValueError: there are fewer than three pairs, or not as many blocks of one as of the other.
    """
    a, b = np.asarray(a_ms, dtype=np.float64), np.asarray(b_ms, dtype=np.float64)
    if len(a) != len(b) or len(a) < 3:
        raise ValueError(f"{len(a)} blocks of A and {len(b)} of B are not three pairs or more")
    of_a, of_b = _drawn(a, b, seed)
    a_median, b_median = float(np.median(a)), float(np.median(b))
    difference, ratio = b_median - a_median, b_median / a_median
    return Comparison(
        batch=batch,
        method=method,
        pairs=len(a),
        a_median_ms=a_median,
        b_median_ms=b_median,
        difference_ms=difference,
        difference_interval_ms=_interval(of_b - of_a, difference, _groups(len(a))[0]),
        ratio=ratio,
        ratio_interval=_interval(of_b / of_a, ratio, _groups(len(a))[0]),
    )


def judged(comparison: Comparison, watched: Watched, *, is_cpu: bool = False) -> Comparison:
    """A comparison tainted by what whoever watched has seen within its window, as far as it may favour one of the two.

    Args:
        comparison: as the child tells it.
        watched: what was seen meanwhile.
        is_cpu: whether the device is the host's CPU.
    """
    if comparison.window is None:
        return comparison
    found = taints_of(conditions_of(watched, comparison.window), is_cpu=is_cpu)
    return replace(comparison, taints=tuple(taint for taint in found if kind_of(taint) in _DISTURBING))


def _drawn(
    a: NDArray[np.float64], b: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Medians of A and B, of pairs drawn anew in groups of consecutive ones, so that what lasts is held within one."""
    count, size = _groups(len(a))
    groups = np.arange(count * size).reshape(count, size)
    drawn = groups[np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))].reshape(
        RESAMPLES, -1
    )
    return np.median(a[drawn], axis=1), np.median(b[drawn], axis=1)


def _groups(pairs: int) -> tuple[int, int]:
    """How many groups of how many pairs each; of the last pairs less than a group is left out."""
    size = -(-pairs // MOST_GROUPS)
    return pairs // size, size


def _interval(drawn: NDArray[np.float64], middle: float, count: int) -> tuple[float, float]:
    """The bootstrap's interval, widened for so few pairs as `farm.domain.intervals` widens that of a median."""
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    factor = student_t(z, count - 1) / z * float(np.sqrt(count / (count - 1)))
    return middle + factor * min(float(low) - middle, 0.0), middle + factor * max(float(high) - middle, 0.0)


def _percent(value: float) -> str:
    """With a digit after the point, or as many as show that it is not zero."""
    digits = next((digits for digits in (1, 2, 3) if round(abs(value), digits) > 0), 1)
    text = f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text.lstrip("-")
