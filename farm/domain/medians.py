"""One figure per batch size of an engine, and one for all: what engines are compared by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Iterable, Mapping

if TYPE_CHECKING:
    from farm.domain.benchmarks import Measurement


def medians_ms(measurements: Iterable[Measurement]) -> dict[int, float]:
    """The median compute time at every batch size, in milliseconds, smallest batch first.

    Where an engine was also timed as a CUDA graph that figure counts: it is the steadier one.
    """
    found: dict[int, tuple[bool, float]] = {}
    for measurement in measurements:
        graph, median = found.get(measurement.batch, (False, math.inf))
        own = measurement.compute.median_ms
        # Two shapes of one batch: the slower one is what the batch is known by.
        if measurement.graph > graph or (measurement.graph == graph and (own > median or median == math.inf)):
            found[measurement.batch] = (measurement.graph, own)
    return {batch: median for batch, (_, median) in sorted(found.items())}


def overall_ms(medians: Mapping[int, float]) -> float:
    """The geometric mean of the medians, in milliseconds: every batch size counts alike; infinite for none."""
    if not medians:
        return math.inf
    # Below any clock's resolution there is nothing to tell apart.
    return math.exp(sum(math.log(max(median, 1e-6)) for median in medians.values()) / len(medians))
