"""How wide the confidence interval of a median is, in percent of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.render import NONE

if TYPE_CHECKING:
    from farm.domain.benchmarks import Measurement


def interval_percent(measurement: Measurement) -> float | None:
    """The farther end of the 95 % interval from the median of compute, in percent of it; none where nobody told."""
    median = measurement.compute.median_ms
    if measurement.interval_ms is None or not median:
        return None
    low, high = measurement.interval_ms
    return 100 * max(high - median, median - low) / median


def interval_text(measurement: Measurement) -> str:
    """That as a text, with two digits below 10 %; how far beyond 999 % it is tells nobody anything."""
    percent = interval_percent(measurement)
    if percent is None:
        return NONE
    if percent >= 1000:
        return "> 999"
    return f"{percent:.2f}" if percent < 10 else f"{percent:.0f}"
