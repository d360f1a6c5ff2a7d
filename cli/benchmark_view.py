"""How runs, their spread and comparisons look as rows and as documents."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from cli.render import NONE, ms, per_second, show_line, show_table
from farm.domain.comparisons import Comparison
from farm.domain.intervals import half_width_percent
from farm.domain.taints import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cli.engine_words import NamedEngine
    from farm.domain.benchmarks import Measurement
    from farm.domain.filing import Run

_COLUMNS = ("engine>", "run>", "device", "batch>", "method", "median ms>", "±>", "p99 ms>", "per second>")
_BEFORE = ("before ms>", "change>", "remarks")
_SPREAD = ("engine>", "batch>", "method", "runs>", "lowest ms>", "median ms>", "highest ms>", "spread>")
_COMPARED = (
    "batch>",
    "method",
    "A ms>",
    "B ms>",
    "B - A ms>",
    "95 % interval ms",
    "B / A>",
    "pairs>",
    "verdict",
)


@dataclass(frozen=True)
class NewRun:
    """A run that a benchmark has just made, and the engine that it measured."""

    named: NamedEngine
    run: Run

    def before(self, measurement: Measurement) -> Measurement | None:
        """The newest figure of the same shape, taken in the same way, that nothing disturbed; none if it is the first."""
        earlier = (
            run for run in reversed(self.named.engine.own_runs) if run.id < self.run.id and run.is_clean
        )
        for run in earlier:
            for other in run.measurements:
                is_same = (other.batch, other.shapes, other.method) == (
                    measurement.batch,
                    measurement.shapes,
                    measurement.method,
                )
                if is_same and not other.taints and not run.looked_inside:
                    return other
        return None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        run = self.run
        return {
            "engine": self.named.engine.id,
            "run": run.id,
            "device": run.device_uuid,
            "driver_version": run.driver_version or None,
            "host": run.host,
            "measured_at": run.started_at,
            "taints": list(run.taints),
            "suspect": run.suspect or None,
            "measurements": [
                {**measurement.as_json(), "before_ms": before.compute.median_ms if before else None}
                for measurement in run.measurements
                for before in [self.before(measurement)]
            ],
        }


@dataclass(frozen=True)
class Spread:
    """The medians of several runs of one engine at one shape, taken in one way."""

    engine: int
    batch: int
    method: str
    medians_ms: tuple[float, ...]

    @property
    def percent(self) -> float:
        """From the lowest to the highest, in percent of the middle one."""
        return 100 * (max(self.medians_ms) - min(self.medians_ms)) / median(self.medians_ms)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {**vars(self), "medians_ms": list(self.medians_ms), "spread_percent": self.percent}


def spreads_of(runs: Sequence[NewRun]) -> list[Spread]:
    """How far the medians of the runs of each engine are apart; none of a single run."""
    found: dict[tuple[int, int, str], list[float]] = {}
    for new in runs:
        for measurement in new.run.measurements:
            key = (new.named.engine.id, measurement.batch, str(measurement.method))
            found.setdefault(key, []).append(measurement.compute.median_ms)
    return [Spread(*key, tuple(medians)) for key, medians in found.items() if len(medians) > 1]


def show_runs(runs: Sequence[NewRun]) -> None:
    """Every figure beside the one before it, then the spread where there are several runs."""
    for title in dict.fromkeys(new.named.title for new in runs):
        show_line(title)
    show_table(
        (*_COLUMNS, *_BEFORE), [row for new in runs for row in _rows(new)], empty="Nothing was measured."
    )
    spreads = spreads_of(runs)
    if spreads:
        show_line()
        show_table(
            _SPREAD,
            [
                (
                    one.engine,
                    one.batch,
                    one.method,
                    len(one.medians_ms),
                    ms(min(one.medians_ms)),
                    ms(median(one.medians_ms)),
                    ms(max(one.medians_ms)),
                    f"{one.percent:.2f} %",
                )
                for one in spreads
            ],
        )


def _rows(new: NewRun) -> Iterator[tuple[Any, ...]]:
    for measurement in new.run.measurements:
        own, before = measurement.compute.median_ms, new.before(measurement)
        interval = measurement.interval_ms
        yield (
            new.named.engine.id,
            new.run.id,
            new.run.device_uuid,
            measurement.batch,
            str(measurement.method),
            ms(own),
            f"{half_width_percent(interval, own):.2f} %" if interval else NONE,
            ms(measurement.compute.p99_ms),
            per_second(measurement.throughput_per_s),
            ms(before.compute.median_ms) if before else NONE,
            f"{100 * (own / before.compute.median_ms - 1):+.1f} %" if before else NONE,
            _remarks(new.run, measurement),
        )


def _remarks(run: Run, measurement: Measurement) -> str:
    """What speaks against a figure, each kind once; `--json` has every word."""
    kinds = dict.fromkeys(kind_of(taint) for taint in (*run.taints, *measurement.taints))
    return ", ".join([*kinds, *(["device in doubt"] if run.suspect else [])])


def show_comparison(first: NamedEngine, second: NamedEngine, run: Run) -> None:
    """Two engines side by side."""
    show_line(f"A: {first.title}")
    show_line(f"B: {second.title}")
    show_line(
        f"run {run.id} on {run.host} ({run.device_uuid}), blocks in the order {run.comparison['order']}, "
        f"{run.started_at:%Y-%m-%d %H:%M} UTC"
    )
    show_line()
    found = [Comparison.from_json(result) for result in run.comparison["results"]]
    show_table(_COMPARED, [_compared(one) for one in found])


def _compared(one: Comparison) -> tuple[Any, ...]:
    low, high = one.difference_interval_ms
    digits = 3 if one.a_median_ms >= 1 else 5
    return (
        one.batch,
        one.method,
        f"{one.a_median_ms:.{digits}f}",
        f"{one.b_median_ms:.{digits}f}",
        f"{one.difference_ms:+.{digits}f}",
        f"{low:+.{digits}f} to {high:+.{digits}f}",
        f"{one.ratio:.4f}",
        one.pairs,
        one.verdict,
    )
