"""Times an engine at every shape that was asked for."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workers.arrays import check_inputs, random_inputs, read_arrays, with_values
from workers.child.measure import measure
from workers.child.timed_call import samples_name
from workers.toolchains.timing import TimesByMethod, method_of

if TYPE_CHECKING:
    from typing import Callable, Generator, Mapping

    from numpy.typing import NDArray

    from farm.domain.benchmarks import Measurement
    from workers.child.requests import AttemptRequest
    from workers.child.timed_call import TimedCall
    from workers.toolchains.toolchain import LoadedEngine, TimedSession

#: Inputs are taken in turns until they are larger than this together: the last-level caches of most hosts.
_CACHES_BYTES = 64 << 20
#: But no more copies of them than this, and no more memory for them than that.
_MOST_TURNS = 8
_TURNS_BYTES = 512 << 20


def time_engine(
    engine: LoadedEngine, request: AttemptRequest, progress: Callable[[float, str], None]
) -> list[Measurement]:
    """One measurement per shape and way of launching; the raw samples go to a file."""
    assert request.benchmark is not None  # noqa: S101 - the caller asked for a benchmark
    measurements: list[Measurement] = []
    raw: dict[str, NDArray[np.float64]] = {}
    for call in request.timed_calls:
        is_warm = False
        with closing(sessions_of(engine, request, call)) as sessions:
            for session in sessions:
                with closing(session):
                    found, samples = measure(
                        session, request.benchmark, call.batch, call.shapes, progress, is_warm=is_warm
                    )
                is_warm = True
                measurements.append(found)
                raw[samples_name(found)] = samples
    if request.samples_path is not None:
        with request.samples_path.open("wb") as stream:
            np.savez_compressed(stream, **raw)  # type: ignore[arg-type]
    return measurements


def sessions_of(
    engine: LoadedEngine, request: AttemptRequest, call: TimedCall
) -> Generator[TimedSession, None, None]:
    """The ways to time a shape that were asked for and that there are, one after another."""
    spec = request.benchmark
    assert spec is not None  # noqa: S101 - as above
    first = inputs_for(engine, request, call)
    if isinstance(engine, TimesByMethod):
        yield from engine.sessions_by(
            turns_of(engine, call, first), spec.methods, is_blocking=spec.is_blocking
        )
        return
    found = engine.timed_sessions(first)
    wanted = [session for session in found if method_of(session) in spec.methods] or found[:1]
    with ExitStack() as stack:
        for session in found:
            stack.callback(session.close)
        yield from wanted


def turns_of(
    engine: LoadedEngine, call: TimedCall, first: Mapping[str, NDArray[Any]]
) -> list[Mapping[str, NDArray[Any]]]:
    """Inputs to be taken in turns, so that the caches of the host do not hold them: other rows at other places.

    As many as are larger than those caches together, within bounds; what holds a shape stays what it is.
    """
    moved = {t.name for t in engine.inputs if t.name not in call.values and np.ndim(first[t.name])}
    size = sum(first[name].nbytes for name in moved)
    count = max(1, min(_MOST_TURNS, -(-_CACHES_BYTES // max(size, 1)), _TURNS_BYTES // max(size, 1)))
    return [
        first,
        *(
            {name: np.roll(array, turn, axis=0) if name in moved else array for name, array in first.items()}
            for turn in range(1, count)
        ),
    ]


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
    return {**fed, **random_inputs(drawn, shapes, seed=0, ranges=request.input_ranges)}
