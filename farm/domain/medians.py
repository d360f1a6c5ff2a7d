"""One figure per batch size of an engine, and one for all: what engines are compared by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Iterable, Mapping

if TYPE_CHECKING:
    from farm.domain.benchmarks import Measurement


def medians_ms(measurements: Iterable[Measurement]) -> dict[int, float]:
    """The median compute time at every batch size, in milliseconds, smallest batch first.

    Of an engine that was timed in several ways the first by `Method.rank` counts.
    """
    found: dict[int, tuple[tuple[bool, ...], float]] = {}
    for measurement in measurements:
        # Two shapes of one batch: the slower one is what the batch is known by.
        own = (measurement.method.rank, measurement.compute.median_ms)
        found[measurement.batch] = max(found.get(measurement.batch, own), own)
    return {batch: median for batch, (_, median) in sorted(found.items())}


def overall_ms(medians: Mapping[int, float]) -> float:
    """The geometric mean of the medians, in milliseconds: every batch size counts alike; infinite for none."""
    if not medians:
        return math.inf
    # Below any clock's resolution there is nothing to tell apart.
    return math.exp(sum(math.log(max(median, 1e-6)) for median in medians.values()) / len(medians))
