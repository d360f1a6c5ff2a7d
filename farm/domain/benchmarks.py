"""Benchmarks: what to measure, and the figures that are kept, by trtexec's definitions.

References: NVIDIA/TensorRT samples/common/sampleReporting.cpp (percentile, median, throughput).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from farm.domain.errors import InvalidSpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class BenchmarkSpec:
    """How an engine is timed. Not part of its key.

    Attributes:
        batches: the batch sizes to measure; empty for the opt shape alone.
        warmup_ms: how long to run before counting.
        duration_ms: how long to count, at the least.
        min_iterations: how many iterations to count, at the least.
        max_iterations: where to stop counting all the same.
        profile: whether to time the engine's layers too, once the rest is timed.
        nsys: whether Nsight Systems looks on, which disturbs what is timed.
    """

    batches: tuple[int, ...] = ()
    warmup_ms: int = 200
    duration_ms: int = 1000
    min_iterations: int = 20
    max_iterations: int = 20_000
    profile: bool = False
    nsys: bool = False

    def __post_init__(self) -> None:
        """Refuse what can not be measured."""
        if any(batch < 1 for batch in self.batches):
            raise InvalidSpecError(f"batch sizes start at 1, not {min(self.batches)}")
        if self.warmup_ms < 0:
            raise InvalidSpecError(f"a warm-up can not last {self.warmup_ms} ms")
        if self.duration_ms < 1 or self.min_iterations < 1 or self.max_iterations < self.min_iterations:
            raise InvalidSpecError("a benchmark needs a duration and at least one iteration")

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        # Not there unless asked for: what was asked before they existed reads the same.
        unset = {name for name in ("profile", "nsys") if not getattr(self, name)}
        values = {name: value for name, value in asdict(self).items() if name not in unset}
        return {**values, "batches": list(self.batches)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BenchmarkSpec:
        """The inverse of `as_json`."""
        return cls(**{**value, "batches": tuple(value["batches"])})


@dataclass(frozen=True)
class LatencySummary:
    """The statistics of one kind of time over the counted iterations, in milliseconds.

    Attributes:
        median_ms: the middle one; the mean of the middle two for an even count.
        mean_ms: arithmetic mean.
        min_ms: shortest.
        max_ms: longest.
        p90_ms: 90th percentile, by trtexec's index rule.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        std_ms: population standard deviation.
        count: how many iterations.
    """

    median_ms: float
    mean_ms: float
    min_ms: float
    max_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
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
        p90_ms=percentile(ordered, 90),
        p95_ms=percentile(ordered, 95),
        p99_ms=percentile(ordered, 99),
        std_ms=float(ordered.std()),
        count=int(ordered.size),
    )


def percentile(ordered_ms: NDArray[np.float64], percent: float) -> float:
    """Trtexec's percentile: of n ascending samples the one at `max(n - 1 - int((1 - p/100) n), 0)`."""
    count = int(ordered_ms.size)
    # In single precision, as trtexec reckons: of 100 samples its 99th percentile is the largest one.
    above = int((np.float32(1) - np.float32(percent) / np.float32(100)) * np.float32(count))
    return float(ordered_ms[max(count - 1 - above, 0)])


@dataclass(frozen=True)
class Measurement:
    """One shape's figures within a run.

    Attributes:
        batch: size of the first dimension of the inputs; 0 where the model has none.
        shapes: every input's shape.
        compute: GPU compute time by CUDA events, or the host's clock around the call on a CPU.
        latency: host-to-device + compute + device-to-host.
        h2d: copying the inputs in; none on a CPU.
        d2h: copying the outputs out; none on a CPU.
        throughput_per_s: inferences (batch x iterations) per second of the host's clock, without transfers.
        graph: whether the launches were replayed from a CUDA graph.
    """

    batch: int
    shapes: Mapping[str, tuple[int, ...]]
    compute: LatencySummary
    latency: LatencySummary
    throughput_per_s: float
    h2d: LatencySummary | None = None
    d2h: LatencySummary | None = None
    graph: bool = False

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {**asdict(self), "shapes": {name: list(shape) for name, shape in self.shapes.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Measurement:
        """The inverse of `as_json`."""

        def summary(key: str) -> LatencySummary | None:
            return LatencySummary(**value[key]) if value.get(key) else None

        return cls(
            batch=value["batch"],
            shapes={name: tuple(shape) for name, shape in value["shapes"].items()},
            compute=LatencySummary(**value["compute"]),
            latency=LatencySummary(**value["latency"]),
            throughput_per_s=value["throughput_per_s"],
            h2d=summary("h2d"),
            d2h=summary("d2h"),
            graph=value["graph"],
        )
