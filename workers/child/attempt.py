"""One attempt: build (or take) an engine, verify it, time it."""

from __future__ import annotations

import platform
import resource
import sys
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np

from farm.domain.errors import AccuracyError, BuildError
from farm.domain.jobs import Phase
from farm.domain.layerwise import layerwise_words
from workers.child.benchmark import time_engine
from workers.child.compare import compare_with_rival
from workers.child.layerwise import compare_layers
from workers.child.loading import load_engine, load_exactly
from workers.child.profile import profile_engine
from workers.child.rebuilds import build_and_choose
from workers.child.requests import AttemptRequest, AttemptResult
from workers.child.startup import Startup
from workers.child.verify import verify

if TYPE_CHECKING:
    from farm.domain.accuracy import Accuracy
    from farm.domain.benchmarks import Measurement
    from farm.domain.comparisons import Comparison
    from workers.child.events import EventStream
    from workers.toolchains.toolchain import BuildInput, BuildOutput, Progress, Refits, Toolchain


def run_attempt(request: AttemptRequest, events: EventStream) -> AttemptResult:
    """Goes through the phases that were asked for.

    Raises:
        FarmError: the toolchain refused, or the engine is not accurate enough.
    """
    seconds: dict[str, float] = {}
    events.enter(Phase.PREPARE, f"loading {request.toolchain}")
    toolchain = load_exactly(request.toolchain, request.toolchain_version)
    if request.series is not None:
        chosen = replace(build_and_choose(toolchain, request, events), environment=_environment())
        if chosen.accuracy is None or request.layerwise is None:
            return chosen
        return replace(chosen, accuracy=_with_layers(toolchain, request, chosen.accuracy, events))
    build: BuildOutput | None = None
    if request.build is not None:
        events.enter(Phase.BUILD)
        begin = time.perf_counter()
        build = _make(toolchain, request.build, events.progress)
        seconds[Phase.BUILD.value] = time.perf_counter() - begin
    accuracy: Accuracy | None = None
    measurements: list[Measurement] = []
    comparisons: list[Comparison] = []
    startup = Startup()
    if build is not None:
        startup.built()
    if request.inputs_path is not None or request.benchmark is not None:
        startup.begins()
        with closing(load_engine(toolchain, request, build)) as engine:
            if request.inputs_path is not None and not request.is_verified:
                events.enter(Phase.VERIFY)
                startup.loaded(engine, request)
                begin = time.perf_counter()
                accuracy = verify(engine, request, events.progress)
                seconds[Phase.VERIFY.value] = time.perf_counter() - begin
                _check(toolchain, request, accuracy, events)
            if request.benchmark is not None:
                events.enter(Phase.BENCHMARK)
                startup.loaded(engine, request)
                begin = time.perf_counter()
                if request.rival is not None:
                    comparisons = compare_with_rival(toolchain, engine, request, events.progress)
                else:
                    measurements = time_engine(engine, request, events.progress)
                if request.benchmark.profile:
                    profile_engine(engine, request, events.progress)
                seconds[Phase.BENCHMARK.value] = time.perf_counter() - begin
    if accuracy is not None and request.layerwise is not None:
        accuracy = _with_layers(toolchain, request, accuracy, events)
    return AttemptResult(
        build=build,
        accuracy=accuracy,
        measurements=tuple(measurements),
        seconds=seconds,
        environment=_environment(),
        comparisons=tuple(comparisons),
        startup=startup.ended(),
    )


def _check(toolchain: Toolchain, request: AttemptRequest, accuracy: Accuracy, events: EventStream) -> None:
    """Holds the accuracy against its thresholds; who asked for the layers is told which one it is, if it fails."""
    try:
        request.thresholds.check(accuracy)
    except AccuracyError as error:
        if request.layerwise is None:
            raise
        found = _with_layers(toolchain, request, accuracy, events).layerwise
        raise AccuracyError(f"{error.message}; {layerwise_words(found)}", hint=error.hint) from error


def _with_layers(
    toolchain: Toolchain, request: AttemptRequest, accuracy: Accuracy, events: EventStream
) -> Accuracy:
    events.enter(Phase.VERIFY, "comparing layers")
    return replace(accuracy, layerwise=compare_layers(toolchain, request, events.progress))


def _make(toolchain: Toolchain, build: BuildInput, progress: Progress) -> BuildOutput:
    """Builds the engine, or replaces the weights of one that is there."""
    if build.refit_path is None:
        return toolchain.build(build, progress)
    if not hasattr(toolchain, "refit"):
        raise BuildError(
            f"{toolchain.describe().id} can not replace an engine's weights",
            hint="The full build beside the refit does without it.",
        )
    return cast("Refits", toolchain).refit(build, progress)


def _environment() -> dict[str, str | int]:
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "interpreter": sys.executable,
        "peak_host_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
