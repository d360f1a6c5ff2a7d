"""Times two engines in turn, block by block, in one process on one device."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Iterator, List, Set, Tuple

import numpy as np

from farm.domain.comparisons import Comparison, compare_blocks
from workers.child.benchmark import sessions_of
from workers.child.blocks import Blocks
from workers.child.loading import load_engine
from workers.toolchains.timing import method_of

if TYPE_CHECKING:
    from typing import Callable

    from farm.domain.benchmarks import BenchmarkSpec
    from farm.domain.methods import Method
    from workers.child.requests import AttemptRequest
    from workers.child.timed_call import TimedCall
    from workers.toolchains.toolchain import LoadedEngine, Progress, TimedSession, Toolchain

    Side = Tuple[LoadedEngine, AttemptRequest, TimedCall]

#: Rounds of A B B A, two pairs of blocks each: fewer do not tell how blocks differ.
LEAST_ROUNDS = 10
#: The interval is looked at again when the time has grown by this factor, as in `workers.child.blocks`.
_LOOK_AGAIN = 1.15


def compare_with_rival(
    toolchain: Toolchain, engine: LoadedEngine, request: AttemptRequest, progress: Progress
) -> List[Comparison]:
    """Holds an engine (A) against the request's rival (B): one comparison per shape and way of launching.

    Raises:
        FarmError: the rival does not load, or one of them does not run.
    """
    rival, spec = request.rival, request.benchmark
    assert rival is not None  # noqa: S101 - the caller looked
    assert spec is not None  # noqa: S101
    other = replace(
        request,
        engine_path=rival.engine_path,
        inputs_path=rival.inputs_path,
        plugin_paths=rival.plugin_paths,
        io_scales=rival.io_scales,
    )
    found: List[Comparison] = []
    with closing(load_engine(toolchain, other, None)) as second:
        for call, its_call in zip(request.timed_calls, rival.timed_calls):
            for method, sessions in _in_pairs((engine, request, call), (second, other, its_call)):

                def tell(share: float, label: str = f"batch {call.batch} {method}") -> None:
                    progress(share, f"{label}: A and B in turn")

                found.append(compare(sessions, spec, call.batch, method, tell))
    return found


def _in_pairs(first: Side, second: Side) -> Iterator[Tuple[Method, Tuple[TimedSession, TimedSession]]]:
    """A session of each, for every way in which both can be timed; open until the next pair is asked for.

    One by one, since what can not be done gives way to something else, and not for both alike.
    """
    spec = first[1].benchmark
    assert spec is not None  # noqa: S101 - the caller looked
    seen: Set[Method] = set()
    for method in spec.methods:
        alone = _by_method(spec, method)
        of_a, of_b = (
            sessions_of(engine, replace(request, benchmark=alone), call)
            for engine, request, call in (first, second)
        )
        with closing(of_a), closing(of_b):
            one, other = next(of_a, None), next(of_b, None)
            if one is None or other is None:  # no room for so many streams, which the log says
                continue
            with closing(one), closing(other):
                found = method_of(one)
                if found == method_of(other) and found not in seen:
                    seen.add(found)
                    yield found, (one, other)


def _by_method(spec: BenchmarkSpec, method: Method) -> BenchmarkSpec:
    """The benchmark with this method alone."""
    word = str(replace(method, streams=1, flushed=False))
    return replace(spec, method=word, streams=(method.streams,), flush_l2=method.flushed)


def compare(
    sessions: Tuple[TimedSession, TimedSession],
    spec: BenchmarkSpec,
    batch: int,
    method: Method,
    progress: Callable[[float], None],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Comparison:
    """Runs two sessions in turn until their ratio is known well enough, or the time is up.

    Args:
        sessions: A's and B's.
        spec: how; its times are for each of the two.
        batch: the batch size.
        method: how both are timed.
        progress: is told a share.
        clock: the host's, in seconds.
    """
    both = (Blocks(sessions[0], spec, clock), Blocks(sessions[1], spec, clock))
    for blocks in both:
        blocks.warm_up()
    begin = clock()
    medians: Tuple[List[float], List[float]] = ([], [])
    looked_at_s = 0.0
    while True:
        for which in (0, 1, 1, 0):
            # Whoever comes second finds the other's data in the caches, and has to bring its own back first.
            both[which].session.iterate()
            medians[which].append(float(np.median(both[which].run_block()[:, 1])))
        elapsed_s = (both[0].elapsed_s + both[1].elapsed_s) / 2
        rounds = len(medians[0]) // 2
        progress(min(1000 * elapsed_s / spec.duration_ms, rounds / LEAST_ROUNDS, 1.0))
        is_over = 1000 * elapsed_s >= spec.longest_ms or any(b.count >= spec.max_iterations for b in both)
        if rounds < LEAST_ROUNDS or (not is_over and 1000 * elapsed_s < spec.duration_ms):
            continue
        if not is_over and elapsed_s < _LOOK_AGAIN * looked_at_s:
            continue
        looked_at_s = elapsed_s
        found = compare_blocks(medians[0], medians[1], batch=batch, method=str(method))
        if is_over or found.half_width_percent <= spec.half_width_percent:
            return replace(found, window=(begin, clock()))
