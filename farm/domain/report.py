"""Reports: engines of models side by side, each with one figure per batch size and how much faster that is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Iterable, Mapping, Sequence, Tuple

from farm.domain.baselines import baseline_of

if TYPE_CHECKING:
    from datetime import datetime

    from farm.domain.baselines import Baseline
    from farm.domain.benchmarks import Measurement
    from farm.domain.filing import Engine, Run
    from farm.domain.methods import Method
    from farm.domain.work import ModelName

#: A batch size and the whole shape of every input, by name: what figures are compared at.
ShapeKey = Tuple[int, Tuple[Tuple[str, Tuple[int, ...]], ...]]


@dataclass(frozen=True)
class Figure:
    """What an engine needs for one shape, and where that was measured.

    Attributes:
        run: that measured it.
        measurement: the figures.
    """

    run: Run
    measurement: Measurement

    @property
    def taints(self) -> tuple[str, ...]:
        """Everything that speaks against it: in its run, in itself, and in its device."""
        suspect = (self.run.suspect,) if self.run.suspect else ()
        return tuple(dict.fromkeys((*self.run.taints, *self.measurement.taints, *suspect)))


@dataclass(frozen=True)
class Line:
    """One engine, timed by one method.

    Attributes:
        engine: that was measured.
        device: slug of its device type.
        method: by which it was timed.
        figures: one for every shape that was measured so, smallest batch first.
        left_out: shapes whose every figure is tainted, where those were not asked for.
        accuracy_run: the newest run that compared its outputs; none where none did.
        other_methods: ways in which it was timed beside the ones of the report.
    """

    engine: Engine
    device: str
    method: Method
    figures: Mapping[ShapeKey, Figure]
    left_out: int = 0
    accuracy_run: Run | None = None
    other_methods: tuple[Method, ...] = ()

    @property
    def key(self) -> tuple[int, str]:
        """What tells it from the other lines of a report."""
        return self.engine.id, str(self.method)

    @property
    def baseline(self) -> Baseline | None:
        """What it is a baseline as; none for an engine like any other."""
        return baseline_of(self.engine.spec)


@dataclass(frozen=True)
class ModelReport:
    """The engines of one version of a model.

    Attributes:
        name: of the model, with its version.
        lines: in the order in which they are shown.
        bases: what lines are compared with, by device and method; `farm.domain.report_bases` finds them.
        never_run: engines that nothing has run so far, such as those built ahead of time; they have no line.
    """

    name: ModelName
    lines: tuple[Line, ...]
    bases: Mapping[tuple[str, str], Line] = field(default_factory=dict)
    never_run: tuple[Engine, ...] = ()

    @property
    def shapes(self) -> list[ShapeKey]:
        """Every shape that some line was measured at, smallest batch first."""
        return sorted({shape for line in self.lines for shape in line.figures})

    @property
    def compares(self) -> bool:
        """Whether there is anything to compare: a line beside the ones that are the base."""
        bases = [(line, self.base_of(line)) for line in self.lines]
        return any(base is not None and base is not line for line, base in bases)

    def base_of(self, line: Line) -> Line | None:
        """What a line is compared with; none where there is nothing of its device and method."""
        return self.bases.get((line.device, str(line.method)))

    def speed_up(self, line: Line, shape: ShapeKey) -> float | None:
        """How many times faster than its base, by the medians of compute at one shape; none where one is missing."""
        base = self.base_of(line)
        own, other = line.figures.get(shape), base.figures.get(shape) if base else None
        if own is None or other is None or not own.measurement.compute.median_ms:
            return None
        return other.measurement.compute.median_ms / own.measurement.compute.median_ms


@dataclass(frozen=True)
class Wanted:
    """Which figures are to be reported.

    Attributes:
        methods: ways of timing, in the order of lines; empty for the one that most engines of a model have.
        batches: sizes of the first dimension; empty for all.
        since: figures of earlier runs do not count; none for all.
        with_tainted: whether a tainted figure stands in where there is no clean one.
    """

    methods: tuple[Method, ...] = ()
    batches: tuple[int, ...] = ()
    since: datetime | None = None
    with_tainted: bool = False


def shape_of(measurement: Measurement) -> ShapeKey:
    """What a measurement's figures may be compared at."""
    return measurement.batch, tuple(sorted((name, tuple(size)) for name, size in measurement.shapes.items()))


def figures_of(engine: Engine, wanted: Wanted) -> dict[Method, dict[ShapeKey, Figure]]:
    """The newest clean figure of an engine by method and shape, or the newest of all where none is clean.

    Runs of bytes that were replaced since do not count. One that looked inside counts where no other measured.
    """
    ranks: dict[tuple[Method, ShapeKey], tuple[tuple[object, ...], Figure]] = {}
    for run in engine.own_runs:
        if wanted.since is not None and run.started_at < wanted.since:
            continue
        for measurement in run.measurements:
            if wanted.batches and measurement.batch not in wanted.batches:
                continue
            figure = Figure(run, measurement)
            key = measurement.method, shape_of(measurement)
            rank = (not figure.taints, not run.looked_inside, run.started_at, run.id)
            if key not in ranks or rank > ranks[key][0]:
                ranks[key] = rank, figure
    found: dict[Method, dict[ShapeKey, Figure]] = {}
    for (method, shape), (_, figure) in sorted(ranks.items(), key=lambda item: (str(item[0][0]), item[0][1])):
        found.setdefault(method, {})[shape] = figure
    return found


def usual_methods(engines: Iterable[Mapping[Method, object]]) -> tuple[Method, ...]:
    """The one way in which most engines were timed; none where none was.

    Figures of different ways are never compared, so a model's report has one. Between equals the first by `Method.rank`.
    """
    counts = Counter(method for methods in engines for method in methods)
    if not counts:
        return ()

    return (max(counts, key=lambda method: (counts[method], *method.rank)),)


def lines_of(
    engine: Engine,
    device: str,
    found: Mapping[Method, Mapping[ShapeKey, Figure]],
    methods: Sequence[Method],
    *,
    with_tainted: bool,
) -> list[Line]:
    """The lines of an engine: one for every method that it was timed by, or one without any figure."""
    accuracy_runs = [run for run in engine.own_runs if run.accuracy is not None]
    others = tuple(method for method in found if method not in methods)
    lines = []
    for method in methods:
        figures = found.get(method, {})
        shown = {shape: figure for shape, figure in figures.items() if with_tainted or not figure.taints}
        lines.append(
            Line(
                engine,
                device,
                method,
                shown,
                len(figures) - len(shown),
                accuracy_runs[-1] if accuracy_runs else None,
                others,
            )
        )
    timed = [line for line in lines if line.figures]
    return timed or lines[:1]
