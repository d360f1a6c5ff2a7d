"""The statistics of an iteration's times, by trtexec's definitions.

References: NVIDIA/TensorRT samples/common/sampleReporting.cpp (percentile, median).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from farm.domain.errors import InvalidSpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LatencySummary:
    """The statistics of one kind of time over the counted iterations, in milliseconds.

    Attributes:
        median_ms: the middle one; the mean of the middle two for an even count.
        mean_ms: arithmetic mean.
        min_ms: shortest.
        max_ms: longest.
        p90_ms: 90th percentile, by trtexec's index rule; none of too few samples, as the two below.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        std_ms: population standard deviation.
        count: how many iterations.
    """

    median_ms: float
    mean_ms: float
    min_ms: float
    max_ms: float
    p90_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    std_ms: float
    count: int

    @property
    def cv_percent(self) -> float:
        """Coefficient of variation: the standard deviation in percent of the mean."""
        return 100 * self.std_ms / self.mean_ms if self.mean_ms else 0.0


def summarise(samples_ms: NDArray[np.float64]) -> LatencySummary:
    """The statistics of samples in milliseconds, shape `(iterations,)`, at least one.

    Raises:
        InvalidSpecError: there is no sample.
    """
    if not samples_ms.size:
        raise InvalidSpecError("no iteration was counted, so there is nothing to summarise")
    ordered = np.sort(np.asarray(samples_ms, dtype=np.float64))
    return LatencySummary(
        median_ms=float(np.median(ordered)),
        mean_ms=float(ordered.mean()),
        min_ms=float(ordered[0]),
        max_ms=float(ordered[-1]),
        p90_ms=percentile_of_enough(ordered, 90),
        p95_ms=percentile_of_enough(ordered, 95),
        p99_ms=percentile_of_enough(ordered, 99),
        std_ms=float(ordered.std()),
        count=int(ordered.size),
    )


#: How many samples must lie beyond a percentile for it to tell more than what the few slowest ones were.
_BEYOND = 10


def percentile_of_enough(ordered_ms: NDArray[np.float64], percent: int) -> float | None:
    """The percentile of ascending samples; none where fewer than ten of them lie beyond it."""
    enough = ordered_ms.size * (100 - percent) >= 100 * _BEYOND
    return percentile(ordered_ms, percent) if enough else None


def percentile(ordered_ms: NDArray[np.float64], percent: float) -> float:
    """Trtexec's percentile: of n ascending samples the one at `max(n - 1 - int((1 - p/100) n), 0)`."""
    count = int(ordered_ms.size)
    # In single precision, as trtexec reckons: of 100 samples its 99th percentile is the largest one.
    above = int((np.float32(1) - np.float32(percent) / np.float32(100)) * np.float32(count))
    return float(ordered_ms[max(count - 1 - above, 0)])
