"""Benchmarks: what to measure, and the figures of one shape that are kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Mapping

from farm.domain.errors import InvalidSpecError
from farm.domain.latencies import LatencySummary
from farm.domain.methods import FARM, TRTEXEC_10, Method, methods_of
from farm.domain.targets import DeviceKind

#: Half of the 95 % interval of a median, in percent of it: what a steady GPU reaches, and what a CPU of a quiet host does.
_USUAL_GPU_PERCENT, _USUAL_CPU_PERCENT = 0.5, 2.0


@dataclass(frozen=True)
class BenchmarkSpec:
    """How an engine is timed. Not part of its key.

    Attributes:
        batches: the batch sizes to measure; empty for the opt shape alone.
        warmup_ms: how long to run before counting, at the least; longer where times have not settled by then.
        duration_ms: how long to count, at the least.
        min_iterations: how many iterations to count, at the least.
        max_iterations: where to stop counting all the same.
        profile: whether to time the engine's layers too, once the rest is timed.
        nsys: whether Nsight Systems looks on, which disturbs what is timed.
        method: by which methods: one of `farm.domain.methods.METHOD_WORDS`.
        streams: how many inferences at once; each is measured.
        flush_l2: whether to empty the L2 cache between iterations.
        precision_percent: how near to the median both ends of its 95 % confidence interval must be; from 100 on any
            interval will do, and nothing that the samples tell taints the figures. None for what is usual on the device.
        max_duration_ms: how long to count at the most for that; 0 for ten times `duration_ms`.
    """

    batches: tuple[int, ...] = ()
    warmup_ms: int = 200
    duration_ms: int = 250
    min_iterations: int = 20
    max_iterations: int = 20_000
    profile: bool = False
    nsys: bool = False
    method: str = FARM
    streams: tuple[int, ...] = (1,)
    flush_l2: bool = False
    precision_percent: float | None = None
    max_duration_ms: int = 0

    def __post_init__(self) -> None:
        """Refuse what can not be measured."""
        if any(batch < 1 for batch in self.batches):
            raise InvalidSpecError(f"batch sizes start at 1, not {min(self.batches)}")
        if self.warmup_ms < 0:
            raise InvalidSpecError(f"a warm-up can not last {self.warmup_ms} ms")
        if self.duration_ms < 1 or self.min_iterations < 1 or self.max_iterations < self.min_iterations:
            raise InvalidSpecError("a benchmark needs a duration and at least one iteration")
        if not 0 < self.half_width_percent <= 100:
            raise InvalidSpecError(
                f"an interval can be within 0 to 100 % of the median, not {self.precision_percent:g} %"
            )
        if self.max_duration_ms and self.max_duration_ms < self.duration_ms:
            raise InvalidSpecError(
                f"a benchmark that lasts {self.duration_ms} ms at the least can not end after {self.max_duration_ms} ms"
            )
        if not self.streams:
            raise InvalidSpecError("a benchmark needs a number of streams; 1 is one inference at a time")
        _ = self.methods  # refuses what is no method

    @property
    def methods(self) -> tuple[Method, ...]:
        """The ways to time each shape, one after another."""
        return methods_of(self.method, self.streams, flushed=self.flush_l2)

    @property
    def is_usual(self) -> bool:
        """Whether the farm's own methods are meant, and nothing beyond them."""
        return (self.method, self.streams, self.flush_l2) == (FARM, (1,), False)

    @property
    def is_blocking(self) -> bool:
        """Whether the host sleeps while it waits for the device, as trtexec did before 11; else it spins."""
        return self.method == TRTEXEC_10

    @property
    def takes_any_interval(self) -> bool:
        """Whether figures count however unsure they are."""
        return self.half_width_percent >= 100

    @property
    def half_width_percent(self) -> float:
        """How wide half of the interval may be, in percent of the median."""
        return _USUAL_GPU_PERCENT if self.precision_percent is None else self.precision_percent

    def on(self, kind: DeviceKind) -> BenchmarkSpec:
        """With what is usual on a kind of device where nothing was said: a CPU shares its clocks and caches with a host."""
        if self.precision_percent is not None or kind is not DeviceKind.CPU:
            return self
        return replace(self, precision_percent=_USUAL_CPU_PERCENT)

    @property
    def longest_ms(self) -> int:
        """How long to count at the most."""
        return self.max_duration_ms or 10 * self.duration_ms

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        # Not there unless asked for: what was asked before they existed reads the same.
        unset = {name for name, default in _UNLESS_ASKED.items() if getattr(self, name) == default}
        values: dict[str, Any] = {name: value for name, value in asdict(self).items() if name not in unset}
        lists: dict[str, Any] = {
            name: list(values[name]) for name in ("batches", "streams") if name in values
        }
        return {**values, **lists}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BenchmarkSpec:
        """The inverse of `as_json`."""
        lists = {name: tuple(value[name]) for name in ("batches", "streams") if name in value}
        return cls(**{**value, **lists})


#: What is in the JSON form only where it is something else.
_UNLESS_ASKED: dict[str, Any] = {
    "profile": False,
    "nsys": False,
    "method": FARM,
    "streams": (1,),
    "flush_l2": False,
    "precision_percent": None,
    "max_duration_ms": 0,
}


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
        transfers: whether each iteration copied inputs in and outputs out; without, latency equals compute.
        streams: how many inferences were under way at once.
        flushed: whether the L2 cache was emptied between iterations.
        interval_ms: lowest and highest value of the median of compute at 95 %; none where nobody told.
        settled: whether that interval became narrow enough in time; none where nobody told.
        drift_percent: how far the last third of the run is from its first, by the medians of compute.
        warmup_s: how long it was warmed up.
        blocks: of how many blocks of iterations the interval is.
        window: when it began and ended, on the host's monotonic clock in seconds; for whoever watched meanwhile.
        conditions: what the device was like meanwhile: clocks, temperature, power; empty where nobody looked.
        taints: why it is not comparable with its neighbours; empty for a clean one.
    """

    batch: int
    shapes: Mapping[str, tuple[int, ...]]
    compute: LatencySummary
    latency: LatencySummary
    throughput_per_s: float
    h2d: LatencySummary | None = None
    d2h: LatencySummary | None = None
    graph: bool = False
    transfers: bool = True
    streams: int = 1
    flushed: bool = False
    interval_ms: tuple[float, float] | None = None
    settled: bool | None = None
    drift_percent: float | None = None
    warmup_s: float | None = None
    blocks: int = 0
    window: tuple[float, float] | None = None
    conditions: Mapping[str, Any] = field(default_factory=dict)
    taints: tuple[str, ...] = ()

    @property
    def method(self) -> Method:
        """How it was timed."""
        return Method(self.graph, self.transfers, self.streams, self.flushed)

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {
            **asdict(self),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "interval_ms": list(self.interval_ms) if self.interval_ms else None,
            "window": list(self.window) if self.window else None,
            "conditions": dict(self.conditions),
            "taints": list(self.taints),
            "method": str(self.method),
        }

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
            **{name: value[name] for name in _LATER if name in value},
            interval_ms=_pair(value.get("interval_ms")),
            window=_pair(value.get("window")),
            taints=tuple(value.get("taints", ())),
        )


#: What measurements of releases before 0.2 do not tell, and what is told as it is.
_LATER = ("transfers", "streams", "flushed", "settled", "drift_percent", "warmup_s", "blocks", "conditions")


def _pair(value: Any) -> tuple[float, float] | None:
    return (float(value[0]), float(value[1])) if value else None
