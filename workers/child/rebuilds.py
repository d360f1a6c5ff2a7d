"""Builds a cell several times, since builders are not deterministic, and keeps the fastest engine that verifies.

All are built before any is run, and all are run before any is timed, so that the contenders are timed one right
after the other, in one process, on one device.
"""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple, Union

from farm.domain.digests import digest_of_file
from farm.domain.errors import FarmError
from farm.domain.jobs import Phase
from farm.domain.medians import medians_ms, overall_ms
from workers.child.benchmark import time_engine
from workers.child.build_series import FILED
from workers.child.loading import load_engine
from workers.child.profile import profile_engine
from workers.child.requests import AttemptRequest, AttemptResult
from workers.child.startup import Startup
from workers.child.verify import verify

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Callable

    from farm.domain.accuracy import Accuracy
    from farm.domain.benchmarks import Measurement
    from workers.child.events import EventStream
    from workers.toolchains.toolchain import BuildInput, BuildOutput, Toolchain


@dataclass
class _Contender:
    """One engine among those to choose from, and what is known of it so far."""

    name: Union[int, str]
    label: str
    request: AttemptRequest
    output: Optional[BuildOutput] = None
    build_s: Optional[float] = None
    sha256: str = ""
    accuracy: Optional[Accuracy] = None
    measurements: Tuple[Measurement, ...] = ()
    startup: Dict[str, Any] = field(default_factory=dict)
    error: Optional[FarmError] = None

    @property
    def overall_ms(self) -> float:
        return overall_ms(medians_ms(self.measurements))

    def as_json(self, *, kept: bool) -> dict[str, Any]:
        """The entry in the engine's details."""
        worst = self.accuracy.worst if self.accuracy else None
        medians = medians_ms(self.measurements)
        return {
            "build": self.name,
            "build_s": None if self.build_s is None else round(self.build_s, 6),
            "sha256": self.sha256,
            "median_ms": {str(batch): round(median, 6) for batch, median in medians.items()},
            "cosine": worst and worst.cosine,
            "snr_db": worst and worst.snr_db,
            "verdict": _verdict(self),
            "kept": kept,
        }


def build_and_choose(toolchain: Toolchain, request: AttemptRequest, events: EventStream) -> AttemptResult:
    """Builds, verifies and times every contender; the request's files are those of the one that is kept.

    Raises:
        FarmError: none of them could be built and was accurate enough; the first one's reason.
    """
    series = request.series
    assert series is not None  # noqa: S101 - the caller looked
    seconds: dict[str, float] = {}
    contenders = [_new_contender(request, number, series.count) for number in range(1, series.count + 1)]
    if series.filed_path is not None:
        filed = replace(_own_files(request, FILED), engine_path=series.filed_path)
        sha256 = digest_of_file(series.filed_path).sha256
        contender = _Contender(FILED, "the filed engine", filed, series.filed_output, series.filed_s, sha256)
        contenders.append(contender)

    def go_through(phase: Phase, step: Callable[[_Contender, _Told], None]) -> None:
        alive = [contender for contender in contenders if contender.error is None]
        begin = time.perf_counter()
        for position, contender in enumerate(alive):
            # Said anew for each, so that it is not lost among what the one before reports.
            events.enter(phase, contender.label)
            try:
                step(contender, _Told(events, contender.label, position, len(alive)))
            except FarmError as error:
                # The others may still do.
                contender.error = error
        seconds[phase.value] = time.perf_counter() - begin

    go_through(Phase.BUILD, lambda contender, told: _build(toolchain, contender, told))
    if request.inputs_path is not None:
        go_through(Phase.VERIFY, lambda contender, told: _verify(toolchain, contender, told))
    if request.benchmark is not None:
        go_through(Phase.BENCHMARK, lambda contender, told: _time(toolchain, contender, told))
    left = [contender for contender in contenders if contender.error is None]
    if not left:
        raise next(contender.error for contender in contenders if contender.error is not None)
    # Of equals the first: a filed engine gives way to one that is as fast.
    kept = min(left, key=lambda contender: contender.overall_ms)
    output = _keep(kept, request)
    if request.benchmark is not None and request.benchmark.profile:
        # Of the kept one alone: the others are gone with their layers.
        begin = time.perf_counter()
        _profile(toolchain, request, output, events)
        seconds[Phase.BENCHMARK.value] += time.perf_counter() - begin
    builds = [contender.as_json(kept=contender is kept) for contender in contenders]
    return AttemptResult(
        build=replace(output, details={**output.details, "builds": builds}),
        accuracy=kept.accuracy,
        measurements=kept.measurements,
        startup=kept.startup,
        seconds=seconds,
    )


