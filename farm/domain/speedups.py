"""How many times faster an engine is than a baseline: medians of compute of the same shapes, timed by the same method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Iterable, Mapping, Sequence, Tuple

from farm.domain.baselines import BASELINES, Baseline, baseline_of

if TYPE_CHECKING:
    from farm.domain.benchmarks import Measurement
    from farm.domain.filing import Engine
    from farm.domain.targets import DeviceType

_Shape = Tuple[int, str]


@dataclass(frozen=True)
class Speedup:
    """One figure of an engine over the same of a baseline.

    Attributes:
        baseline: that it is compared with.
        engine: of the baseline.
        measurement: of the baseline.
        times: the baseline's median over the engine's: 3.0 is three times as fast.
        interval: least and greatest value of that at 95 %, from the intervals of both medians; none where one is missing.
    """

    baseline: Baseline
    engine: Engine
    measurement: Measurement
    times: float
    interval: Tuple[float, float] | None


@dataclass(frozen=True)
class ComparedFigure:
    """One measurement of an engine, and what it is beside the baselines, by word.

    Attributes:
        engine: that was measured; may be a baseline itself.
        measurement: of it.
        speedups: one for every baseline that was measured in the same way.
    """

    engine: Engine
    measurement: Measurement
    speedups: Mapping[str, Speedup]


def compare_with_baselines(
    engines: Sequence[Engine], words: Iterable[str] = (), *, with_tainted: bool = False
) -> tuple[list[ComparedFigure], list[str]]:
    """Every figure of some engines of one model beside the baselines among them.

    A baseline that runs on CPUs alone is compared with engines on any device, whatever their method: it has one.

    Args:
        engines: of one model.
        words: of the baselines that count; all that are there if empty.
        with_tainted: whether figures that something disturbed count.

    Returns:
        The figures, by device, shape, method, and fastest first; and the words that were found, in the usual order.
    """
    wanted = [BASELINES[word] for word in dict.fromkeys(words)] or list(BASELINES.values())
    there = {baseline: _newest_by_device(engines, baseline) for baseline in wanted}
    found = []
    for engine in engines:
        for measurement in engine.measurements:
            if measurement.taints and not with_tainted:
                continue
            speedups = {}
            for baseline, by_device in there.items():
                speedup = _speedup(engine, measurement, baseline, by_device, with_tainted=with_tainted)
                if speedup is not None:
                    speedups[baseline.word] = speedup
            found.append(ComparedFigure(engine, measurement, speedups))
    found.sort(key=_order)
    return found, [baseline.word for baseline, by_device in there.items() if by_device]


def _order(figure: ComparedFigure) -> tuple[object, ...]:
    measurement = figure.measurement
    return (
        figure.engine.spec.target.device_type.slug,
        _shape(measurement),
        str(measurement.method),
        measurement.compute.median_ms,
        figure.engine.id,
    )


def _newest_by_device(engines: Iterable[Engine], baseline: Baseline) -> dict[DeviceType, Engine]:
    """A baseline's engine on every type of device: the one of its newest release, and of several the newest."""
    own = [engine for engine in engines if baseline_of(engine.spec) == baseline and engine.measurements]
    own.sort(key=lambda engine: (engine.spec.target.toolchain.version_order, engine.id))
    return {engine.spec.target.device_type: engine for engine in own}


def _speedup(
    engine: Engine,
    measurement: Measurement,
    baseline: Baseline,
    by_device: Mapping[DeviceType, Engine],
    *,
    with_tainted: bool,
) -> Speedup | None:
    here = by_device.get(engine.spec.target.device_type)
    is_elsewhere = here is None and baseline.on_cpu
    if is_elsewhere:
        here = next(iter(by_device.values()), None)
    if here is None:
        return None
    for other in here.measurements:
        is_same = _shape(other) == _shape(measurement) and (
            is_elsewhere or other.method == measurement.method
        )
        if is_same and (with_tainted or not other.taints):
            times = other.compute.median_ms / measurement.compute.median_ms
            return Speedup(baseline, here, other, times, _interval(other, measurement))
    return None


def _interval(baseline: Measurement, own: Measurement) -> tuple[float, float] | None:
    """The widest that both medians' intervals allow: wider than 95 %, and never narrower."""
    if baseline.interval_ms is None or own.interval_ms is None or not own.interval_ms[0]:
        return None
    return baseline.interval_ms[0] / own.interval_ms[1], baseline.interval_ms[1] / own.interval_ms[0]


def _shape(measurement: Measurement) -> _Shape:
    return measurement.batch, str(sorted((name, tuple(shape)) for name, shape in measurement.shapes.items()))
