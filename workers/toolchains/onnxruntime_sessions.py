"""Timing ONNX Runtime on the CPU: one call at a time, or several threads at once; inputs taken in turns."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Iterator, List, Mapping, Sequence

import numpy as np

from farm.domain.methods import Method
from workers.toolchains.toolchain import IterationTimes, TimedSession

if TYPE_CHECKING:
    from numpy.typing import NDArray


class TimedRun:
    """A session with its inputs bound; each call takes the next of several bindings."""

    is_graph = False
    has_transfers = False
    method = Method()

    def __init__(self, session: Any, inputs: Sequence[Mapping[str, NDArray[Any]]]) -> None:
        self._session = session
        self._bindings = [_bound(session, arrays) for arrays in inputs]
        self._turn = 0

    def iterate(self) -> IterationTimes:
        """One run, by the host's clock."""
        binding = self._next()
        begin = time.perf_counter_ns()
        self._session.run_with_iobinding(binding)
        return IterationTimes(0.0, (time.perf_counter_ns() - begin) / 1e6, 0.0)

    def burst(self, count: int) -> float:
        """Runs back to back."""
        begin = time.perf_counter()
        for _ in range(count):
            self._session.run_with_iobinding(self._next())
        return time.perf_counter() - begin

    def close(self) -> None:
        """Lets the bound buffers go."""
        for binding in self._bindings:
            binding.clear_binding_inputs()
            binding.clear_binding_outputs()
        self._bindings.clear()

    def _next(self) -> Any:
        self._turn = (self._turn + 1) % len(self._bindings)
        return self._bindings[self._turn]


class ConcurrentRuns:
    """Several threads that call one session at once, each with bindings of its own.

    ONNX Runtime leaves Python's lock while it computes, and its session takes calls of several threads.
    """

    is_graph = False
    has_transfers = False

    def __init__(self, session: Any, inputs: Sequence[Mapping[str, NDArray[Any]]], streams: int) -> None:
        self.method = Method(streams=streams)
        self._lanes = [TimedRun(session, inputs) for _ in range(streams)]

    def iterate(self) -> IterationTimes:
        """One run of each, of which the first one's time is told."""
        return IterationTimes(*self.iterate_many(1)[0])

    def iterate_many(self, count: int) -> NDArray[np.float64]:
        """That many runs at least, shared out evenly: every thread makes as many as the others."""
        each = -(-count // len(self._lanes))
        times: List[IterationTimes] = []
        self._at_once(lambda lane: times.extend([lane.iterate() for _ in range(each)]))
        return np.asarray(times, dtype=np.float64).reshape(len(times), 3)

    def burst(self, count: int) -> float:
        """Runs on all threads at once; the host's seconds for that many."""
        each = -(-count // len(self._lanes))
        begin = time.perf_counter()
        self._at_once(lambda lane: lane.burst(each))
        return (time.perf_counter() - begin) * count / (each * len(self._lanes))

    def close(self) -> None:
        """Lets the bound buffers go."""
        for lane in self._lanes:
            lane.close()

    def _at_once(self, work: Any) -> None:
        failures: List[Exception] = []
        barrier = threading.Barrier(len(self._lanes))

        def run(lane: TimedRun) -> None:
            try:
                barrier.wait()
                work(lane)
            except Exception as error:  # noqa: BLE001 - raised again in the thread that asked
                failures.append(error)

        threads = [threading.Thread(target=run, args=(lane,)) for lane in self._lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]


def sessions_by(
    session: Any, inputs: Sequence[Mapping[str, NDArray[Any]]], methods: Sequence[Method]
) -> Iterator[TimedSession]:
    """A timed session for each number of streams that is asked for.

    A CPU has no graphs, no transfers and no cache that a program can empty: every method gives way to `plain`.
    """
    streams = sorted({method.streams for method in methods})
    if all(replace(method, streams=1) != Method() for method in methods):
        sys.stderr.write(
            "[onnxruntime] [I] on a CPU there are no graphs, transfers or flushes: plain calls\n"
        )
    for count in streams:
        timed: TimedSession = (
            ConcurrentRuns(session, inputs, count) if count > 1 else TimedRun(session, inputs)
        )
        with closing(timed):
            yield timed


def _bound(session: Any, inputs: Mapping[str, NDArray[Any]]) -> Any:
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return binding