class _Told:
    """A contender's share of a phase's progress."""

    def __init__(self, events: EventStream, label: str, position: int, count: int) -> None:
        self._events = events
        self._label = label
        self._position = position
        self._count = count

    def __call__(self, fraction: Optional[float], message: str) -> None:
        share = None if fraction is None else (self._position + fraction) / self._count
        self._events.progress(share, f"{self._label}: {message}" if message else self._label)


def _new_contender(request: AttemptRequest, number: int, count: int) -> _Contender:
    return _Contender(number, f"build {number} of {count}", _own_files(request, str(number)))


def _own_files(request: AttemptRequest, name: str) -> AttemptRequest:
    """The request with files of the contender's own."""

    def own(path: Optional[Path]) -> Optional[Path]:
        return None if path is None else path.with_name(f"{path.name}.{name}")

    engine_path = request.engine_path.with_name(f"{request.engine_path.name}.{name}")
    build: Optional[BuildInput] = request.build and replace(
        request.build,
        engine_path=engine_path,
        # With an earlier build's timings the builder would choose what that one chose.
        timing_cache_in=None,
        timing_cache_out=own(request.build.timing_cache_out),
        layers_path=own(request.build.layers_path),
    )
    return replace(
        request,
        engine_path=engine_path,
        build=build,
        samples_path=own(request.samples_path),
        histogram_path=own(request.histogram_path),
        actual_path=own(request.actual_path),
    )


def _build(toolchain: Toolchain, contender: _Contender, told: _Told) -> None:
    if contender.name == FILED:
        return
    build = contender.request.build
    assert build is not None  # noqa: S101 - a series is of builds
    begin = time.perf_counter()
    contender.output = toolchain.build(build, told)
    contender.build_s = time.perf_counter() - begin
    contender.sha256 = digest_of_file(build.engine_path).sha256


def _verify(toolchain: Toolchain, contender: _Contender, told: _Told) -> None:
    with closing(load_engine(toolchain, contender.request, contender.output)) as engine:
        contender.accuracy = verify(engine, contender.request, told)
    contender.request.thresholds.check(contender.accuracy)


def _time(toolchain: Toolchain, contender: _Contender, told: _Told) -> None:
    startup = Startup()
    startup.begins()
    with closing(load_engine(toolchain, contender.request, contender.output)) as engine:
        startup.loaded(engine, contender.request)
        contender.measurements = tuple(time_engine(engine, contender.request, told))
    contender.startup = startup.ended()


def _profile(toolchain: Toolchain, request: AttemptRequest, output: BuildOutput, events: EventStream) -> None:
    with closing(load_engine(toolchain, request, output)) as engine:
        profile_engine(engine, request, events.progress)


def _keep(kept: _Contender, request: AttemptRequest) -> BuildOutput:
    """Puts the files of the one that is kept where the request wants them."""
    assert kept.output is not None  # noqa: S101 - it was built, here or before
    own, build = kept.request, request.build
    places = [
        (own.engine_path, request.engine_path),
        (own.samples_path, request.samples_path),
        (own.histogram_path, request.histogram_path),
        (own.actual_path, request.actual_path),
    ]
    if own.build is not None and build is not None:
        places += [
            (own.build.timing_cache_out, build.timing_cache_out),
            (own.build.layers_path, build.layers_path),
        ]
    for source, place in places:
        if source is not None and place is not None and source.exists():
            shutil.move(source, place)
    return kept.output


def _verdict(contender: _Contender) -> str:
    if contender.error is not None:
        return f"{type(contender.error).__name__}: {contender.error.message}"
    return "accurate enough" if contender.accuracy is not None else "not verified"
