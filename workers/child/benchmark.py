"""Times an engine at every shape that was asked for."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workers.arrays import check_inputs, random_inputs, read_arrays, with_values
from workers.child.measure import measure

if TYPE_CHECKING:
    from typing import Callable

    from numpy.typing import NDArray

    from farm.domain.benchmarks import Measurement
    from workers.child.requests import AttemptRequest, TimedCall
    from workers.toolchains.toolchain import LoadedEngine


def time_engine(
    engine: LoadedEngine, request: AttemptRequest, progress: Callable[[float, str], None]
) -> list[Measurement]:
    """One measurement per shape and way of launching; the raw samples go to a file."""
    assert request.benchmark is not None  # noqa: S101 - the caller asked for a benchmark
    measurements: list[Measurement] = []
    raw: dict[str, NDArray[np.float64]] = {}
    for call in request.timed_calls:
        for session in engine.timed_sessions(inputs_for(engine, request, call)):
            with closing(session):
                found, samples = measure(session, request.benchmark, call.batch, call.shapes, progress)
            measurements.append(found)
            raw[f"batch{call.batch}{'_graph' if session.is_graph else ''}"] = samples
    if request.samples_path is not None:
        with request.samples_path.open("wb") as stream:
            np.savez_compressed(stream, **raw)  # type: ignore[arg-type]
    return measurements


def inputs_for(engine: LoadedEngine, request: AttemptRequest, call: TimedCall) -> dict[str, NDArray[Any]]:
    """The verification's own samples, repeated to the batch, where they fit; else random ones.

    Real samples matter for models whose time depends on their data.
    """
    shapes, values = call.shapes, call.values
    drawn = [
        replace(tensor, shape=shapes[tensor.name]) for tensor in engine.inputs if tensor.name not in values
    ]
    fed = with_values({}, values, engine.inputs)
    if request.inputs_path is not None:
        given = with_values(read_arrays(request.inputs_path), values, engine.inputs)
        samples = check_inputs(given, engine.inputs, any_type=True)
        samples = {tensor.name: samples[tensor.name] for tensor in drawn}
        if all(array.ndim and array.shape[1:] == shapes[name][1:] for name, array in samples.items()):
            return {**fed, **{name: np.resize(array, shapes[name]) for name, array in samples.items()}}
    return {**fed, **random_inputs(drawn, shapes, seed=0)}
