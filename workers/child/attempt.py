"""One attempt: build (or take) an engine, verify it, time it."""

from __future__ import annotations

import platform
import resource
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from farm.domain.errors import ConflictError
from farm.domain.jobs import Phase
from workers.arrays import check_inputs, random_inputs, read_arrays
from workers.child.measure import measure
from workers.child.requests import AttemptRequest, AttemptResult
from workers.child.verify import verify
from workers.toolchains import load_toolchain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from farm.domain.accuracy import Accuracy
    from farm.domain.benchmarks import Measurement
    from workers.child.events import EventStream
    from workers.toolchains.toolchain import BuildOutput, LoadedEngine


def run_attempt(request: AttemptRequest, events: EventStream) -> AttemptResult:
    """Goes through the phases that were asked for.

    Raises:
        FarmError: the toolchain refused, or the engine is not accurate enough.
    """
    seconds: dict[str, float] = {}
    events.enter(Phase.PREPARE, f"loading {request.toolchain}")
    toolchain = load_toolchain(request.toolchain)
    found = toolchain.describe().id
    if found.version != request.toolchain_version:
        raise ConflictError(
            f"this interpreter has {found}, but the job wants {request.toolchain} {request.toolchain_version}",
            hint="The environment was changed under the worker: restart the worker.",
        )
    build: BuildOutput | None = None
    if request.build is not None:
        events.enter(Phase.BUILD)
        begin = time.perf_counter()
        build = toolchain.build(request.build, events.progress)
        seconds[Phase.BUILD.value] = time.perf_counter() - begin
    accuracy: Accuracy | None = None
    measurements: list[Measurement] = []
    if request.inputs_path is not None or request.benchmark is not None:
        engine = toolchain.load(request.engine_path)
        try:
            if request.inputs_path is not None:
                events.enter(Phase.VERIFY)
                begin = time.perf_counter()
                accuracy = verify(engine, request, events.progress)
                seconds[Phase.VERIFY.value] = time.perf_counter() - begin
                request.thresholds.check(accuracy)
            if request.benchmark is not None:
                events.enter(Phase.BENCHMARK)
                begin = time.perf_counter()
                measurements = _benchmark(engine, request, events)
                seconds[Phase.BENCHMARK.value] = time.perf_counter() - begin
        finally:
            engine.close()
    return AttemptResult(
        build=build,
        accuracy=accuracy,
        measurements=tuple(measurements),
        seconds=seconds,
        environment=_environment(),
    )


def _benchmark(engine: LoadedEngine, request: AttemptRequest, events: EventStream) -> list[Measurement]:
    assert request.benchmark is not None  # noqa: S101 - the caller asked for a benchmark
    measurements: list[Measurement] = []
    raw: dict[str, NDArray[np.float64]] = {}
    for batch, shapes in request.benchmark_shapes:
        for session in engine.timed_sessions(_benchmark_inputs(engine, request, shapes)):
            try:
                found, samples = measure(session, request.benchmark, batch, shapes, events.progress)
            finally:
                session.close()
            measurements.append(found)
            raw[f"batch{batch}{'_graph' if session.is_graph else ''}"] = samples
    if request.samples_path is not None:
        with request.samples_path.open("wb") as stream:
            np.savez_compressed(stream, **raw)  # type: ignore[arg-type]
    return measurements


def _benchmark_inputs(
    engine: LoadedEngine, request: AttemptRequest, shapes: object
) -> dict[str, NDArray[np.generic]]:
    """The verification's own samples, repeated to the batch, where they fit; else random ones.

    Real samples matter for models whose time depends on their data.
    """
    wanted = dict(shapes)  # type: ignore[call-overload]
    if request.inputs_path is not None:
        given = check_inputs(read_arrays(request.inputs_path), engine.inputs)
        if all(array.ndim and array.shape[1:] == wanted[name][1:] for name, array in given.items()):
            return {name: np.resize(array, wanted[name]) for name, array in given.items()}
    tensors = [replace(tensor, shape=wanted[tensor.name]) for tensor in engine.inputs]
    return random_inputs(tensors, wanted, seed=0)


def _environment() -> dict[str, str | int]:
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "interpreter": sys.executable,
        "peak_host_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
