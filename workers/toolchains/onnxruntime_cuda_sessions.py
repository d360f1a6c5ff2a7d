"""Times ONNX Runtime on a GPU: on a stream that the farm made, so that CUDA's events stand around each run."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import numpy as np

from farm.domain.methods import Method
from workers.toolchains.toolchain import IterationTimes, TimedSession

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workers.toolchains.cuda_stream import CudaStream, PinnedArray

    Inputs = Sequence[Mapping[str, NDArray[Any]]]

_DTYPES = {"float": "float32", "double": "float64"}
#: Kernels and memory are chosen in the first runs with a shape.
_FIRST_RUNS = 3
#: How many runs are under way or waiting, as in `cuda_sessions`, so that the device does not wait for the host.
_DEPTH = 2


def numpys_name(text: str) -> str:
    """`float32` of ONNX Runtime's `tensor(float)`."""
    inner = text[len("tensor(") : -1] if text.startswith("tensor(") else text
    return _DTYPES.get(inner, inner)


def sessions_by(
    ort: Any,
    session: Any,
    stream: CudaStream,
    inputs: Inputs,
    methods: Sequence[Method],
    *,
    is_blocking: bool = False,
) -> Iterator[TimedSession]:
    """Plain runs, with and without transfers; all other methods give way to these."""
    ways = list(dict.fromkeys(Method(transfers=method.transfers) for method in methods))
    left_out = [str(method) for method in methods if method not in ways]
    if left_out:
        sys.stderr.write(
            f"[onnxruntime-cuda] [I] not timed as {', '.join(left_out)}: runs are launched plainly\n"
        )
    for way in ways:
        with closing(session_by(ort, session, stream, inputs, way, is_blocking=is_blocking)) as timed:
            yield timed


def session_by(
    ort: Any, session: Any, stream: CudaStream, inputs: Inputs, method: Method, *, is_blocking: bool = False
) -> TimedSession:
    """One way to time a session."""
    kind = _WithTransfers if method.transfers else _InPlace
    return kind(ort, session, stream, inputs, is_blocking=is_blocking)


class _InPlace:
    """A session with inputs and outputs bound in the GPU's memory."""

    is_graph = False
    has_transfers = False
    method = Method(transfers=False)

    def __init__(
        self, ort: Any, session: Any, stream: CudaStream, inputs: Inputs, *, is_blocking: bool
    ) -> None:
        self._session = session
        self._stream = stream
        self._slots = [
            (stream.event(is_blocking=is_blocking), stream.event(is_blocking=is_blocking))
            for _ in range(_DEPTH)
        ]
        # The events say when it is done; waiting in the run itself would be in their time.
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._binding: Any = session.io_binding()
        self._fed = {
            name: ort.OrtValue.ortvalue_from_numpy(array, "cuda", 0) for name, array in inputs[0].items()
        }
        for name, value in self._fed.items():
            self._binding.bind_ortvalue_input(name, value)
        names = [output.name for output in session.get_outputs()]
        for name in names:
            self._binding.bind_output(name, "cuda", 0)
        self._run()
        stream.synchronize()
        # From now on in one place, so that nothing is allocated in a run.
        self._made = dict(zip(names, self._binding.get_outputs()))
        for name, value in self._made.items():
            self._binding.bind_ortvalue_output(name, value)
        for _ in range(_FIRST_RUNS):
            self._run()
        stream.synchronize()

    def iterate(self) -> IterationTimes:
        """One run, waited for."""
        return IterationTimes(*self.iterate_many(1)[0])

    def iterate_many(self, count: int) -> NDArray[np.float64]:
        """Runs one after another, the next one launched before the last has ended."""
        times = np.zeros((count, 3))
        for number in range(count + _DEPTH):
            begin, end = self._slots[number % _DEPTH]
            if number >= _DEPTH and number - _DEPTH < count:
                end.synchronize()
                times[number - _DEPTH, 1] = begin.ms_till(end)
            if number < count:
                begin.record()
                self._run()
                end.record()
        return times

    def burst(self, count: int) -> float:
        """Runs back to back, by the host's clock, until the last one is done."""
        self._stream.synchronize()
        begin = time.perf_counter()
        for _ in range(count):
            self._run()
        self._stream.synchronize()
        return time.perf_counter() - begin

    def close(self) -> None:
        """Gives the buffers back."""
        self._stream.synchronize()
        for event in (event for slot in self._slots for event in slot):
            event.close()
        self._binding = None
        self._slots, self._fed, self._made = [], {}, {}

    def _run(self) -> None:
        self._session.run_with_iobinding(self._binding, self._options)


class _WithTransfers(_InPlace):
    """The same with copies from and to pinned memory of the host around each run; inputs are taken in turns."""

    has_transfers = True
    method = Method()

    def __init__(
        self, ort: Any, session: Any, stream: CudaStream, inputs: Inputs, *, is_blocking: bool
    ) -> None:
        super().__init__(ort, session, stream, inputs, is_blocking=is_blocking)
        self._sources = [
            {name: _pinned(stream, array) for name, array in arrays.items()} for arrays in inputs
        ]
        self._results = {
            name: stream.pinned(tuple(value.shape()), numpys_name(value.data_type()))
            for name, value in self._made.items()
        }
        self._events = [stream.event(is_blocking=is_blocking) for _ in range(4)]
        self._next = 0

    def iterate(self) -> IterationTimes:
        """Inputs in, one run, outputs out, each between two events."""
        begin, fed, done, end = self._events
        self._next = (self._next + 1) % len(self._sources)
        begin.record()
        for name, source in self._sources[self._next].items():
            self._stream.copy_in(self._fed[name].data_ptr(), source.array)
        fed.record()
        self._run()
        done.record()
        for name, target in self._results.items():
            self._stream.copy_out(target.array, self._made[name].data_ptr())
        end.record()
        end.synchronize()
        return IterationTimes(begin.ms_till(fed), fed.ms_till(done), done.ms_till(end))

    def iterate_many(self, count: int) -> NDArray[np.float64]:
        """One after another, each waited for: its inputs have one place."""
        return np.asarray([self.iterate() for _ in range(count)], dtype=np.float64).reshape(count, 3)

    def close(self) -> None:
        """Gives the buffers back."""
        super().close()
        for array in (*(one for some in self._sources for one in some.values()), *self._results.values()):
            array.close()
        for event in self._events:
            event.close()
        self._sources, self._results, self._events = [], {}, []


def _pinned(stream: CudaStream, array: NDArray[Any]) -> PinnedArray:
    """A copy of an array in pinned memory."""
    made = stream.pinned(array.shape, array.dtype)
    made.array[...] = array
    return made
